"""The record of finished cells: whole files only, and nothing counts as done that is not."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from suite.errors import UserError
from suite.study.cells import Cell
from suite.study.exported import COLUMNS, tidy, write_csv
from suite.study.store import Record

CELL = Cell({"kind": "accuracy", "task": "classification", "protocol": 1, "seed": 3, "threads": 1}, "cropr", "8 8 0")
BASE = Cell({"kind": "base", "task": "classification", "protocol": 1, "seed": 0, "threads": 1}, "base", "none")
DONE = {
    "status": "done",
    "reason": "",
    "metrics": {"acc1_last": 90.5},
    "units": {"acc1_last": "%", "tokens_mlp": "tokens"},
    "repetitions": {"tokens_mlp": [65, 57]},
}
FAILED = {"status": "failed", "reason": "Traceback ...\nValueError: it broke\n"}


def test_a_failure_stays_until_the_cell_succeeds(tmp_path: Path) -> None:
    """A failed cell is not finished; success replaces the failure."""
    record = Record(tmp_path)
    assert record.finished(CELL) is None
    record.add(CELL, FAILED)
    assert record.finished(CELL) is None
    assert record.failed(CELL) is not None
    record.add(CELL, DONE)
    assert record.failed(CELL) is None
    entry = record.finished(CELL)
    assert entry is not None
    assert entry["metrics"] == {"acc1_last": 90.5}


def test_a_base_cell_is_finished_only_with_its_own_weights(tmp_path: Path) -> None:
    """Missing or changed weights mean that the base is trained again."""
    record = Record(tmp_path)
    record.add(BASE, DONE, b"weights")
    assert record.finished(BASE) is not None
    assert record.weights(BASE.cell_id) == b"weights"
    weights = tmp_path / ".suite" / "weights" / f"{BASE.cell_id}.pt"
    weights.write_bytes(b"other weights")
    assert record.finished(BASE) is None
    weights.unlink()
    assert record.finished(BASE) is None


def test_a_cell_is_finished_only_with_the_weights_it_started_from(tmp_path: Path) -> None:
    """Rows that started from different base weights never share a table."""
    record, started = Record(tmp_path), Cell(CELL.identity, "cropr", "8 8 0", start=BASE.cell_id)
    record.add(BASE, DONE, b"weights")
    record.add(started, DONE)
    assert record.finished(started) is not None
    record.add(BASE, DONE, b"other weights")
    assert record.finished(started) is None
    record.add(BASE, DONE, b"weights")
    assert record.finished(started) is not None


@pytest.mark.parametrize("content", ["", '{"cell_id": "', "[]", '{"cell_id": "another"}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    """A file that is not the cell's record is neither done nor silently overwritten."""
    path = tmp_path / ".suite" / "cells" / f"{CELL.cell_id}.json"
    Record(tmp_path).add(CELL, DONE)
    path.write_text(content)
    with pytest.raises(UserError, match=f"{CELL.cell_id}.json is .*; delete it"):
        Record(tmp_path).finished(CELL)


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """When the system refuses to write more, the message says so, and what was there before stays whole."""
    Record(tmp_path).add(BASE, DONE)
    program = f"""
import resource, signal
from pathlib import Path
from tests.test_record import BASE, CELL, DONE
from suite.study.store import Record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, {resource.RLIM_INFINITY}))
for cell in (CELL, BASE):
    try:
        Record(Path({str(tmp_path)!r})).add(cell, DONE | {{"details": "x" * 1000}})
    except ValueError as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.count("UserError cannot write") == 2, done.stderr
    assert "finished cells are kept" in done.stdout
    assert Record(tmp_path).finished(CELL) is None
    entry = Record(tmp_path).finished(BASE)
    assert entry is not None
    assert "details" not in entry
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2, "the cell, and the format"


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    """The second is told; the lock ends with the first."""
    with (
        Record(tmp_path).locked(),
        pytest.raises(UserError, match="another run is at work"),
        Record(tmp_path).locked(),
    ):
        pass
    with Record(tmp_path).locked():
        pass


def test_the_tidy_record_has_a_row_per_value(tmp_path: Path) -> None:
    """Sorted by cell, metric and repetition; a cell without metrics has one row with the reason."""
    record = Record(tmp_path)
    record.add(CELL, FAILED)
    record.add(BASE, DONE, b"weights")
    rows = tidy("trial", [CELL, BASE], record)
    write_csv(tmp_path / "cells.csv", rows)
    assert (tmp_path / "cells.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert rows == sorted(rows, key=lambda row: (row["cell_id"], row["metric"], row["repetition"]))
    found = {(row["row"], row["metric"], row["repetition"], row["value"], row["unit"], row["reason"]) for row in rows}
    assert found == {
        ("base", "acc1_last", "", "90.5", "%", ""),
        ("base", "tokens_mlp", "0000", "65", "tokens", ""),
        ("base", "tokens_mlp", "0001", "57", "tokens", ""),
        ("cropr", "", "", "", "", "ValueError: it broke"),
    }


def test_the_record_says_what_the_id_stands_for(tmp_path: Path) -> None:
    """The identity is written beside the result, so a file explains itself."""
    Record(tmp_path).add(CELL, DONE)
    written = json.loads((tmp_path / ".suite" / "cells" / f"{CELL.cell_id}.json").read_text())
    assert written["identity"] == CELL.identity


@pytest.mark.parametrize("found", [None, "1", "3"])
def test_a_record_of_another_format_is_refused(tmp_path: Path, found: str | None) -> None:
    """Whoever asks is told to move it away; nothing in it is changed. Older records have no mark."""
    Record(tmp_path).add(CELL, DONE)
    marker = tmp_path / ".suite/format"
    assert marker.read_text() == "2\n"
    marker.unlink() if found is None else marker.write_text(found)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    asked = Record(tmp_path)
    for ask in (lambda: asked.finished(CELL), lambda: asked.finished(BASE), lambda: asked.add(BASE, DONE)):
        with pytest.raises(UserError, match=rf"has the format {found or 1}, this version reads 2.*move it away"):
            ask()
    with pytest.raises(UserError, match="move it away"), Record(tmp_path).locked():
        pass
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
