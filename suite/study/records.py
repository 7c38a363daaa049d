"""The records of `results/NAME/`, and `provenance.json` beside them: which runs made them, and the digest of each.

A record is a CSV (or JSON) file that tables and figures are made from. A digest tells that one was edited by mistake.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

PROVENANCE, DIGESTS = "provenance.json", "records_sha256"  # digests by file name
MADE_FROM_RECORDS = ("table.csv", PROVENANCE)
COMMAND = "suite run {}"  # makes a record again; {} is the name of its folder

Run = dict[str, Any]  # of provenance.json: what `provenance` says of a process, and what that process made


def read(path: Path, columns: Sequence[str], command: str = COMMAND) -> pd.DataFrame:
    """A record with these columns, all of them text.

    Raises:
        UserError: if it is missing, has other columns or a line with fewer or more fields, or was edited.
    """
    import pandas as pd

    return pd.DataFrame(_fields(path, columns, command), columns=list(columns), dtype=str)


def lines(path: Path, columns: Sequence[str], command: str = COMMAND) -> list[dict[str, str]]:
    """As `read`, each line as a dictionary."""
    return [dict(zip(columns, fields, strict=True)) for fields in _fields(path, columns, command)]


def write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a record, whole or not at all; `write_provenance` comes after all records of a folder."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace(path, text.getvalue())


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Where to write a file that shall appear whole or not at all: it is renamed in the end, or gone after a failure.

    Its folder is made. What is no file, such as /dev/stdout, is written as it is.

    Raises:
        OSError: with the name of the file, which the system does not give for a disk that is full.
    """
    path = path.resolve() if path.is_symlink() else path
    temporary = path if path.exists() and not path.is_file() else path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary != path:
            temporary.replace(path)
    except OSError as error:
        named = path if error.filename in (None, str(temporary)) else error.filename
        raise OSError(error.errno, error.strerror or str(error), str(named)) from error
    finally:
        with suppress(OSError):
            if temporary != path:
                temporary.unlink(missing_ok=True)


def replace(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all."""
    with beside(path) as temporary, temporary.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        if temporary.is_file():
            os.fsync(file.fileno())


def parsed(said: Path | str | bytes) -> Any:
    """What JSON says, or a file of it.

    Raises:
        ValueError: if it is none, or nested too deeply.
    """
    try:
        return json.loads(said.read_text(encoding="utf-8") if isinstance(said, Path) else said)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_digest(path: Path) -> str:
    """The same for a file that is asked for again and again: read only when it has changed; empty if it is missing."""
    if not path.is_file():
        return ""
    facts = path.stat()
    return _read_digest(path.resolve(), facts.st_size, facts.st_mtime_ns, facts.st_ino)


@functools.lru_cache
def _read_digest(path: Path, *_facts: int) -> str:
    return digest_of(path)


def check_unedited(path: Path, command: str = COMMAND) -> None:
    """Refuse a record that is not the one its `provenance.json` was written with.

    Raises:
        UserError: saying what to restore, or what else helps.
    """
    _require(path, command)
    beside, cure = (
        path.with_name(PROVENANCE),
        f"delete both and make them again with: {command.format(path.parent.name)}",
    )
    try:
        expected = parsed(beside)[DIGESTS][path.name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{beside} does not say the digest of {path.name} ({error}); {cure}") from error
    found = digest_of(path)
    if found != expected:
        raise UserError(
            f"{path} was changed after it was written: its SHA-256 is {found[:16]}…, {beside.name} says "
            f"{str(expected)[:16]}…; restore it, or {cure}"
        )


def runs(folder: Path, command: str = COMMAND) -> list[Run]:
    """The runs of `provenance.json`; none if there is no such file.

    Raises:
        UserError: if it is damaged.
    """
    path = folder / PROVENANCE
    if not path.is_file():
        return []
    try:
        found = parsed(path)["runs"]
        return [dict(run) for run in found]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}); make it again with: {command.format(folder.name)}"
        ) from error


def merge(
    earlier: Iterable[Run],
    made: Mapping[Any, Mapping[str, Any]],
    kept: Collection[Any] | None = None,
    made_key: str = "cells",
) -> list[Run]:
    """Every distinct run with what it made, oldest first; what is made anew leaves the earlier run.

    Args:
        earlier: runs that are there.
        made: by what was made (such as the id of a cell), what `provenance` said of the process.
        kept: what else is still in the record; by default everything.
        made_key: what a run's list of what it made is called.
    """
    grouped: dict[str, Run] = {}
    for run in earlier:
        there = (tuple(one) if isinstance(one, list) else one for one in run[made_key])
        stays = [one for one in there if one not in made and (kept is None or one in kept)]
        grouped[json.dumps(run | {made_key: []}, sort_keys=True)] = run | {made_key: stays}
    for one, origin in made.items():
        run = {**origin, made_key: []}
        grouped.setdefault(json.dumps(run, sort_keys=True), run)[made_key].append(one)
    return sorted((run for run in grouped.values() if run[made_key]), key=lambda run: str(run["started"]))


def write_provenance(folder: Path, origins: Mapping[str, object]) -> None:
    """Write `provenance.json` whole: where records come from, and digests of every CSV, JSON and NPZ but tables."""
    files = [path for path in folder.rglob("*") if path.suffix in (".csv", ".json", ".npz")]
    names = sorted(str(path.relative_to(folder)) for path in files)
    digests = {name: digest_of(folder / name) for name in names if name not in MADE_FROM_RECORDS}
    replace(folder / PROVENANCE, json.dumps({**origins, DIGESTS: digests}, indent=1) + "\n")


def stated(folder: Path, key: str) -> object:
    """What `provenance.json` states under a key; None where there is none, or it cannot be read."""
    try:
        return parsed(folder / PROVENANCE).get(key)
    except (OSError, ValueError, AttributeError):
        return None


def state(folder: Path, said: Mapping[str, object]) -> None:
    """Add something to `provenance.json`, by keys."""
    path = folder / PROVENANCE
    try:
        content = {**(parsed(path) if path.is_file() else {"runs": [], DIGESTS: {}})}
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); restore it, or delete it and run the study again") from error
    replace(path, json.dumps(content | dict(said), indent=1) + "\n")


def _fields(path: Path, columns: Sequence[str], command: str) -> list[list[str]]:
    _require(path, command)
    again = f"make it again with: {command.format(path.parent.name)}"
    named, *found = (fields for _, fields in csv_lines(path, again))
    if tuple(named) != tuple(columns):
        raise UserError(f"{path} has the columns {', '.join(named)}; expected {', '.join(columns)}; {again}")
    check_unedited(path, command)
    return found


def csv_lines(path: Path, cure: str) -> list[tuple[int, list[str]]]:
    """Line numbers and fields, the head first and all as long as it; an empty file has a head without columns.

    Raises:
        UserError: if it is no such file, with what helps.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            found = [(reader.line_num, fields) for fields in reader] or [(1, [])]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no CSV: {error}; {cure}") from error
    width = len(found[0][1])
    for line, fields in found:
        if len(fields) != width:
            raise UserError(f"{path}:{line}: {len(fields)} fields, not {width}; {cure}")
    return found


def _require(path: Path, command: str) -> None:
    if not path.is_file():
        there = sorted(record.parent.name for record in path.parent.parent.glob(f"*/{path.name}"))
        hint = f"; records there are of {', '.join(there)}" if there else ""
        raise UserError(f"{path} does not exist; make it with: {command.format(path.parent.name)}{hint}")
