"""Records that are compared with each other: how they are named, and in what their provenance differs."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import UserError
from suite.study.kind import Kind, has_record, kind_of
from suite.study.load import RESULTS, SUFFIXES, title_of
from suite.study.provenance import git_environment
from suite.study.records import runs

if TYPE_CHECKING:
    from suite.report.layout import Table


@dataclass(frozen=True)
class Side:
    """A record: its results folder, and a row of it if rows are compared; `name` is as it was asked for."""

    name: str
    folder: Path
    row: str = ""


@dataclass(frozen=True)
class Comparison:
    """What a kind of study finds of two records or more.

    Attributes:
        table: of it.
        differs: whether any two of them differ.
        draw: makes a figure of it, the file given; raises UserError with the reason where there is none.
    """

    table: Table
    differs: bool
    draw: Callable[[Path], None]


@contextlib.contextmanager
def side(name: str) -> Iterator[Side]:
    """What NAME, NAME@COMMIT or a folder means, each with :ROW behind it or not; a commit's record is there meanwhile.

    Raises:
        UserError: if there is no such record or commit.
    """
    where, row = cut(name, ":", _is_named)
    study, commit = cut(where, "@", _is_record)
    if commit:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / RESULTS / title_of(study)
            _check_out(study, commit, Path(place))
            try:
                yield Side(name, folder, row)
            except UserError as error:
                if place not in str(error):
                    raise
                why = str(error).partition("; ")[0].replace(str(folder), f"{study}@{commit}")
                raise UserError(f"{why}; as it was at that commit this version cannot compare it") from error
        return
    yield Side(name, Path(where) if has_record(Path(where)) else RESULTS / title_of(where), row)


def cut(text: str, mark: str, known: Callable[[str], bool]) -> tuple[str, str]:
    """What comes before and after a mark: the longest beginning that is known, which may have such marks in it."""
    places = [place for place, letter in enumerate(text) if letter == mark] + [len(text)]
    place = next((place for place in reversed(places) if known(text[:place])), places[0])
    return text[:place], text[place + 1 :]


def _is_named(where: str) -> bool:
    """Whether this is a record, or one of a commit, whose names have no colons."""
    study, commit = cut(where, "@", _is_record)
    return _is_record(study) and ":" not in commit


def _is_record(name: str) -> bool:
    title = Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name
    return has_record(Path(name)) or has_record(RESULTS / title)


def _check_out(study: str, commit: str, place: Path) -> None:
    if commit.startswith("-"):
        raise UserError(f"{commit} is no commit; write STUDY@COMMIT")  # git would take it for an option
    asked = ["git", "archive", commit, str(RESULTS / title_of(study))]
    try:
        found = subprocess.run(asked, capture_output=True, check=False, env=git_environment())  # noqa: S603
    except OSError as error:
        raise UserError(f"git cannot be run ({error.strerror}); name a results folder instead of {commit}") from error
    if found.returncode:
        raise UserError(f"git has no {RESULTS / title_of(study)} in {commit}: {found.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(place, filter="data")


def kind_of_all(sides: Sequence[Side]) -> Kind:
    """The kind that all records are of.

    Raises:
        UserError: if there is no record, or they are of several kinds.
    """
    found = {one.name: kind_of(one.folder) for one in sides}
    if len({kind.name for kind in found.values()}) > 1:
        said = ", ".join(f"{name} is of kind {kind.name}" for name, kind in found.items())
        raise UserError(f"{said}; only records of one kind can be compared")
    return next(iter(found.values()))


def environment(one: Side, other: Side) -> dict[str, tuple[str, str]]:
    """What the provenance of two records says differently, by its name."""
    first, second = (_facts(found.folder) for found in (one, other))
    return {
        name: (first.get(name, ""), second.get(name, ""))
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    }


def _facts(folder: Path) -> dict[str, str]:
    """Facts of all runs of a record, joined where there are several."""
    values: dict[str, set[str]] = {}
    for run in runs(folder):
        for name in ("commit", "system", "processor", "cores", "python", "versions", "numerics"):
            content = run.get(name, "")
            for key, value in content.items() if isinstance(content, dict) else [("", content)]:
                values.setdefault(f"{name} {key}".strip(), set()).add(str(value))
    return {name: ", ".join(sorted(found)) for name, found in values.items()}
