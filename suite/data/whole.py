"""Which pictures were read before and found whole, so that only those that changed since are read again.

The cache of the user has a file for each folder, and for each tar or parquet file: a hash of the name, size and times
of every picture, by what `pictures.read` notes of it. One that is damaged, or of another reader of pictures, counts as
empty.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.data import cache, pictures
from suite.data.pictures import Member
from suite.reduction.registry import code_digest
from suite.terminal import warn

FOLDER = "whole"  # of the cache


class Whole:
    """What is known of pictures.

    Attributes:
        notes: of each by its index, what `pictures.read` noted of it; None where it is to be read.
    """

    def __init__(self, where: Path, found: Sequence[Any]) -> None:
        """`where`: the folder that files lie in; pictures in memory are never known."""
        stat = functools.lru_cache(maxsize=1)(Path.stat)  # of a tar file, for its images
        self.places = [one.archive if isinstance(one, Member) else where for one in found]
        self.prints = [_fingerprint(one, where, stat) for one in found]
        known = {place: _read(_file(place)) for place in set(self.places)}
        pairs = zip(self.places, self.prints, strict=True)
        self.notes: list[str | None] = [known[place].get(mark) for place, mark in pairs]
        self.before = [note is not None for note in self.notes]

    def save(self) -> None:
        """Keep what is known by now. Where nothing can be written, a warning says so."""
        if self.before == [note is not None for note in self.notes]:
            return
        kept: dict[Path, dict[str, str]] = defaultdict(dict)
        for place, mark, note in zip(self.places, self.prints, self.notes, strict=True):
            if mark and note is not None:
                kept[place][mark] = note
        try:
            for place, notes in kept.items():
                _write(_file(place), notes)
        except OSError as error:
            warn(f"{cache.home(FOLDER)} cannot be written ({error.strerror}); all images will be read again")


def _fingerprint(picture: Any, where: Path, stat: Any) -> str:
    """Hash of name, size and times; empty for what is no file, or is gone."""
    name: Any
    if isinstance(picture, Member):
        file, name = picture.archive, [picture.name, picture.offset, picture.size]
    elif isinstance(picture, Path):
        file, name = picture, os.path.relpath(str(picture), str(where))
    else:
        return ""
    try:
        facts = stat(file)
    except OSError:
        return ""
    content = json.dumps([name, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns])
    return hashlib.sha256(content.encode()).hexdigest()[:20]


def _file(place: Path) -> Path:
    key = hashlib.sha256(os.fsencode(place.resolve())).hexdigest()[:16]
    return cache.home(FOLDER) / f"{key}.json"


@functools.cache
def _reader() -> str:
    """What decides which pictures are whole, and what is noted of them."""
    from PIL import __version__

    return f"{code_digest(Path(pictures.__file__))} {__version__}"


def _read(path: Path) -> dict[str, str]:
    """Notes by fingerprint."""
    try:
        digest, content = path.read_bytes().split(b"\n", 1)
        if hashlib.sha256(content).hexdigest().encode() != digest:
            return {}
    except (OSError, ValueError):
        return {}
    said = json.loads(content)
    return {mark: note for note, marks in said["whole"].items() for mark in marks} if said["by"] == _reader() else {}


def _write(path: Path, notes: Mapping[str, str]) -> None:
    by_note: dict[str, list[str]] = defaultdict(list)
    for mark, note in notes.items():
        by_note[note].append(mark)
    content = json.dumps({"by": _reader(), "whole": by_note}).encode()
    with cache.beside(path.parent) as folder:
        (folder / path.name).write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        (folder / path.name).replace(path)
