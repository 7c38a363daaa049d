"""The record of finished cells: one file each in `.suite/cells/`, which alone decides what is done.

A file appears whole or not at all. Failures are kept apart, in `.suite/failed/`, until the cell succeeds. A base cell's
weights lie beside its record. `results/<study>/` (`cells.csv`, `curves.csv`, `examples.json`) is exported from here and
never read back as done.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.study.cells import Cell
from suite.study.records import digest_of, replace, write, write_provenance

Entry = dict[str, Any]

COLUMNS = (
    "study",
    "cell_id",
    "kind",
    "status",
    "reason",
    "row",
    "method",
    "settings",
    "schedule",
    "fusion",
    "task",
    "data",
    "seed",
    "metric",
    "repetition",
    "value",
    "unit",
    "protocol",
)
CURVE_COLUMNS = ("cell_id", "kind", "row", "schedule", "seed", "epoch", "metric", "value")


class Record:
    """Finished and failed cells of a working folder."""

    def __init__(self, folder: Path = Path()) -> None:
        self.home = folder / ".suite"

    def finished(self, cell: Cell) -> Entry | None:
        """The record of a finished (or skipped) cell, None if it is not finished.

        A base cell whose weights are missing or were changed is not finished, nor is a cell that started from others.

        Raises:
            UserError: if the file is damaged.
        """
        entry = self._read(self.home / "cells" / f"{cell.cell_id}.json")
        if entry is None:
            return None
        for key, base in (("weights_digest", cell.cell_id), ("start_digest", cell.start)):
            if key in entry and base and self._digest(base) != entry[key]:
                return None
        return entry

    def failed(self, cell: Cell) -> Entry | None:
        """The record of the cell's last failure, None if there is none."""
        return self._read(self.home / "failed" / f"{cell.cell_id}.json")

    def has(self, cell_id: str) -> bool:
        """Whether the weights of a base cell are there."""
        return (self.home / "weights" / f"{cell_id}.pt").is_file()

    def weights(self, cell_id: str) -> bytes:
        """Weights of a finished base cell."""
        return (self.home / "weights" / f"{cell_id}.pt").read_bytes()

    def add(self, cell: Cell, entry: Entry, weights: bytes | None = None) -> Entry:
        """Record a cell as finished, or as failed if its status says so; returns what was written."""
        entry = {"cell_id": cell.cell_id, "identity": cell.identity} | entry
        if weights is not None:
            self._write(self.home / "weights" / f"{cell.cell_id}.pt", weights)
            entry["weights_digest"] = self._digest(cell.cell_id)
        if cell.start is not None:
            entry["start_digest"] = self._digest(cell.start)
        failure = self.home / "failed" / f"{cell.cell_id}.json"
        place = failure if entry["status"] == "failed" else self.home / "cells" / f"{cell.cell_id}.json"
        self._write(place, json.dumps(entry, indent=1).encode())
        if place != failure:
            failure.unlink(missing_ok=True)
        return entry

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out of this folder; the lock ends with the process, however it ends.

        Raises:
            UserError: if another run is at work here.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"another run is at work in {self.home.parent.resolve()}; wait for it, or end it"
                ) from error
            yield

    def _digest(self, cell_id: str) -> str:
        path = self.home / "weights" / f"{cell_id}.pt"
        if not path.is_file():
            return ""
        facts = path.stat()
        return _read_digest(path.resolve(), facts.st_size, facts.st_mtime_ns, facts.st_ino)

    def _read(self, path: Path) -> Entry | None:
        if not path.is_file():
            return None
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            known = isinstance(entry, dict) and entry["cell_id"] == path.stem
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError) as error:
            raise UserError(f"{path} is damaged ({error}); delete it to run that cell again") from error
        if not known:
            raise UserError(f"{path} is not the record of that cell; delete it to run the cell again")
        return dict(entry)

    def _write(self, path: Path, content: bytes) -> None:
        """Write a file whole: under a temporary name first, then renamed."""
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise UserError(
                f"cannot write {path}: {error.strerror}; finished cells are kept, run again after mending"
            ) from error


