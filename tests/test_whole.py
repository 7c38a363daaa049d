"""Images that were read and found whole are not read again, until they change; parquet is unpacked once."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_images import LAYOUTS, as_folders, as_parquet
from tiny_study import here, write

from suite.data import cache, parquet, whole
from suite.data.images import Images
from suite.data.pictures import read
from suite.errors import UserError
from suite.terminal import ManualProgress

COUNT = 18


@pytest.fixture
def laid_out(tmp_path: Path, own_cache: Path) -> Callable[[str], Images]:
    """Makes the images in a layout, and the data set of them."""

    def make(layout: str) -> Images:
        (root := tmp_path / layout.replace(" ", "-")).mkdir()
        written, said = LAYOUTS[layout]
        written(root)
        said = {key: root / value for key, value in said.items()}
        return Images(recipe="images", source=root, size=16, **said)

    return make


def looked(data: Images) -> int:
    """How many images a check says that it read."""
    line = data.model_copy().check()[-1]
    number = int(line.split()[0])
    assert line == f"{number} images were read, {COUNT - number} were known to be whole and did not change"
    return number


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_read_is_known(laid_out: Callable[[str], Images], layout: str) -> None:
    """In every layout, and by every process: it is a file that says so."""
    data = laid_out(layout)
    assert [looked(data) for _ in range(3)] == [COUNT, 0, 0]
    for path in cache.home(whole.FOLDER).iterdir():
        path.unlink()
    assert looked(data) == COUNT


def test_what_changed_is_read(laid_out: Callable[[str], Images]) -> None:
    """Another time is enough; a broken file is refused each time, and does not have the others read again."""
    data = laid_out("folders")
    looked(data)
    path = data.source / "train" / "owl" / "1.png"
    content, time = path.read_bytes(), path.stat().st_mtime_ns
    os.utime(path, ns=(time + 10**9, time + 10**9))
    assert looked(data) == 1
    path.write_bytes(content[:200] + bytes(len(content) - 200))
    for _ in range(2):
        with pytest.raises(UserError, match=r"1.png cannot be read"):
            looked(data)
    path.write_bytes(content)
    assert [looked(data), looked(data)] == [1, 0]


def test_a_tar_file_that_changed_is_read_again(laid_out: Callable[[str], Images]) -> None:
    """All of it, and no other."""
    data = laid_out("tar of each class")
    looked(data)
    os.utime(data.source / "train" / "owl.tar", ns=(1, 1))
    assert looked(data) == 4


def test_what_was_converted_is_said_each_time(laid_out: Callable[[str], Images]) -> None:
    """Though it is not read again."""
    data = laid_out("folders")
    path = data.source / "val" / "cat" / "0.png"
    read(path)[0].convert("RGBA").save(path)
    first, second = data.check(), data.check()
    assert first[:-1] == second[:-1]
    assert "validation: images that were converted: 1 with transparency, read without it" in second


@pytest.mark.parametrize(
    "spoil", [lambda content: content[:-9], lambda content: content.replace(b"a", b"b"), lambda _: b""]
)
def test_a_damaged_cache_is_made_anew(
    laid_out: Callable[[str], Images], spoil: Callable[[bytes], bytes], own_cache: Path
) -> None:
    """Without a word: nothing is lost but time."""
    data = laid_out("folders")
    looked(data)
    for path in (own_cache / whole.FOLDER).iterdir():
        path.write_bytes(spoil(path.read_bytes()))
    assert [looked(data), looked(data)] == [COUNT, 0]


def test_another_reader_reads_all(laid_out: Callable[[str], Images], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is whole to this code and this Pillow may not be to others."""
    data = laid_out("folders")
    looked(data)
    monkeypatch.setattr(whole, "_reader", lambda: "other")
    assert [looked(data), looked(data)] == [COUNT, 0]


def test_without_a_cache_all_is_read(
    laid_out: Callable[[str], Images],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Each time, with a warning."""
    data = laid_out("folders")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [looked(data), looked(data)] == [COUNT, COUNT]
    assert "cannot be written" in capfd.readouterr().err


def test_validate_reads_and_run_knows(tmp_path: Path, own_cache: Path) -> None:
    """From the command line; one sentence for both splits."""
    as_folders(tmp_path / "data")
    recipe = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 6}
    images = {"recipe": "images", "source": "data", "size": 16}
    write(tmp_path, data=images, base={"recipe": recipe}, finetune=recipe, methods=["none"], seeds=[0], speed=None)
    for command, read_now in ((("validate",), None), (("validate", "--read"), COUNT), (("run", "--in-process"), 0)):
        done = here(tmp_path, command[0], "trial.yaml", *command[1:])
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("images were read") == (read_now is not None)
        assert read_now is None or f"data: {read_now} images were read, {COUNT - read_now} were known" in done.stdout


def test_validate_names_what_cannot_be_read(tmp_path: Path, own_cache: Path) -> None:
    """Only where it is asked to read."""
    as_folders(tmp_path / "data")
    (tmp_path / "data/train/owl/0.png").write_bytes(b"")
    write(tmp_path, data={"recipe": "images", "source": "data", "size": 16})
    assert here(tmp_path, "validate", "trial.yaml").returncode == 0
    done = here(tmp_path, "validate", "trial.yaml", "--read")
    assert done.returncode == 2
    assert "0.png cannot be read, it is empty" in done.stderr


@pytest.mark.parametrize("suffix", [".images", ".npz"])
def test_unpacked_parquet_that_is_damaged_is_made_anew(
    laid_out: Callable[[str], Images], own_cache: Path, suffix: str
) -> None:
    """Whichever of its two files is cut off."""
    data = laid_out("parquet")
    wanted = [read(picture)[0].tobytes() for picture in data.labelled("train").pictures]
    for path in (own_cache / "parquet").glob(f"*{suffix}"):
        path.write_bytes(path.read_bytes()[:-50])
    found = parquet.in_parquet(sorted((data.source / "data").glob("train-*")))
    assert [read(picture)[0].tobytes() for picture in found.pictures] == wanted


def test_one_process_unpacks(
    laid_out: Callable[[str], Images], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others cannot have the lock meanwhile; what a killed one left is gone, and nothing half written stays."""
    data, locked, plain = laid_out("parquet"), list[bool](), parquet._bytes
    old = own_cache / "parquet" / f"{cache.WRITING}left"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))

    def watched(path: Path, content: Any) -> bytes:
        with (own_cache / "parquet" / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked.append(False)
            except BlockingIOError:
                locked.append(True)
        return plain(path, content)

    monkeypatch.setattr(parquet, "_bytes", watched)
    assert len(data.labelled("train")) == 12
    assert locked == [True] * 12
    assert {path.suffix for path in (own_cache / "parquet").iterdir()} == {".images", ".npz", ""}
    assert not list((own_cache / "parquet").glob(f"{cache.WRITING}*"))


def test_unpacking_shows_how_far_it_is(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, by the rows of the file."""
    as_parquet(tmp_path)
    bars, screen = list[ManualProgress](), io.StringIO()

    def bar(path: Path, rows: int) -> ManualProgress:
        bars.append(ManualProgress(Console(file=screen, force_terminal=True), rows, text=path.name))
        return bars[-1]

    monkeypatch.setattr(parquet, "_bar", bar)
    Images(recipe="images", source=tmp_path, size=16).labelled("train")
    assert [(one.progress.tasks[0].completed, one.progress.tasks[0].total) for one in bars] == [(12, 12)]
    assert "train-00000-of-00001.parquet" in screen.getvalue()
