"""The record of finished cells: one file each in `.suite/cells/`, which alone decides what is done.

A file appears whole or not at all. Failures are kept apart, in `.suite/failed/`, until the cell succeeds. A base cell's
weights lie beside its record, and `.suite/format` says in which form all of it is. `results/<study>/` (`cells.csv`,
`curves.csv`, `examples.json`) is exported from here and never read back as done.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from suite.errors import UserError
from suite.study import entry as entries
from suite.study.cells import Cell
from suite.study.entry import Entry
from suite.study.records import known_digest, replace
from suite.terminal import warn

FORMAT = "2"  # of `.suite/`; raise it when the ids of cells or their records change their form


def kept_file(home: Path, cell_id: str) -> Path:
    """Where the weights of a row's cell are in such a folder."""
    return home / "kept" / f"{cell_id}.safetensors"


def unfinished(home: Path, cell_id: str = "") -> Path:
    """Where a training writes down where it stands, in such a folder; without an id where all of them do."""
    return home / "unfinished" / cell_id


class Record:
    """Finished and failed cells of a working folder."""

    def __init__(self, folder: Path = Path()) -> None:
        self.home = folder / ".suite"
        self._checked = False

    def cell_file(self, cell_id: str) -> Path:
        """Where a finished cell's entry is."""
        return self.home / "cells" / f"{cell_id}.json"

    def failed_file(self, cell_id: str) -> Path:
        """Where the entry of a cell's last failure is."""
        return self.home / "failed" / f"{cell_id}.json"

    def weights_file(self, cell_id: str) -> Path:
        """Where a base cell's weights are."""
        return self.home / "weights" / f"{cell_id}.pt"

    def kept_file(self, cell_id: str) -> Path:
        """Where the weights of a row's cell are, if its study keeps them."""
        return kept_file(self.home, cell_id)

    def finished(self, cell: Cell) -> Entry | None:
        """The record of a finished (or skipped) cell, None if it is not finished.

        A base cell whose weights are missing or were changed is not finished, nor is a cell that started from others.

        Raises:
            UserError: if the file is damaged, or the record is of another format.
        """
        entry = self.read(self.cell_file(cell.cell_id))
        if entry is None or entry["status"] == "failed":
            return None
        known = {"weights_digest": cell.cell_id, "start_digest": cell.start}
        stands = all(self._digest(base) == entry[name] for name, base in known.items() if base and name in entry)  # type: ignore[literal-required]
        return entry if stands else None

    def failed(self, cell: Cell) -> Entry | None:
        """The record of the cell's last failure, None if there is none."""
        return self.read(self.failed_file(cell.cell_id))

    def has(self, cell_id: str) -> bool:
        """Whether the weights of a base cell are there."""
        return self.weights_file(cell_id).is_file()

    def weights(self, cell_id: str) -> bytes:
        """Weights of a finished base cell."""
        return self.weights_file(cell_id).read_bytes()

    def add(self, cell: Cell, result: Mapping[str, Any], weights: bytes | None = None) -> Entry:
        """Record a cell as finished, or as failed if its status says so; returns what was written."""
        entry = {"cell_id": cell.cell_id, "identity": cell.identity, **result}
        if weights is not None:
            self.write(self.weights_file(cell.cell_id), weights)
            entry["weights_digest"] = self._digest(cell.cell_id)
        if cell.start is not None:
            entry["start_digest"] = self._digest(cell.start)
        failed, finished = self.failed_file(cell.cell_id), self.cell_file(cell.cell_id)
        self.write(failed if entry["status"] == "failed" else finished, entries.written(entry).encode())
        if entry["status"] != "failed":
            failed.unlink(missing_ok=True)
            shutil.rmtree(unfinished(self.home, cell.cell_id), ignore_errors=True)
        return cast(Entry, entry)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out of this folder; the lock ends with the process, however it ends.

        Raises:
            UserError: if another run is at work here.
        """
        self._check_format()
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"another run is at work in {self.home.parent.resolve()}; wait for it, or end it"
                ) from error
            except OSError as error:  # of a shared disk, mostly
                warn(
                    f"{lock.name} cannot be locked on this disk ({error.strerror}), so that nothing keeps another run "
                    "out; start no second run in this folder"
                )
            yield

    def read(self, path: Path) -> Entry | None:
        """What a file of this record says; None if it is not there.

        Raises:
            UserError: if it is damaged, or the record is of another format.
        """
        self._check_format()
        if not path.is_file():
            return None
        try:
            return entries.read(path.read_bytes(), path.stem)
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}); delete it to run that cell again") from error

    def write(self, path: Path, content: bytes) -> None:
        """Write a file of this record whole: under a temporary name first, then renamed.

        Raises:
            UserError: if it cannot be written, or the record is of another format.
        """
        self._check_format()
        if not self._checked:
            _write(self.home / "format", f"{FORMAT}\n".encode())
            self._checked = True
        _write(path, content)

    def _check_format(self) -> None:
        marker = self.home / "format"
        fresh = not marker.is_file() and not any((self.home / name).exists() for name in ("cells", "failed"))
        if self._checked or fresh:
            return
        found = marker.read_text(encoding="utf-8").strip() if marker.is_file() else "1"
        self._checked = found == FORMAT
        if found != FORMAT:
            raise UserError(
                f"{self.home} has the format {found}, this version reads {FORMAT}, and its cells have other ids: move "
                f"it away (mv {self.home} {self.home}-{found}) and run again; results/ stays as it is"
            )

    def _digest(self, cell_id: str) -> str:
        return known_digest(self.weights_file(cell_id))


def _write(path: Path, content: bytes) -> None:
    try:
        replace(path, content)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; finished cells are kept, run again after mending"
        ) from error
