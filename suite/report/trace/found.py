"""What is found behind a number, and how rows, columns and runs are looked up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from suite.errors import UserError, suggest
from suite.report.layout import BELOW, MISSING, Column

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
    """What is called `name`, with or without the mark that tables have at names of rows.

    Raises:
        UserError: if nothing is, with the nearest names.
    """
    bare = name if name in known else name.removesuffix(f" {BELOW}")
    if bare not in known:
        raise UserError(f"the table {folder.name} has no {what} {name!r}; {suggest(name, known)}")
    return known[bare]


class Named(NamedTuple):
    """What a reader may ask of a row: the text below a heading, or one of the fields of the CSV, which has more digits.

    `fields` are those that stand behind it: of a heading all of its column, and the one of the same name.
    """

    column: Column
    field: str  # empty for a heading
    fields: tuple[str, ...]

    def shown(self, text: str, values: Mapping[str, str]) -> str:
        """The text that the table shows, or the value of the field; `values` is the row of the CSV."""
        return (values[self.field] or MISSING) if self.field else text or MISSING

    def exact(self, values: Mapping[str, str]) -> dict[str, str]:
        """For a heading, the fact what the CSV says, if it does."""
        said = "" if self.field else ", ".join(f"{field} {values[field] or MISSING}" for field in self.fields)
        return {"in table.csv": said} if said else {}


def by_name(columns: Sequence[Column]) -> dict[str, Named]:
    """What a row can be asked for, by name: headings, then fields of the CSV that no heading is called like."""
    fields = {field: Named(column, field, (field,)) for column in columns for field in column.fields}
    headed = [column for column in columns if column.heading]
    same = {one.heading: (one.heading,) if one.heading in fields else () for one in headed}
    headings = {one.heading: tuple(dict.fromkeys((*one.fields, *same[one.heading]))) for one in headed}
    return fields | {one.heading: Named(one, "", headings[one.heading]) for one in headed}


def runs_of(
    folder: Path, wanted: Callable[[dict[str, Any]], dict[str, Any] | None], again: str = ""
) -> tuple[dict[str, Any], ...]:
    """The runs of `provenance.json` that are wanted, as `wanted` returns them; the command `again` writes the file.

    Raises:
        UserError: if the file is damaged.
    """
    path = folder / "provenance.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
        return tuple(kept for run in found if (kept := wanted(run)) is not None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{path} is damaged ({found}); write it again with: {again or f'suite run {folder.name}'}"
        ) from error


def with_runs(folder: Path, shown: str, facts: dict[str, str], cells: Sequence[Used]) -> Trace:
    """What was found, with the runs that made its cells."""
    ids = [cell.cell_id for cell in cells]

    def cut(run: dict[str, Any]) -> dict[str, Any] | None:
        own = [cell for cell in ids if cell in run["cells"]]
        return run | {"cells": own} if own else None

    runs = runs_of(folder, cut)
    known = {cell for run in runs for cell in run["cells"]}
    return Trace(shown, facts, tuple(cells), runs, tuple(cell for cell in ids if cell not in known))
