"""Finished cells in a file, for another clone: nothing runs twice, and nothing damaged or foreign gets in."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_images import tar
from tiny_study import RUN, finished, here, strange, strangers, suite, write

from suite.errors import UserError
from suite.study import entry as entries
from suite.study.cells import Cell
from suite.study.pack import pack, unpack
from suite.study.store import Record

BASE = Cell({"kind": "base", "seed": 0}, "base", "none")
CELL = Cell({"kind": "accuracy", "seed": 3, "start": BASE.cell_id}, "cropr", "8 8 0", start=BASE.cell_id)
DONE: dict[str, Any] = {"status": "done", "metrics": {"acc1_last": 90.5}, "provenance": {"host": "here"}}


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A file with a base cell, its weights, and a cell that started from it."""
    record = Record(tmp_path / "here")
    record.add(BASE, DONE, b"weights")
    record.add(CELL, DONE)
    assert pack([CELL.cell_id, BASE.cell_id], record, tmp_path / "cells.tar") == 2
    return tmp_path / "cells.tar"


def contents(path: Path) -> dict[str, bytes]:
    """Every file in a tar file."""
    with tarfile.open(path) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive.getmembers()}  # type: ignore[union-attr]


def rewrite(path: Path, files: dict[str, bytes], digests: bool) -> None:
    """Write such a file by other means, with digests that fit if so wished."""
    if digests:
        import hashlib

        head = json.loads(files["digests.json"])
        head["files"] = {name: hashlib.sha256(files[name]).hexdigest() for name in files if name != "digests.json"}
        files = files | {"digests.json": json.dumps(head).encode()}
    tar(path, files)


@pytest.mark.slow
def test_a_half_run_study_goes_on_elsewhere(tmp_path: Path) -> None:
    """What was finished is not run again, the base neither, and the rest is."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    environment = strangers(tmp_path)
    for folder in (one, other):
        write(folder, methods=["none", strange(tmp_path, "SIGKILL"), "random"], seeds=[0], speed=None)
    suite(one, *RUN, **environment)
    kept = finished(one)
    assert len(kept) == 2
    write(one, methods=["none", "random"], seeds=[0], speed=None)
    assert here(one, "pack", "trial.yaml").stdout == "Written to trial.cells.tar: 2 of 3 cells\n"
    unpacked = here(other, "unpack", str(one / "trial.cells.tar"))
    assert unpacked.stdout == "2 cells are new here, 0 were here already\n"
    times = finished(other)
    done = suite(other, *RUN, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 cells, 2 finished, 2 to run" in done.stdout
    assert {cell: finished(other)[cell] for cell in kept} == times
    write(tmp_path)
    empty = here(tmp_path, "pack", "trial.yaml", "--file", "empty.tar")
    assert empty.stderr.startswith("error: no cell of trial is finished here; run it with: suite run trial.yaml")
    assert not (tmp_path / "empty.tar").exists()


def test_the_same_cells_make_the_same_file(packed: Path, tmp_path: Path) -> None:
    """To the byte, from another folder; unpacked, they are finished, with their weights."""
    record = Record(tmp_path / "there")
    assert unpack(packed, record) == (2, 0)
    assert record.finished(BASE)
    assert record.finished(CELL)
    assert record.weights(BASE.cell_id) == b"weights"
    pack([BASE.cell_id, CELL.cell_id], record, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == packed.read_bytes()
    assert unpack(packed, record) == (0, 2)


def test_a_result_from_here_is_kept(packed: Path, tmp_path: Path) -> None:
    """One that differs in where it ran stays as it is; another result is refused, with the whole file."""
    record = Record(tmp_path / "there")
    record.add(BASE, DONE | {"provenance": {"host": "there"}}, b"weights")
    assert unpack(packed, record) == (1, 1)
    entry = record.finished(BASE)
    assert entry
    assert entry["provenance"] == {"host": "there"}
    other = Record(tmp_path / "other")
    other.add(BASE, DONE, b"other weights")
    before = other.cell_file(BASE.cell_id).read_bytes()
    with pytest.raises(UserError, match=f"cells/{BASE.cell_id}.json, another result than here; to take it, delete"):
        unpack(packed, other)
    assert other.cell_file(BASE.cell_id).read_bytes() == before
    assert other.weights(BASE.cell_id) == b"other weights"
    assert not other.cell_file(CELL.cell_id).exists()


def test_a_failure_makes_way_for_a_result(packed: Path, tmp_path: Path) -> None:
    """As when the cell had succeeded here."""
    record = Record(tmp_path / "there")
    record.add(CELL, {"status": "failed", "reason": "no"})
    assert unpack(packed, record) == (2, 0)
    assert record.failed(CELL) is None


CELL_FILE, WEIGHTS = f"cells/{CELL.cell_id}.json", f"weights/{BASE.cell_id}.pt"


def _entry(**changes: Any) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    """The cell's file with other values, written as if a cell had ended so."""

    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        entry = json.loads(files[CELL_FILE]) | changes
        del entry[entries.DIGEST]
        return files | {CELL_FILE: entries.written(entry).encode()}

    return change


