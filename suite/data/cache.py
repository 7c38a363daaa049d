"""The cache of the user: what is made anew from data when it is gone, and may be deleted at any time."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from suite.terminal import warn

DAY = 86_400  # seconds
WRITING = "writing-"  # what names of folders begin with whose files are not whole yet


def home(what: str) -> Path:
    """The folder of the cache for files of one sort; it may not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cropr-suite" / what


@contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """A new folder in one of the cache, for files that are renamed once they are whole; no two processes share it.

    Raises:
        OSError: if it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=WRITING) as place:
        yield Path(place)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process works in a folder of the cache; what a killed one left is deleted after a day.

    Where a shared disk has no locks, nobody waits: two processes may do the same work, in files of their own.

    Raises:
        OSError: if the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            _lock(lock, folder)
        except OSError:
            yield
            return
        for left in folder.glob(f"{WRITING}*"):
            if time.time() - left.stat().st_mtime > DAY:  # not of another node, where locks hold on one only
                shutil.rmtree(left, ignore_errors=True)
        yield


def _lock(file: TextIO, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        warn(f"another process writes to {folder}; waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)
