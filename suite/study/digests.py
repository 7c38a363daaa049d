"""`provenance.json` knows the records beside it by their digests, so that one that was edited is noticed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from suite.errors import UserError

RECORDS = ("cells.csv", "curves.csv", "examples.json", "rounds.csv", "operators.csv", "findings.csv")
DIGESTS = "records_sha256"  # in provenance.json: by name, of the bytes of the records beside it


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_provenance(folder: Path, origins: Mapping[str, object], records: Sequence[str] = RECORDS) -> None:
    """Write `provenance.json` of a results folder, whole: where its records come from, and their digests."""
    digests = {name: digest_of(folder / name) for name in records if (folder / name).is_file()}
    path = folder / "provenance.json"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps({**origins, DIGESTS: digests}, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def check_unedited(path: Path, again: str = "write both again with: suite run {}") -> None:
    """Refuse a record that is not the one its `provenance.json` was written with: changed by mistake, not in malice.

    `again` says what helps if nothing can be restored; {} is the study's name.

    Raises:
        UserError: saying what to restore, or what else helps.
    """
    beside, again = path.with_name("provenance.json"), again.format(path.parent.name)
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))[DIGESTS][path.name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{beside} does not say the digest of {path.name} ({error}); {again}") from error
    found = digest_of(path)
    if found != said:
        raise UserError(
            f"{path} was changed after it was written: its SHA-256 is {found[:16]}…, {beside.name} says "
            f"{str(said)[:16]}…; restore it, or {again}"
        )
