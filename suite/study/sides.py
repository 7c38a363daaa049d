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
from suite.study.load import RESULTS, title_of
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
    where, _, row = name.partition(":")
    study, _, commit = where.partition("@")
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


def _check_out(study: str, commit: str, place: Path) -> None:
    if commit.startswith("-"):
        raise UserError(f"{commit} is no commit; write STUDY@COMMIT")  # git would take it for an option
    asked = ["git", "archive", commit, str(RESULTS / title_of(study))]
    try:
        found = subprocess.run(asked, capture_output=True, check=False)  # noqa: S603
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
