"""States of trainings that nobody goes on with are deleted, or said to be there."""

from __future__ import annotations

from pathlib import Path

from tiny_study import RUN, here, write

from suite.study.cells import Cell
from suite.study.leftovers import clear
from suite.study.store import Record, unfinished

CELLS = [Cell({"kind": "accuracy", "seed": seed}, "row", "none") for seed in range(3)]


def state(record: Record, cell: Cell) -> Path:
    """A state of a cell, of half a megabyte."""
    folder = unfinished(record.home, cell.cell_id)
    folder.mkdir(parents=True)
    (folder / "1.state").write_bytes(bytes(500_000))
    return folder


def test_states_of_finished_cells_are_deleted(tmp_path: Path) -> None:
    """Of this study alone: a cell of another may have to be trained again, and go on from them."""
    record = Record(tmp_path)
    for cell in CELLS[:2]:
        record.add(cell, {"status": "done", "reason": ""})
    folders = [state(record, cell) for cell in CELLS]
    said = clear(record, CELLS[1:])
    assert [folder.is_dir() for folder in folders] == [True, False, True]
    assert said == (
        f"{tmp_path / '.suite' / 'unfinished'} has states of 1 trainings that this study does not have (0.5 MB); "
        "delete them, unless another study goes on with them"
    )
    assert clear(record, CELLS) == ""


def test_a_run_says_what_an_edited_recipe_left(tmp_path: Path) -> None:
    """Once it has another id; the run itself goes on."""
    left = state(Record(tmp_path), CELLS[0])
    write(tmp_path, methods=["none"], seeds=[0], speed=None)
    done = here(tmp_path, *RUN)
    assert done.returncode == 0, done.stderr
    assert "has states of 1 trainings that this study does not have (0.5 MB)" in done.stdout
    assert list(unfinished(tmp_path / ".suite").iterdir()) == [left]
