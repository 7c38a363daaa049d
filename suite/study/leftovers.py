"""States of trainings that nobody goes on with: of cells that are finished, or that no study asks for any more."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from suite.study.cells import Cell
from suite.study.store import Record, unfinished

DAYS = 30  # after which a state that is not of this study is deleted


def clear(record: Record, cells: Sequence[Cell], now: float | None = None) -> list[str]:
    """Delete states of finished cells, and those of no cell of this study that are older than `DAYS`.

    Returns, in sentences, how many of the latter were deleted, and how many younger ones stay and how much disk they
    take: they may be of other studies. `now`: in seconds since 1970, by default by the clock.
    """
    own, now = {cell.cell_id: cell for cell in cells}, time.time() if now is None else now
    home = unfinished(record.home)
    old, young = list[Path](), list[Path]()
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        cell = own.get(folder.name)
        if record.finished(cell) if cell else record.cell_file(folder.name).is_file():
            shutil.rmtree(folder, ignore_errors=True)
        elif cell is None:
            (old if now - _latest(folder) > DAYS * 86_400 else young).append(folder)
    deleted = f"{len(old)} states of trainings that this study does not have, untouched for {DAYS} days, were deleted"
    kept = (
        f"{home} has states of {len(young)} trainings that this study does not have ({_size(young) / 1e6:.1f} MB); "
        "delete them, unless another study goes on with them"
    )
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
    return ([deleted] if old else []) + ([kept] if young else [])


def _latest(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def _size(folders: Sequence[Path]) -> int:
    """Bytes."""
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
