"""What is found behind a number, and how rows, columns and runs are looked up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from suite.errors import UserError, suggest
from suite.report.layout import Column

Found = TypeVar("Found")


class Used(NamedTuple):
    """A cell behind a number, with its values of the metric."""

    cell_id: str
    row: str
    seed: str
    status: str
    values: tuple[float, ...]
    unit: str


@dataclass(frozen=True)
class Trace:
    """What is behind a number.

    Attributes:
        shown: the number as the table shows it.
        facts: what it is and how it was made, by name.
        cells: the cells it was made from; none for a number that was computed or published.
        runs: the entries of provenance.json that made it, each with just these cells.
        unknown: ids of cells that provenance.json does not have.
    """

    shown: str
    facts: dict[str, str]
    cells: tuple[Used, ...] = ()
    runs: tuple[dict[str, Any], ...] = ()
    unknown: tuple[str, ...] = ()


def look_up(what: str, name: str, known: Mapping[str, Found], folder: Path) -> Found:
    """What is called `name`.

    Raises:
        UserError: if nothing is, with the nearest names.
    """
    if name not in known:
        raise UserError(f"the table {folder.name} has no {what} {name!r}; {suggest(name, known)}")
    return known[name]


def by_name(shown: Sequence[Column]) -> dict[str, Column]:
    """Columns by what a reader may call them: names in the CSV, keys, and first of all headings."""
    fields = {field: column for column in shown for field in column.fields}
    return fields | {column.key: column for column in shown} | {one.heading: one for one in shown if one.heading}


def runs_of(folder: Path, wanted: Callable[[dict[str, Any]], dict[str, Any] | None]) -> tuple[dict[str, Any], ...]:
    """The runs of `provenance.json` that are wanted, as `wanted` returns them.

    Raises:
        UserError: if the file is damaged.
    """
    path = folder / "provenance.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
        return tuple(kept for run in found if (kept := wanted(run)) is not None)
    except (json.JSONDecodeError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}); write it again with: suite run {folder.name}") from error


def with_runs(folder: Path, shown: str, facts: dict[str, str], cells: Sequence[Used]) -> Trace:
    """What was found, with the runs that made its cells."""
    ids = [cell.cell_id for cell in cells]

    def cut(run: dict[str, Any]) -> dict[str, Any] | None:
        own = [cell for cell in ids if cell in run["cells"]]
        return run | {"cells": own} if own else None

    runs = runs_of(folder, cut)
    known = {cell for run in runs for cell in run["cells"]}
    return Trace(shown, facts, tuple(cells), runs, tuple(cell for cell in ids if cell not in known))