@pytest.mark.parametrize(
    ("change", "digests", "message"),
    [
        (lambda files: files | {WEIGHTS: b"Weights"}, False, f"{WEIGHTS}, which is damaged"),
        (_entry(metrics={"acc1_last": 99.9}), False, f"{CELL_FILE}, which is damaged"),
        (lambda files: files | {"../../evil.json": b"{}"}, True, r"\.\./\.\./evil\.json, which is foreign"),
        (lambda files: files | {"/tmp/evil": b"{}"}, True, "/tmp/evil, which is foreign"),  # noqa: S108
        (lambda files: files | {"cells/../../../evil.json": b"{}"}, True, "evil.json, which is foreign"),
        (
            lambda files: files | {"cells/0123456789abcdef.json": b"{}"},
            True,
            "cells/0123456789abcdef.json, which is no",
        ),
        (
            _entry(identity={"seed": 4}),
            True,
            f"{CELL_FILE}, which is no record of a cell",
        ),
        (_entry(status="failed"), True, f"{CELL_FILE}, which is not the record of a finished cell"),
        (lambda files: files | {WEIGHTS: b"Weights"}, True, f"{WEIGHTS}, which are not the weights"),
        (lambda files: {name: files[name] for name in files if name != WEIGHTS}, True, f"{WEIGHTS}, which are not"),
        (lambda files: {name: files[name] for name in files if name != WEIGHTS}, False, f"{WEIGHTS}, 0 times"),
        (lambda files: files | {"digests.json": b"[]"}, False, "digests.json, which is damaged"),
        (
            lambda files: files | {"digests.json": files["digests.json"].replace(b'"2"', b'"1"')},
            False,
            "has the format 1, not 2",
        ),
        (lambda files: {CELL_FILE: files[CELL_FILE]}, False, "where digests.json should be"),
    ],
)
def test_what_is_damaged_or_foreign_is_refused(
    packed: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], digests: bool, message: str
) -> None:
    """By name, and nothing is taken out of the file."""
    rewrite(packed, change(contents(packed)), digests)
    record = Record(tmp_path / "deep/down/there")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=message):
        unpack(packed, record)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - before <= {record.home / "lock"}


@pytest.mark.parametrize("cut", [0, 100, 1000, 3000])
def test_half_a_file_is_refused(packed: Path, tmp_path: Path, cut: int) -> None:
    """Wherever it ends."""
    packed.write_bytes(packed.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"cells\.tar"):
        unpack(packed, Record(tmp_path / "there"))
    assert not (tmp_path / "there/.suite/cells").exists()


def test_a_link_is_no_cell(packed: Path, tmp_path: Path) -> None:
    """Whatever its name."""
    with tarfile.open(packed, "a") as archive:
        link = tarfile.TarInfo(f"cells/{'0' * 16}.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(UserError, match="which is foreign"):
        unpack(packed, Record(tmp_path / "there"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As any other."""
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "none.tar", Record(tmp_path))
    shutil.rmtree(tmp_path / ".suite")
