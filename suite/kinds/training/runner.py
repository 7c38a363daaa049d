"""Run what is not finished of a study, and keep what finishes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from suite.errors import UserError
from suite.kinds.training.cells import expand
from suite.kinds.training.study import check_backbone, check_inputs, lacking, refuse
from suite.kinds.training.track import Tracking
from suite.run import in_process
from suite.run.in_process import RunCells
from suite.run.progress import Progress
from suite.study.cells import Cell, Result
from suite.study.exported import CURVE_COLUMNS, curves, examples, tidy, write_csv, write_examples
from suite.study.kind import Loaded
from suite.study.load import RESULTS, argument_of
from suite.study.provenance import provenance
from suite.study.records import merge, write
from suite.study.store import Entry, Record, last_line
from suite.tasks.task import tasks

ROUNDS = ("base", "accuracy", "speed")  # kinds of cells, in the order in which they can run


class ResultWriter:
    """Keeps each result the moment it arrives: record first, then the display, then all other observers."""

    def __init__(
        self, cells: Sequence[Cell], record: Record, progress: Progress, tell: Callable[[Cell, Entry], None]
    ) -> None:
        self.waiting = {cell.cell_id: cell for cell in cells}
        self.record, self.progress, self.tell = record, progress, tell
        self.started, self.advanced = progress.started, progress.advanced

    def ended(self, cell_id: str, result: Result) -> None:
        cell = self.waiting.pop(cell_id, None)
        if cell is None:
            return  # a worker that died after its last word was replaced, and says it again
        weights = result.pop("weights", None)
        origin = provenance() | result.pop("origin", {})
        entry = self.record.add(cell, result | {"provenance": origin}, weights)
        self.progress.ended(cell_id, entry["status"], _note(entry))
        self.tell(cell, entry)


def run(loaded: Loaded, console: Console, alone: bool = False) -> int:
    """Run all cells of a study that are not finished, in rounds: base, accuracy, speed; export `results/<study>/`.

    An interrupted or killed run loses only the cells that were running. `alone`: in this process, without Ray and
    MLflow. Returns the exit code: 0 if all cells are finished, 130 after an interrupt, else 1.

    Raises:
        UserError: for a study that cannot run, a second run in the same folder, or a record that cannot be written.
        OSError: if `results/` cannot be written.
    """
    provenance()  # as the code is now, not when the first cell ends
    cells, record, interrupted = expand(loaded.study), Record(), False
    with record.locked():
        tracking = None if alone else Tracking(loaded.name, cells, console)
        if tracking:
            tracking.catch_up(record)
        left = [cell for cell in cells if record.finished(cell) is None]
        console.print(f"{loaded.name}: {len(cells)} cells, {len(cells) - len(left)} finished, {len(left)} to run")
        if left:
            check_backbone(loaded)
            refuse(lacking(left, here=alone))
            check_inputs(loaded.study, console)
            try:
                _run(cells, record, tracking, console)
            except KeyboardInterrupt:
                interrupted = True
        export(RESULTS / loaded.name, cells, record)
    finished = sum(record.finished(cell) is not None for cell in cells)
    if finished == len(cells):
        return 0
    failed = sum(record.finished(cell) is None and record.failed(cell) is not None for cell in cells)
    console.print(
        f"{failed} cells failed and {len(cells) - finished - failed} were not run, {finished} are finished and kept; "
        f"resume with: suite run {argument_of(loaded)}",
        style="yellow",
        soft_wrap=True,
    )
    return 130 if interrupted else 1


def export(results: Path, cells: Sequence[Cell], record: Record) -> None:
    """Write `results/<study>/`: `cells.csv`, `curves.csv`, `examples.json` and `provenance.json`, from the record."""
    write(results / "curves.csv", CURVE_COLUMNS, curves(cells, record))
    write_examples(results / "examples.json", examples(cells, record))
    entries = [entry for cell in cells if (entry := record.finished(cell))]
    origins = {
        "runs": merge([], {entry["cell_id"]: entry["provenance"] for entry in entries}),
        "base_weights": sorted({entry["weights_digest"] for entry in entries if "weights_digest" in entry}),
        "seconds": {entry["cell_id"]: round(entry.get("seconds", 0.0), 1) for entry in entries},
    }
    write_csv(results / "cells.csv", tidy(results.name, cells, record), origins)


def _run(cells: Sequence[Cell], record: Record, tracking: Tracking | None, console: Console) -> None:
    from suite.kinds.training.execute import run_cell

    left = [cell for cell in cells if record.finished(cell) is None]
    done = {cell.cell_id for cell in cells} - {cell.cell_id for cell in left}
    cores = len(os.sched_getaffinity(0)) if tracking else 1
    progress = Progress(cells, done, cores, console, ticking=tracking is not None)
    with progress, _scheduler(cells, left, alone=tracking is None) as run_cells:
        for kind in ROUNDS:
            starts = {cell.start for cell in cells if cell.start and record.has(cell.start)}
            weights = {start: record.weights(start) for start in starts}
            # Asked anew in every round: a base that was trained again may have changed what counts as finished.
            left = [cell for cell in cells if cell.kind == kind and record.finished(cell) is None]
            ready = [cell for cell in left if not cell.start or cell.start in weights]
            if ready:
                writer = ResultWriter(ready, record, progress, tracking.sync if tracking else lambda *_: None)
                run_cells(run_cell, ready, weights, writer, record.home / "scratch")


@contextmanager
def _scheduler(cells: Sequence[Cell], left: Sequence[Cell], *, alone: bool) -> Iterator[RunCells]:
    """What runs cells, for as long as it is there: this process, or Ray."""
    if alone:
        yield in_process.run_cells
        return
    try:
        from suite.run import on_ray
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed; add what studies need (pip install 'cropr-suite[study]'), or run one cell "
            "after another in this process: --in-process"
        ) from error
    with on_ray.running_ray(max(cell.threads for cell in cells), any(cell.device == "cuda" for cell in left)):
        yield on_ray.run_cells


def _note(entry: Entry) -> str:
    metrics = entry.get("metrics", {})
    headlines = [one.headline for one in tasks().values()]
    parts = [f"{one.short} {metrics[one.last]:.1f} {one.unit}" for one in headlines if one.last in metrics]
    parts += [f"{metrics['speed_ratio']:.2f} x"] if "speed_ratio" in metrics else []
    return ", ".join(filter(None, [*parts, last_line(entry)]))
