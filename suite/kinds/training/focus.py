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
        return Focus(tuple(known.get("rows", ())), known.get("commit", ""), known.get("post_hoc", False))
    loaded = find(folder.name)
    return Focus(tuple(loaded.study.focus)) if loaded else Focus()


def declare(folder: Path, rows: tuple[str, ...]) -> None:
    """State a study's focus in its results folder before it runs; one that is stated already stays as it was declared.

    It is post hoc if there is a record, and without a commit if something of the code or a study is not committed.
    """
    if stated(folder, "focus") is None or focus_of(folder).rows != rows:
        commit = "" if provenance()["uncommitted_changes"] else provenance()["commit"]
        state(folder, {"focus": asdict(Focus(rows, commit, (folder / "cells.csv").is_file()))})
