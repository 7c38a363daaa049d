"""Run what is not finished of a study, and keep what finishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from suite.errors import UserError, not_installed
from suite.host import cores
from suite.kinds.training.cells import expand
from suite.kinds.training.estimate import duration
from suite.kinds.training.focus import declare
from suite.kinds.training.schema import Study
from suite.kinds.training.study import check_backbone, check_inputs, lacking, refuse
from suite.measure import numerics
from suite.run import in_process
from suite.run.in_process import RunCells
from suite.run.progress import Progress
from suite.study import images
from suite.study.cells import Cell, Result
from suite.study.entry import Entry, last_line
from suite.study.exported import CURVE_COLUMNS, curves, examples, tidy, write_csv, write_examples
from suite.study.kind import Loaded
from suite.study.leftovers import clear
from suite.study.load import RESULTS, argument_of
from suite.study.provenance import provenance
from suite.study.records import merge, stated, write
from suite.study.store import Record
from suite.tasks.task import tasks

if TYPE_CHECKING:
    from suite.kinds.training.track import Tracking

Rounds = tuple[tuple[str, ...], ...]  # kinds of cells that run beside each other, one round after another
SPEED = ("speed",)
ROUNDS: Rounds = (("base", "accuracy"), SPEED)


class CellQueue:
    """Hands out cells as they become ready, and keeps each result: record first, then display, then MLflow."""

    def __init__(
        self, cells: Sequence[Cell], record: Record, progress: Progress, tell: Callable[[Cell, Entry], None]
    ) -> None:
        self.left = list(cells)  # to hand out
        self.open = {cell.cell_id: cell for cell in cells}  # that have not ended
        self.failed: set[str] = set()
        self.record, self.progress, self.tell = record, progress, tell
        self.started, self.advanced = progress.started, progress.advanced

    def take(self) -> Cell | None:
        """The first cell whose base, if it starts from one, is trained."""
        cell = next(filter(self._ready, self.left), None)
        if cell is None:
            return None
        self.left.remove(cell)
        if self.record.finished(cell) is None:
            return cell
        del self.open[cell.cell_id]  # its base was lost, and became the same again
        self.progress.ended(cell.cell_id, "done", "")
        return self.take()

    def may_grow(self) -> bool:
        return any(cell.start in self.open or self._ready(cell) for cell in self.left)

    def weights(self, cell: Cell) -> Path | None:
        return self.record.weights_file(cell.start) if cell.start else None

    def _ready(self, cell: Cell) -> bool:
        return cell.start is None or (cell.start not in {*self.open, *self.failed} and self.record.has(cell.start))

    def ended(self, cell_id: str, result: Result) -> None:
        cell = self.open.pop(cell_id, None)
        if cell is None:
            return  # a worker that died after its last word was replaced, and says it again
        weights = result.pop("weights", None)
        origin = provenance() | result.pop("origin", {})
        entry = self.record.add(cell, result | {"provenance": origin}, weights)
        if entry["status"] == "failed":
            self.failed.add(cell_id)
        self.progress.ended(cell_id, entry["status"], _note(entry))
        self.tell(cell, entry)


def run(loaded: Loaded, console: Console, alone: bool = False) -> int:
    """Run a study's unfinished cells, each when its own base is trained, then speed; export `results/<study>/`.

    An interrupted or killed run loses only the cells that were running. `alone`: in this process, without Ray and
    MLflow. Returns the exit code: 0 if all cells are finished, 130 after an interrupt, else 1.

    Raises:
        UserError: for a study that cannot run, a second run in the same folder, or a record that cannot be written.
        OSError: if `results/` cannot be written.
    """
    provenance()  # as the code is now, not when the first cell ends
    cells, record, interrupted = expand(loaded.study), Record(), False
    left = [cell for cell in cells if record.finished(cell) is None]
    rounds = _rounds_here(loaded.study, left) if alone else ROUNDS
    with record.locked():
        if others := clear(record, cells):
            console.print(others, soft_wrap=True, highlight=False)
        tracking = None
        if not alone:
            from suite.kinds.training.track import Tracking  # which needs what statistics need

            tracking = Tracking(loaded.name, cells, console)
            tracking.catch_up(record)
        estimate = duration(loaded.name, cells, left, 1 if alone else cores())
        found = f"{loaded.name}: {len(cells)} cells, {len(cells) - len(left)} finished, {len(left)} to run{estimate}"
        console.print(found, soft_wrap=True)
        if left:
            check_backbone(loaded)
            refuse(lacking(left, here=alone))
            check_inputs(loaded.study, console)
        declare(RESULTS / loaded.name, loaded.study.focus)
        if left:
            try:
                _run(loaded.study, cells, rounds, record, tracking, console)
            except KeyboardInterrupt:
                interrupted = True
        export(RESULTS / loaded.name, cells, record)
    if rounds == ROUNDS[:1] and not interrupted:
        numerics.leave()  # for the speed cells
    finished = sum(record.finished(cell) is not None for cell in cells)
    if finished == len(cells):
        return 0
    failed = sum(record.finished(cell) is None and record.failed(cell) is not None for cell in cells)
    console.print(
        f"{failed} cells failed and {len(cells) - finished - failed} were not run, {finished} are finished and kept; "
        f"resume with: suite run {argument_of(loaded)}{' --in-process' if alone else ''}",
        style="yellow",
        soft_wrap=True,
    )
    return 130 if interrupted else 1


def _rounds_here(study: Study, left: Sequence[Cell]) -> Rounds:
    """What this process runs, if it runs all by itself; it is started anew where torch shall compute otherwise."""
    if study.numerics == "native" or all(cell.kind == "speed" for cell in left):
        return ROUNDS
    if numerics.stage() == "first":
        numerics.enter(study.numerics)
    alone = any(cell.kind == "speed" for cell in left)
    return (ROUNDS[:1] if alone else ROUNDS) if numerics.stage() == "entered" else ROUNDS[1:]


def export(results: Path, cells: Sequence[Cell], record: Record) -> None:
    """Write `results/<study>/`: `cells.csv`, `curves.csv`, `examples.json` and `provenance.json`, from the record."""
    write(results / "curves.csv", CURVE_COLUMNS, curves(cells, record))
    write_examples(results / "examples.json", examples(cells, record))
    entries = [entry for cell in cells if (entry := record.finished(cell))]
    images.write(results, {entry["cell_id"]: entry["images"] for entry in entries if "images" in entry})
    origins = {
        "focus": stated(results, "focus"),
        "runs": merge([], {entry["cell_id"]: entry["provenance"] for entry in entries}),
        "base_weights": sorted({entry["weights_digest"] for entry in entries if "weights_digest" in entry}),
        "seconds": {entry["cell_id"]: round(entry.get("seconds", 0.0), 1) for entry in entries},
    }
    write_csv(results / "cells.csv", tidy(results.name, cells, record), origins)


def _run(
    study: Study, cells: Sequence[Cell], rounds: Rounds, record: Record, tracking: Tracking | None, console: Console
) -> None:
    from suite.kinds.training.execute import run_cell

    done = {cell.cell_id for cell in cells if record.finished(cell)}
    at_once = cores() if tracking else 1
    with Progress(cells, done, at_once, console, ticking=tracking is not None) as progress:
        for kinds in rounds:
            left = [cell for cell in cells if cell.kind in kinds and record.finished(cell) is None]
            if not left:
                continue
            queue = CellQueue(left, record, progress, tracking.sync if tracking else lambda *_: None)
            environment = {} if kinds == SPEED else numerics.ENVIRONMENT[study.numerics]
            with scheduler(left, environment, alone=tracking is None) as run_cells:
                run_cells(run_cell, queue, record.home / "scratch")


@contextmanager
def scheduler(cells: Sequence[Cell], environment: Mapping[str, str], *, alone: bool) -> Iterator[RunCells]:
    """What runs cells, for as long as it is there: this process, or Ray."""
    if alone:
        yield in_process.run_cells
        return
    try:
        from suite.run import on_ray
    except ModuleNotFoundError as error:
        raise UserError(
            f"{not_installed(error)}, or run one cell after another in this process: --in-process"
        ) from error
    with on_ray.running_ray(cells, environment):
        yield on_ray.run_cells


def _note(entry: Entry) -> str:
    metrics = entry.get("metrics", {})
    headlines = [one.headline for one in tasks().values()]
    parts = [f"{one.short} {metrics[one.last]:.{one.decimals}f} {one.unit}" for one in headlines if one.last in metrics]
    parts += [f"{metrics['speed_ratio']:.2f} x"] if "speed_ratio" in metrics else []
    return ", ".join(filter(None, [*parts, last_line(entry)]))
