"""States of trainings that nobody goes on with are deleted, or said to be there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_study import RUN, here, write

from suite.study.cells import Cell
from suite.study.leftovers import DAYS, clear
from suite.study.store import Record, unfinished

DAY = 86_400
NOW = 10_000 * DAY
CELLS = [Cell({"kind": "accuracy", "seed": seed}, "row", "none") for seed in range(3)]


def state(record: Record, cell: Cell, age: float = 0) -> Path:
    """A state of a cell, of half a megabyte and so many days."""
    folder = unfinished(record.home, cell.cell_id)
    folder.mkdir(parents=True)
    (folder / "1.state").write_bytes(bytes(500_000))
    for path in (folder / "1.state", folder):
        os.utime(path, (NOW - age * DAY, NOW - age * DAY))
    return folder


def test_states_of_finished_cells_are_deleted(tmp_path: Path) -> None:
    """Of this study, and of others, whose cells have a record; without a word."""
    record = Record(tmp_path)
    for cell in CELLS[:2]:
        record.add(cell, {"status": "done", "reason": ""})
    folders = [state(record, cell) for cell in CELLS]
    assert clear(record, CELLS[1:], NOW) == []
    assert [folder.is_dir() for folder in folders] == [False, False, True]


@pytest.mark.parametrize("own", [True, False])
def test_old_states_of_other_trainings_are_deleted(tmp_path: Path, own: bool) -> None:
    """Those of this study's cells stay, however old; younger ones are said with the disk that they take."""
    record = Record(tmp_path)
    old, young = state(record, CELLS[0], DAYS + 1), state(record, CELLS[1], DAYS - 1)
    said = clear(record, CELLS if own else [], NOW)
    assert (old.is_dir(), young.is_dir()) == (own, True)
    assert said == (
        []
        if own
        else [
            "1 states of trainings that this study does not have, untouched for 30 days, were deleted",
            f"{tmp_path / '.suite' / 'unfinished'} has states of 1 trainings that this study does not have (0.5 MB); "
            "delete them, unless another study goes on with them",
        ]
    )


def test_a_run_says_what_an_edited_recipe_left(tmp_path: Path) -> None:
    """Once it has another id; the run itself goes on."""
    record = Record(tmp_path)
    state(record, CELLS[0])
    write(tmp_path, methods=["none"], seeds=[0], speed=None)
    done = here(tmp_path, *RUN)
    assert done.returncode == 0, done.stderr
    assert "1 states of trainings that this study does not have, untouched for 30 days, were deleted" in done.stdout
    assert not list(unfinished(record.home).iterdir())
