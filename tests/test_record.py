"""The record of finished cells: whole files only, and nothing counts as done that is not."""

import errno
import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suite.errors import UserError, refused
from suite.study import store
from suite.study.cells import Cell
from suite.study.exported import COLUMNS, tidy, write_csv
from suite.study.records import replace
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


NEEDED = DONE | {"provenance": {"started": "then"}, "curves": {"loss": [1.5]}, "seconds": 2.0, "details": {}}
TRAINED = Cell(CELL.identity | {"recipe": {"epochs": 1}}, "cropr", "8 8 0")


@pytest.mark.parametrize("older", [False, True], ids=["with its digest", "of before there were digests"])
@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("status", "units", "identity", "provenance", "cell_id")),
        *({name: 1} for name in ("metrics", "units", "repetitions", "curves", "details", "provenance", "reason")),
        {"status": "finished"},
        {"status": ["done"]},
        {"metrics": [1]},
        {"metrics": {"acc1_last": "90.5"}},
        {"metrics": {"acc1_last": math.nan}},
        {"metrics": {"acc1_last": math.inf}},
        {"metrics": {"acc1_last": 10**400}},
        {"metrics": {"acc1_last": True}},
        {"metrics": {"acc1_last": 90.5, "acc1_best": 91.0}},
        {"repetitions": {"tokens_mlp": [65, None]}},
        {"curves": {"loss": "x"}},
        {"curves": {"loss": [1.5, 1.25]}},
        {"curves": {"loss": []}},
        {"reason": ["why"]},
        {"seconds": "x"},
        {"seconds": {}},
        {"identity": CELL.identity},
    ],
    ids=str,
)
def test_an_edited_record_is_never_believed(tmp_path: Path, changes: dict[str, Any], older: bool) -> None:
    """A key that is missing (here None) or has another type, a number that no cell ends with, a longer curve."""
    record = Record(tmp_path)
    record.add(TRAINED, NEEDED)
    path = record.cell_file(TRAINED.cell_id)
    entry = json.loads(path.read_text())
    if older:
        del entry["sha256"]
        path.write_text(json.dumps(entry))
        assert record.finished(TRAINED), "it is read as ever"
    path.write_text(json.dumps({name: value for name, value in (entry | changes).items() if value is not None}))
    with pytest.raises(UserError, match=rf"{TRAINED.cell_id}.json is damaged \(.*; delete it to run that cell again"):
        record.finished(TRAINED)


@pytest.mark.parametrize("content", ["9" * 5000, "[" * 100_000, "\xff", "null", "\0"])
def test_what_is_no_json_is_damaged_too(tmp_path: Path, content: str) -> None:
    """A number or a nesting beyond Python's limits, other bytes."""
    record = Record(tmp_path)
    record.add(CELL, DONE)
    record.cell_file(CELL.cell_id).write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match="is damaged"):
        record.finished(CELL)


@pytest.mark.parametrize("name", ["speedup", "speedup_eager", "macs_ratio", "kernels", "timing_warnings", "session"])
def test_a_record_of_speed_needs_all_it_exports(tmp_path: Path, name: str) -> None:
    """An older one: others have a digest."""
    record, texts = Record(tmp_path), dict.fromkeys(("kernels", "timing_warnings", "session"), "x")
    found = {"status": "done", "provenance": {}, "speedup": [1.5], "speedup_eager": [2], "macs_ratio": 2.0} | texts
    record.add(CELL, found)
    path = record.cell_file(CELL.cell_id)
    entry = json.loads(path.read_text())
    del entry["sha256"]
    path.write_text(json.dumps(entry))
    assert record.finished(CELL) == entry
    del entry[name]
    path.write_text(json.dumps(entry))
    with pytest.raises(UserError, match=f"it has no {name}"):
        record.finished(CELL)


def test_a_failure_among_finished_cells_is_not_finished(tmp_path: Path) -> None:
    """Wherever somebody copied it."""
    record = Record(tmp_path)
    record.add(CELL, DONE)
    record.add(BASE, FAILED)
    record.failed_file(BASE.cell_id).rename(record.cell_file(BASE.cell_id))
    assert record.finished(BASE) is None


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.ENOLCK, errno.EINVAL])
def test_a_disk_without_locks_is_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """With a warning that a second run is not kept out."""

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store.fcntl, "flock", flock)
    with Record(tmp_path).locked():
        Record(tmp_path).add(CELL, DONE)
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {tmp_path / '.suite/lock'} cannot be locked on this disk ({os.strerror(number)})")
    assert "start no second run" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("name", "content"), [("table.csv", "x" * 1000), ("deep/page.html", b"x" * 1000)])
def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, name: str, content: str | bytes) -> None:
    """On a disk that is full the file of before stays, nothing lies beside it, and the error names it."""
    path = tmp_path / name
    replace(path, "before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match=str(path)) as error:
            replace(path, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refused(error.value) == f"cannot use {path}: File too large"
    assert path.read_text() == "before"
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [path]
    replace(path, content)
    assert path.stat().st_size == 1000


def test_what_is_no_file_is_written_as_it_is(tmp_path: Path) -> None:
    """A device stays one, and a link leads where it did."""
    replace(Path("/dev/null"), "x")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match=r"No space left on device.*/dev/full"):
        replace(Path("/dev/full"), "x")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    (tmp_path / "there").write_text("before")
    replace(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "after"


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
