"""Run cells one after another in this process: without Ray, and where a debugger can follow."""

from __future__ import annotations

import functools
import shutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from suite.study.cells import Cell, Job, Result, Work


class Observer(Protocol):
    """Told what happens to the cells, in the driver."""

    def started(self, cell_id: str) -> None:
        """The cell began."""

    def advanced(self, cell_id: str, steps: int) -> None:
        """So many of the cell's steps are done."""

    def ended(self, cell_id: str, result: Result) -> None:
        """The cell finished, was skipped, or failed."""


RunCells = Callable[[Work, Sequence[Cell], Mapping[str, bytes], Observer, Path], None]


def attempt(work: Work, job: Job) -> Result:
    """The result of a job; whatever it raises belongs in the record, as the traceback of a failed cell."""
    try:
        return work(job)
    except Exception:
        return {"status": "failed", "reason": traceback.format_exc()}


def run_cells(
    work: Work, cells: Sequence[Cell], weights: Mapping[str, bytes], observer: Observer, scratch: Path
) -> None:
    """Run cells in their order and tell the observer; returns when all ended, an interrupt passes through.

    `weights` are those of the base cells that `cells` start from, by id; `scratch` is a folder for temporary files.
    """
    try:
        for cell in cells:
            observer.started(cell.cell_id)
            start = weights[cell.start] if cell.start else None
            places = cell.places | {"scratch": str(scratch.resolve())}
            job = Job(cell.identity, start, functools.partial(observer.advanced, cell.cell_id), places)
            observer.ended(cell.cell_id, attempt(work, job))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
