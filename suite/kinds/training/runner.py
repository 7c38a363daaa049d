"""Run what is not finished of a study, and keep what finishes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from rich.console import Console
from rich.progress import Progress as Bar

from suite.kinds.training.cells import Cell, expand
from suite.kinds.training.preflight import check_devices, check_inputs
from suite.run.mlflow_writer import Tracker
from suite.run.progress import Progress
from suite.study.load import check_backbone, load_study, title_of
from suite.study.provenance import provenance
from suite.study.records import merge
from suite.study.store import Entry, Record, curves, examples, tidy, write_csv, write_curves, write_examples

SHOWN = {"acc1_last": "{:.1f} %", "miou_last": "{:.1f} % mIoU", "speed_ratio": "{:.2f} x"}


@dataclass(frozen=True)
class Outcome:
    """How a run of a study ended: how many of its cells are finished, failed, and not run.

    `compared` counts the accuracy cells among those that finished or failed, the ones a table is made of. `tracker` has
    the runs of all of them, and waits for what the table says.
    """

    compared: int
    finished: int
    failed: int
    not_run: int
    tracker: Tracker


class ResultWriter:
    """Keeps each result the moment it arrives: record first, then the display, then MLflow."""

    def __init__(self, cells: Sequence[Cell], record: Record, tracker: Tracker, progress: Progress) -> None:
        self.waiting = {cell.cell_id: cell for cell in cells}
        self.record, self.tracker, self.progress = record, tracker, progress

    def started(self, cell_id: str) -> None:
        self.progress.started(cell_id)

    def advanced(self, cell_id: str, steps: int) -> None:
        self.progress.advanced(cell_id, steps)

    def ended(self, cell_id: str, result: dict[str, Any]) -> None:
        cell = self.waiting.pop(cell_id, None)
        if cell is None:
            return  # a worker that died after its last word was replaced, and says it again
        weights = result.pop("weights", None)
        origin = provenance() | result.pop("origin", {})
        entry = self.record.add(cell, result | {"provenance": origin}, weights)
        self.progress.ended(cell_id, entry["status"], _note(entry))
        track(cell.row, functools.partial(self.tracker.sync, cell, entry), self.progress.console)


def run_study(name: str, console: Console, folder: Path = Path()) -> Outcome:
    """Run all cells of a study that are not finished, in rounds: base, accuracy, speed.

    Results are exported to `results/<study>/`. An interrupted or killed run loses only the cells that were running.

    Raises:
        UserError: for a study that cannot run, a second run in the same folder, or a record that cannot be written.
        OSError: if `results/` cannot be written.
    """
    provenance()  # as the code is now, not when the first cell ends
    study, title = load_study(name), title_of(name)
    cells, record = expand(study), Record(folder)
    with record.locked():
        tracker = Tracker(title, cells, folder)
        _catch_up(cells, record, tracker, console)
        left = sum(record.finished(cell) is None for cell in cells)
        console.print(f"{title}: {len(cells)} cells, {len(cells) - left} finished, {left} to run")
        if left:
            check_backbone(name)
            check_devices([cell for cell in cells if record.finished(cell) is None])
            check_inputs(study, console)
            try:
                _run(cells, record, tracker, console)
            except KeyboardInterrupt:
                console.print("interrupted")
        export(title, cells, record, folder)
    finished = {cell.cell_id for cell in cells if record.finished(cell)}
    failed = {cell.cell_id for cell in cells if record.failed(cell)} - finished
    compared = sum(cell.kind == "accuracy" and cell.cell_id in finished | failed for cell in cells)
    return Outcome(compared, len(finished), len(failed), len(cells) - len(finished) - len(failed), tracker)


def track(what: str, write: Callable[[], None], console: Console) -> None:
    """Write something into MLflow; what fails there is said and left to the next run, because the record has it."""
    try:
        write()
    except (MlflowException, OSError) as error:
        console.print(f"{what}: not written to MLflow, the next run will: {error}", style="yellow", soft_wrap=True)


def export(title: str, cells: Sequence[Cell], record: Record, folder: Path) -> None:
    """Write `results/<study>/`: `cells.csv`, `curves.csv`, `examples.json` and `provenance.json`, from the record."""
    results = folder / "results" / title
    write_curves(results / "curves.csv", curves(cells, record))
    write_examples(results / "examples.json", examples(cells, record))
    entries = [entry for cell in cells if (entry := record.finished(cell))]
    write_csv(results / "cells.csv", tidy(title, cells, record), _origins(entries))


def _run(cells: Sequence[Cell], record: Record, tracker: Tracker, console: Console) -> None:
    from suite.run.on_ray import run_cells, running_ray

    done = {cell.cell_id for cell in cells if record.finished(cell)}
    progress = Progress(cells, done, len(os.sched_getaffinity(0)), console)
    gpus = int(any(cell.identity["device"] == "cuda" for cell in cells if cell.cell_id not in done))
    with progress, running_ray(max(cell.threads for cell in cells), gpus):
        for kind in ("base", "accuracy", "speed"):
            weights = {
                cell.start: record.weights(cell.start) for cell in cells if cell.start and record.has(cell.start)
            }
            # Asked anew in every round: a base that was trained again may have changed what counts as finished.
            left = [cell for cell in cells if cell.kind == kind and record.finished(cell) is None]
            ready = [cell for cell in left if not cell.start or cell.start in weights]
            if ready:
                run_cells(ready, weights, ResultWriter(ready, record, tracker, progress), record.home / "ray")


def _catch_up(cells: Sequence[Cell], record: Record, tracker: Tracker, console: Console) -> None:
    """Have in MLflow what is in the record: an earlier run may have been killed in between, or the store may be new."""
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        for cell in bar.track(cells, description="Looking through MLflow"):
            entry = record.finished(cell) or record.failed(cell)
            if entry is not None:
                track(cell.row, functools.partial(tracker.sync, cell, entry), console)
    track("earlier runs", tracker.put_aside, console)


def _note(entry: Entry) -> str:
    metrics = entry.get("metrics", {})
    parts = [form.format(metrics[name]) for name, form in SHOWN.items() if name in metrics]
    return ", ".join(parts + str(entry.get("reason", "")).strip().splitlines()[-1:])


def _origins(entries: Sequence[Entry]) -> dict[str, Any]:
    """Every distinct provenance with the cells it covers, the digest of the base weights, and seconds per cell."""
    return {
        "runs": merge([], {entry["cell_id"]: entry["provenance"] for entry in entries}),
        "base_weights": sorted({entry["weights_digest"] for entry in entries if "weights_digest" in entry}),
        "seconds": {entry["cell_id"]: round(entry.get("seconds", 0.0), 1) for entry in entries},
    }
