"""Run cells one after another in this process: without Ray, and where a debugger can follow."""

from __future__ import annotations

import functools
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from suite.redaction import redacted
from suite.study.cells import Cell, Job, Result, Work


class Queue(Protocol):
    """The cells of a run, in the driver: hands them out and is told what happens to them."""

    def take(self) -> Cell | None:
        """The next cell to run; None if none is ready."""

    def may_grow(self) -> bool:
        """Whether a cell can become ready that is not."""

    def weights(self, cell: Cell) -> Path | None:
        """The file of the weights that a cell starts from, if it starts from a base cell."""

    def started(self, cell_id: str) -> None:
        """The cell began."""

    def advanced(self, cell_id: str, steps: int) -> None:
        """So many of the cell's steps are done."""

    def ended(self, cell_id: str, result: Result) -> None:
        """The cell finished, was skipped, or failed."""


RunCells = Callable[[Work, Queue, Path], None]


def attempt(work: Work, job: Job) -> Result:
    """The result of a job; whatever it raises belongs in the record, as the traceback of a failed cell."""
    try:
        return work(job)
    except Exception:
        return {"status": "failed", "reason": redacted(traceback.format_exc())}


def run_cells(work: Work, queue: Queue, scratch: Path) -> None:
    """Run the cells of a queue in their order; returns when none is ready, an interrupt passes through.

    `scratch` is a folder for temporary files.
    """
    try:
        while cell := queue.take():
            queue.started(cell.cell_id)
            places = cell.places | {"scratch": str(scratch.resolve())}
            weights, progress = queue.weights(cell), functools.partial(queue.advanced, cell.cell_id)
            job = Job(cell.identity, weights, progress, places, cell.how)
            queue.ended(cell.cell_id, attempt(work, job))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
