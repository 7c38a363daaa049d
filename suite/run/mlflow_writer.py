"""MLflow: an experiment per study, derived from the record by the driver alone; doing it again writes nothing.

The study is a run, every row of its table (a method under a schedule) a child of it, and every cell a child of its row.
Runs of cells that the study no longer asks for go below one called `earlier`. Runs of other people's making are left
alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlflow.entities import Metric

from suite.reduction.registry import reduces_nothing
from suite.run import mlflow_fields as runs
from suite.run.mlflow_store import TROUBLE, open_experiment, unusable
from suite.study.cells import Cell
from suite.study.entry import Entry

LAYOUT = 2  # raise it when a cell's run is written otherwise than before
COMPLETE = "complete"  # tag: digest of what the run was written from; a run without it was cut short
GROUP = "group"  # tag: which row or study a parent stands for; cells have `cell_id`
FILES = "files"  # tag: digests of the artifacts of a study
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"  # names that MLflow's page knows
HINT = "hint"  # tag of an experiment: what we wrote as its note
EARLIER = "earlier"
PAGE = 1000  # runs that MLflow gives at a time
LONGEST_NOTE = 7500  # characters; MLflow's limit is 8000
Rows = Mapping[tuple[str, str], Mapping[str, float]]


@dataclass
class Known:
    """A run as the store has it."""

    run_id: str
    status: str
    tags: dict[str, str]


class Tracker:
    """Writes one study into MLflow; each cell, each row and the study has one run, however often it is written."""

    def __init__(self, study: str, cells: Sequence[Cell], folder: Path = Path()) -> None:
        """Connect, create the store and the experiment if need be, and read which runs there are, in one search.

        Raises:
            UserError: if the store at MLFLOW_TRACKING_URI cannot be used.
        """
        self.study, self.cells = study, cells
        self._shared = runs.shared_parameters(cells)
        self._study_key = f"study {_digest(self._shared)}"
        self.began = int(time.time() * 1000)
        self._schedules = {(_is_unpruned(cell), cell.schedule) for cell in cells if cell.of_row}
        try:
            self.client, self.experiment = open_experiment(study, folder)
            self.tag({"mlflow.experimentKind": "custom_model_development"})  # else the page is about chats
            self.known = self._read()
        except TROUBLE as error:
            raise unusable(error) from error

    def _several(self, cell: Cell) -> bool:
        """Whether cells like this one, unpruned or not, have several schedules to name."""
        return sum(unpruned == _is_unpruned(cell) for unpruned, _ in self._schedules) > 1

    def sync(self, cell: Cell, entry: Entry) -> None:
        """Have one run that says what `entry` says; a run that was cut short or says something else is replaced."""
        parent = self._row_run(cell) if cell.of_row else self._study_run
        name, found = runs.cell_name(cell, self._several(cell)), self.known[cell.cell_id]
        digest = digest_of(cell, entry, self._several(cell))
        if [run.tags.get(COMPLETE) for run in found] == [digest]:
            self._place(found[0], cell.kind, parent.run_id)
            return
        while found:
            self.client.delete_run(found.pop().run_id)
        now = int(time.time() * 1000)
        tags = runs.cell_tags(self.study, cell, entry) | {PARENT: parent.run_id}
        began = now - int(1000 * entry.get("seconds", 0))
        run = self.client.create_run(self.experiment.experiment_id, began, tags, name)
        parameters = runs.params(runs.cell_parameters(cell))
        self.client.log_batch(run.info.run_id, runs.cell_metrics(entry, now), parameters)
        if entry["status"] == "failed":
            self.client.log_text(run.info.run_id, entry["reason"], "traceback.txt")
        else:
            self.client.log_dict(run.info.run_id, {**entry}, "cell.json")
        status = "FAILED" if entry["status"] == "failed" else "FINISHED"
        self.client.set_terminated(run.info.run_id, status, now)
        self.client.set_tag(run.info.run_id, COMPLETE, digest)  # last of all
        found.append(Known(run.info.run_id, status, tags | {COMPLETE: digest}))

    @property
    def started(self) -> bool:
        """Whether the study has a run with these settings."""
        return bool(self.known[self._study_key])

    def archive(self) -> None:
        """Collect, below a run of their own, runs of cells, rows and settings that the study no longer asks for."""
        wanted = {cell.cell_id for cell in self.cells} | {self._row_key(cell) for cell in self._rows()}
        wanted |= {self._study_key, EARLIER}
        archived = [run for key, found in self.known.items() if key not in wanted for run in found]
        if archived:
            parent = self._group(EARLIER, "earlier: no longer in the study", EARLIER, None, {})
            for run in archived:
                kind = run.tags.get("kind", "").removeprefix(f"{EARLIER} ")
                self._place(run, f"{EARLIER} {kind}", parent.run_id)
            self._end(parent, [])

    def conclude(self, rows: Rows, note: str, hint: str, results: Path) -> None:
        """Give parents what was found, rows their metrics by row and schedule, and the study the files of its results.

        `note` is markdown for the page of the study's run, `hint` a line at the head of the experiment, unless a person
        wrote something there. What has not changed is not written again. A metric that is gone becomes NaN.
        """
        for cell in self._rows():
            run = self._row_run(cell)
            self._summarise(run, dict(rows.get((cell.row, cell.schedule), {})))
            self._end(run, [own for own in self.cells if (own.row, own.schedule) == (cell.row, cell.schedule)])
        if len(note) > LONGEST_NOTE:
            note = note[:LONGEST_NOTE].rpartition("\n")[0] + "\n\n(All of it is in table.md.)"
        if self._study_run.tags.get(NOTE) != note:
            self._tag(self._study_run, NOTE, note)
        self._attach(results)
        if self.experiment.tags.get(NOTE, "") in ("", self.experiment.tags.get(HINT)):
            self.tag({NOTE: hint, HINT: hint})
        self._end(self._study_run, self.cells)

    def _attach(self, results: Path) -> None:
        """Have every file below a folder as an artifact of the study's run; what is there stays."""
        there = json.loads(self._study_run.tags.get(FILES, "{}"))
        for path in sorted(path for path in results.rglob("*") if path.is_file()):
            place = path.relative_to(results)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
            if there.get(place.as_posix()) != digest:
                inside = None if place.parent == Path() else place.parent.as_posix()
                self.client.log_artifact(self._study_run.run_id, str(path), inside)
                there[place.as_posix()] = digest
                self._tag(self._study_run, FILES, json.dumps(there))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Give the experiment tags; those that it has are not written again."""
        for name, value in tags.items():
            if self.experiment.tags.get(name) != value:
                self.client.set_experiment_tag(self.experiment.experiment_id, name, value)
                self.experiment.tags[name] = value

    def _read(self) -> dict[str, list[Known]]:
        known: dict[str, list[Known]] = defaultdict(list)
        token: str | None = ""
        while token is not None:
            page = self.client.search_runs([self.experiment.experiment_id], max_results=PAGE, page_token=token or None)
            for run in page:
                key = run.data.tags.get("cell_id") or run.data.tags.get(GROUP)
                if key:
                    known[key].append(Known(run.info.run_id, run.info.status, run.data.tags))
            token = page.token or None
        return known

    @cached_property
    def _study_run(self) -> Known:
        return self._group(self._study_key, self.study, "study", None, self._shared)

    def _rows(self) -> Iterable[Cell]:
        return {(cell.row, cell.schedule): cell for cell in self.cells if cell.of_row}.values()

    def _row_key(self, cell: Cell) -> str:
        return f"row {_digest(runs.row_parameters(cell))}"

    def _row_run(self, cell: Cell) -> Known:
        parameters, name = runs.row_parameters(cell), runs.row_name(cell, self._several(cell))
        return self._group(self._row_key(cell), name, "row", self._study_run.run_id, parameters)

    def _group(self, key: str, name: str, kind: str, parent: str | None, parameters: dict[str, str]) -> Known:
        """The run of a row or of the study, made or completed if need be."""
        found = self.known[key]
        if not found:
            tags = {GROUP: key, "study": self.study, "kind": kind} | ({PARENT: parent} if parent else {})
            began = self.began - len(self.known)  # MLflow's page shows the newest first: rows in the study's order
            made = self.client.create_run(self.experiment.experiment_id, began, tags, name)
            found.append(Known(made.info.run_id, made.info.status, tags))
        run = found[0]
        if COMPLETE not in run.tags:
            self.client.log_batch(run.run_id, params=runs.params(parameters))
            self._tag(run, COMPLETE, "yes")
        self._place(run, kind, parent)
        return run

    def _place(self, run: Known, kind: str, parent: str | None) -> None:
        if run.tags.get("kind") != kind:
            self._tag(run, "kind", kind)
        if parent is None and PARENT in run.tags:
            self.client.delete_tag(run.run_id, PARENT)
            del run.tags[PARENT]
        elif parent is not None and run.tags.get(PARENT) != parent:
            self._tag(run, PARENT, parent)

    def _summarise(self, run: Known, metrics: dict[str, float]) -> None:
        digest = _digest(metrics)
        if run.tags.get("summary") != digest:
            now = int(time.time() * 1000)
            gone = self.client.get_run(run.run_id).data.metrics.keys() - metrics.keys()
            values = metrics | dict.fromkeys(gone, float("nan"))
            self.client.log_batch(run.run_id, [Metric(name, value, now, 0) for name, value in values.items()])
            self._tag(run, "summary", digest)

    def _end(self, run: Known, cells: Sequence[Cell]) -> None:
        """Say how the cells below a parent ended: failed if one did, killed if one has not run."""
        there = [self.known[cell.cell_id] for cell in cells]
        ended = {found[0].status if found else "KILLED" for found in there}
        status = "FAILED" if "FAILED" in ended else "KILLED" if "KILLED" in ended else "FINISHED"
        if run.status != status:
            self.client.set_terminated(run.run_id, status)
            run.status = status

    def _tag(self, run: Known, name: str, value: str) -> None:
        self.client.set_tag(run.run_id, name, value)
        run.tags[name] = value


def _is_unpruned(cell: Cell) -> bool:
    return reduces_nothing(cell.identity.get("method", "none"))


def digest_of(cell: Cell, entry: Entry, several: bool) -> str:
    """Of all that a cell's run is written from; `several`: whether the study has several schedules."""
    return _digest(LAYOUT, runs.cell_name(cell, several), cell.schedule, entry)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