def tidy(study: str, cells: Iterable[Cell], record: Record) -> list[dict[str, object]]:
    """Rows of `cells.csv`, one per value, for every cell that finished or failed; sorted."""
    rows = []
    for cell in cells:
        entry = record.finished(cell) or record.failed(cell)
        if entry is not None:
            about = _about(study, cell, entry)
            rows += [about | values for values in _values(entry)]
    return sorted(rows, key=lambda row: (row["cell_id"], row["row"], row["metric"], row["repetition"]))


def curves(cells: Iterable[Cell], record: Record) -> list[dict[str, object]]:
    """Rows of `curves.csv`, one per value of an epoch, counted from 1, for every finished cell; sorted."""
    rows = []
    for cell in cells:
        entry = record.finished(cell) or {}
        about = _known_as(cell) | {"kind": cell.kind}
        for metric, values in entry.get("curves", {}).items():
            rows += [
                about | {"epoch": epoch, "metric": metric, "value": repr(value)}
                for epoch, value in enumerate(values, 1)
            ]
    return sorted(rows, key=lambda row: (row["cell_id"], row["row"], row["metric"], row["epoch"]))


def examples(cells: Iterable[Cell], record: Record) -> list[dict[str, Any]]:
    """What `measure.examples.example` found for every finished cell that has it, with the cell's labels; sorted."""
    found = []
    for cell in cells:
        example = (record.finished(cell) or {}).get("details", {}).get("example")
        if example is not None:
            found.append(_known_as(cell) | {"method": cell.identity.get("method", "none")} | example)
    return sorted(found, key=lambda one: (one["cell_id"], one["row"]))


def write_csv(path: Path, rows: Iterable[dict[str, object]], origins: dict[str, object] | None = None) -> None:
    """Write tidy rows, and then beside them `provenance.json`: where they and the other records come from."""
    write(path, COLUMNS, rows)
    write_provenance(path.parent, origins or {})


@functools.lru_cache
def _read_digest(path: Path, *_facts: int) -> str:
    """Of a file that is asked for once for every cell; read again only when it has changed."""
    return digest_of(path)


def write_curves(path: Path, rows: Iterable[dict[str, object]]) -> None:
    """Write what `curves` made."""
    write(path, CURVE_COLUMNS, rows)


def write_examples(path: Path, found: Iterable[dict[str, Any]]) -> None:
    """Write examples as JSON, a line for each cell."""
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in found)
    replace(path, f"[\n{lines}\n]\n" if lines else "[]\n")


def _known_as(cell: Cell) -> dict[str, Any]:
    seed = cell.identity.get("seed", "")
    return {"cell_id": cell.cell_id, "row": cell.row, "schedule": cell.schedule, "seed": seed}


def _about(study: str, cell: Cell, entry: Entry) -> dict[str, object]:
    identity = cell.identity
    reason = str(entry.get("reason", "")).strip()
    return {
        "study": study,
        "cell_id": cell.cell_id,
        "kind": cell.kind,
        "status": entry["status"],
        "reason": reason.splitlines()[-1] if reason else "",
        "row": cell.row,
        "method": identity.get("method", "none"),
        "settings": json.dumps(identity.get("settings", {}), sort_keys=True),
        "schedule": cell.schedule,
        "fusion": identity.get("fusion", "none"),
        "task": identity["task"],
        "data": identity["data"]["digest"] if "data" in identity else "",
        "seed": identity.get("seed", ""),
        "protocol": identity["protocol"],
    }


def _values(entry: Entry) -> Iterator[dict[str, object]]:
    """One row per metric and per repetition; a cell without metrics has one row with metric and value empty."""
    units = entry.get("units", {})
    asked = entry["identity"].get("speed", {}).get("batch_size")
    found = asked is not None  # a speed cell's batch size is known even if it failed
    if found:
        yield {"metric": "batch_size", "repetition": "", "value": repr(asked), "unit": "images"}
    for metric, value in entry.get("metrics", {}).items():
        found = True
        yield {"metric": metric, "repetition": "", "value": repr(value), "unit": units[metric]}
    for metric, values in entry.get("repetitions", {}).items():
        for repetition, value in enumerate(values):
            found = True
            yield {"metric": metric, "repetition": f"{repetition:04}", "value": repr(value), "unit": units[metric]}
    if not found:
        yield {"metric": "", "repetition": "", "value": "", "unit": ""}
