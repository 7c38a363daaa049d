"""Finished cells that travel: one file has them, the weights of their bases and the digest of each, for another clone.

It is a tar file, the same to the byte for the same cells. Nothing in it is trusted: only files with the names of cells
and weights are read, each must have its digest, and a cell's id must be that of its identity.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError

from suite.errors import UserError
from suite.strict import Strict, explain
from suite.study import entry as entries
from suite.study.load import words_of
from suite.study.records import beside, digest_of
from suite.study.store import FORMAT, Record

if TYPE_CHECKING:
    from suite.study.kind import Loaded

NAME = re.compile(r"(?:cells/([0-9a-f]{16})\.json|weights/([0-9a-f]{16})\.pt)")
DIGESTS = "digests.json"  # first in the file: its format, and the SHA-256 of every other file by name
FINISHED = ("done", "skipped")


class Digests(Strict):
    """What `digests.json` says."""

    format: str
    files: dict[str, str]


def pack_study(loaded: Loaded, path: Path) -> str:
    """Pack the finished cells of a study; returns what to say.

    Raises:
        UserError: if none is finished, or the study has no cells.
    """
    planned = [one for one in loaded.kind.plan(loaded) if "cell_id" in one]
    cells = [one["cell_id"] for one in planned if one["status"] in FINISHED]
    if not planned:
        raise UserError(f"{loaded.name} is a study of {loaded.kind.name} and has no cells to pack")
    if not cells:
        raise UserError(f"no cell of {loaded.name} is finished here; run it with: suite run {words_of(loaded)}")
    return f"{pack(cells, Record(), path)} of {len(planned)} cells"


def pack(cells: Iterable[str], record: Record, path: Path) -> int:
    """Put finished cells, given by their ids, and the weights that they have into a file; returns how many cells.

    Raises:
        UserError: if a cell's record is damaged.
        OSError: if the file cannot be written.
    """
    cells = sorted(set(cells))
    for cell_id in cells:
        record.read(record.cell_file(cell_id))
    files = {f"cells/{cell_id}.json": record.cell_file(cell_id) for cell_id in cells}
    files |= {f"weights/{cell_id}.pt": record.weights_file(cell_id) for cell_id in cells if record.has(cell_id)}
    digests = {name: digest_of(file) for name, file in files.items()}
    head = json.dumps({"format": FORMAT, "files": digests}, indent=1, sort_keys=True).encode()
    with beside(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(_member(DIGESTS, len(head)), io.BytesIO(head))
        for name, file in files.items():
            with file.open("rb") as content:
                tar.addfile(_member(name, file.stat().st_size), content)
    return len(cells)


def unpack(path: Path, record: Record) -> tuple[int, int]:
    """Take all cells out of a file, after every one of them was checked; what is finished here already stays.

    Returns how many cells are new here, and how many were here.

    Raises:
        UserError: if something in the file is damaged or foreign, or a cell finished here with another result.
    """
    with record.locked():
        try:
            with tarfile.open(path, "r:") as tar:
                members = _checked(tar, path)
                entries = {name: _entry(tar, name, members, path) for name in members if name.startswith("cells/")}
                _check_weights(members, entries, path)
                new = {name for name, entry in entries.items() if _is_new(name, entry, record, path)}
                for name in sorted(members, reverse=True):  # weights before the cells that need them
                    _take(tar, name, name in new, record)
        except (tarfile.TarError, EOFError) as error:
            raise UserError(f"{path} is damaged, or no file of cells: {error}") from error
    return len(new), len(entries) - len(new)


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Without owner or time, so that the same cells give the same file."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _checked(tar: tarfile.TarFile, path: Path) -> dict[str, str]:
    """The digest of every file by its name, after all were compared with theirs."""
    members = tar.getmembers()
    if not members or members[0].name != DIGESTS or not members[0].isreg():
        _refuse(path, members[0].name if members else DIGESTS, f"where {DIGESTS} should be")
    digests = _digests(_read(tar, DIGESTS), path)
    for member in members[1:]:
        if not NAME.fullmatch(member.name) or member.type != tarfile.REGTYPE or member.name not in digests:
            _refuse(path, member.name, "which is foreign: neither a cell nor its weights, or without a digest")
    names = [member.name for member in members[1:]]
    for name, digest in digests.items():
        if names.count(name) != 1:
            _refuse(path, name, f"{names.count(name)} times instead of once")
        if hashlib.file_digest(tar.extractfile(name), "sha256").hexdigest() != digest:  # type: ignore[arg-type]  # a file
            _refuse(path, name, "which is damaged: its digest is another")
    return digests


def _digests(content: bytes, path: Path) -> dict[str, str]:
    try:
        said = Digests.model_validate_json(content)
    except ValidationError as error:
        raise UserError(f"{path} has {DIGESTS}, which is damaged ({explain(error)}); pack the cells again") from error
    if said.format != FORMAT:
        raise UserError(f"{path} has the format {said.format}, not {FORMAT}; run its cells with that version")
    return said.files


def _entry(tar: tarfile.TarFile, name: str, digests: Mapping[str, str], path: Path) -> dict[str, Any]:
    """A cell's entry, if it is that of a finished cell and its name the one that its identity has."""
    try:
        entry = entries.read(_read(tar, name), Path(name).stem)
    except ValueError as error:
        raise UserError(f"{path} has {name}, which is no record of a cell ({error})") from error
    if entry["status"] not in FINISHED:
        _refuse(path, name, "which is not the record of a finished cell")
    return {**entry}


def _check_weights(digests: Mapping[str, str], entries: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Weights belong to a base cell of the file that knows their digest, and to each such cell its weights."""
    known = {
        f"weights/{entry['cell_id']}.pt": entry["weights_digest"]
        for entry in entries.values()
        if "weights_digest" in entry
    }
    there = {name: digest for name, digest in digests.items() if name.startswith("weights/")}
    for name in sorted(known.keys() | there.keys()):
        if known.get(name) != there.get(name):
            _refuse(path, name, "which are not the weights that its cell had, or one of the two is missing")


def _is_new(name: str, entry: Mapping[str, Any], record: Record, path: Path) -> bool:
    """Whether the cell is not finished here; two results of one cell may differ in nothing but where it ran."""
    here = record.read(record.cell_file(entry["cell_id"]))
    if here is None:
        return True
    if _result(here) != _result(entry):
        _refuse(path, name, f"another result than here; to take it, delete {record.cell_file(entry['cell_id'])} first")
    return False


def _result(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in ("provenance", "seconds")}


def _take(tar: tarfile.TarFile, name: str, new: bool, record: Record) -> None:
    found = NAME.fullmatch(name)
    assert found
    cell, base = found.groups()
    if base:
        record.write(record.weights_file(base), _read(tar, name))
    elif new:
        record.write(record.cell_file(cell), _read(tar, name))
        record.failed_file(cell).unlink(missing_ok=True)


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    content = tar.extractfile(name)
    return content.read() if content else b""


def _refuse(path: Path, name: str, what: str) -> NoReturn:
    raise UserError(f"{path} has {name}, {what}; nothing was taken out of it")
