"""States of trainings that this study does not go on with: of cells that are finished, or that it does not have."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from suite.study.cells import Cell
from suite.study.store import Record, unfinished


def clear(record: Record, cells: Sequence[Cell]) -> str:
    """Delete states of this study's finished cells.

    Returns, in a sentence, how many others there are and the disk that they take, which may be of other studies; empty
    without any.
    """
    own, home = {cell.cell_id: cell for cell in cells}, unfinished(record.home)
    others = list[Path]()
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        cell = own.get(folder.name)
        if cell is None:
            others.append(folder)
        elif record.finished(cell):
            shutil.rmtree(folder, ignore_errors=True)
    sizes = [path.stat().st_size for folder in others for path in folder.rglob("*") if path.is_file()]
    return (
        f"{home} has states of {len(others)} trainings that this study does not have ({sum(sizes) / 1e6:.1f} MB); "
        "delete them, unless another study goes on with them"
        if others
        else ""
    )
