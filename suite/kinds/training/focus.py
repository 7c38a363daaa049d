"""The rows that a study is about, declared before its first cell or not: the family that p and intervals hold for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from suite.study.load import find
from suite.study.provenance import provenance
from suite.study.records import state, stated


@dataclass(frozen=True)
class Focus:
    """Rows in focus; none for all that are compared.

    Attributes:
        rows: their names.
        commit: the commit of the code and of the study's file when they were declared; empty if not known.
        post_hoc: whether they were declared after a cell had ended.
    """

    rows: tuple[str, ...] = ()
    commit: str = ""
    post_hoc: bool = False


def focus_of(folder: Path) -> Focus:
    """The focus that the record of a results folder states; of one that does not, that of its study's file."""
    known = stated(folder, "focus")
    if isinstance(known, dict):
        return Focus(tuple(known["rows"]), known["commit"], known["post_hoc"])
    loaded = find(folder.name)
    return Focus(tuple(loaded.study.focus)) if loaded else Focus()


def declare(folder: Path, rows: tuple[str, ...], *, begun: bool) -> None:
    """State a study's focus in its results folder before it runs; one that is stated already stays as it was declared.

    `begun`: whether a cell has ended.
    """
    if stated(folder, "focus") is None or focus_of(folder).rows != rows:
        state(folder, {"focus": asdict(Focus(rows, provenance()["commit"], begun))})
