"""Where a number of a table comes from: its runs, their values, and the code and machine that made them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from suite.errors import UserError, describe, suggest
from suite.report.layout import BELOW, MISSING, Column
from suite.report.page.origin import CLAIMS, made_by
from suite.study.kind import Kind, kind_of
from suite.study.provenance import UNKNOWN, code_of
from suite.study.records import PROVENANCE, runs, stated
from suite.study.sides import cut

Found = TypeVar("Found")


class Used(NamedTuple):
    """A cell behind a number, with its values of the metric; `cell_id` is what runs of `provenance.json` call it."""

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


def trace(address: str, results: Path = Path("results")) -> Trace:
    """What is behind the number at TABLE:ROW:COLUMN.

    A table is a folder in `results`; rows are called as the table calls them, followed by more in brackets where
    several are called so; columns by their heading or by a field of the CSV. Where both have a name it is the heading.

    Raises:
        UserError: for an address that does not exist, naming the nearest that do, or a record that cannot be read.
    """
    names = [file.parent.name for file in results.glob("*/table.csv")]
    table, rest = cut(address, ":", names.__contains__)
    row, colon, column = (part.strip() for part in rest.rpartition(":"))
    if not colon:
        raise UserError(f"{address!r} is no address; write TABLE:ROW:COLUMN, such as 'quickstart:cropr:seeds'")
    if not names:
        raise UserError(f"{results}/ has no tables here, in {Path.cwd()}; make one with: suite run STUDY")
    if table not in names:
        raise UserError(f"{results}/ has no table {table!r}; {suggest(table, names)}")
    return trace_in(results / table, kind_of(results / table), row, column)


def trace_in(folder: Path, kind: Kind, row: str, name: str) -> Trace:
    """What is behind a number of the table of a results folder; `name` is a heading or a field of the CSV."""
    lines = kind.lines(folder)
    drawn = kind.table(folder.name, lines)
    rows = dict(zip(map(kind.label, lines), zip(lines, drawn.rows(), strict=True), strict=True))
    label = _look_up("row", row, _by_short_names(rows), folder)
    column, field = _look_up("column", name, _by_name(drawn.columns), folder)
    line, found = rows[label]
    exact = {name: str(value) for one in drawn.columns for name, value in zip(one.fields, found.raw(one), strict=True)}
    cells = tuple(kind.cells(folder, lines, line, column.key, field))
    made = _runs_of(folder, {cell.cell_id for cell in cells})
    known = {cell for run in made for cell in run["cells"]}
    behind = () if field else dict.fromkeys((*column.fields, *([name] if name in exact else ())))
    facts = {
        "row": label,
        "column": name,
        "record": str(folder / kind.record),
        "made": column.parts[column.fields.index(field)] if field and column.parts else column.how,
        "in table.csv": ", ".join(f"{own} {exact[own] or MISSING}" for own in behind),
        "metric": column.metric,
        **found.details.get("", {}),
        **found.details.get(column.key, {}),
    }
    return Trace(
        shown=(exact[field] if field else found.text(column)) or MISSING,
        facts={name: fact for name, fact in facts.items() if fact},
        cells=cells,
        runs=made,
        unknown=tuple(cell.cell_id for cell in cells if cell.cell_id not in known),
    )


def made_unknown(folder: Path) -> str:
    """How many runs behind a results folder do not know the commit of their code, in words; empty if all do."""
    said = stated(folder, "runs")
    made = [run for run in (said if isinstance(said, list) else ()) if isinstance(run, dict)]
    every = [code_of(run).get("commit", UNKNOWN) for run in made]
    return (
        f"The commit of the code is unknown in {every.count(UNKNOWN)} of {len(every)} runs" if UNKNOWN in every else ""
    )


def _by_name(columns: Sequence[Column]) -> dict[str, tuple[Column, str]]:
    """What a row can be asked for: by headings, with no field, or by fields of the CSV, which have more digits."""
    fields = {field: (column, field) for column in columns for field in column.fields}
    return fields | {column.heading: (column, "") for column in columns if column.heading}


def _by_short_names(labels: Collection[str]) -> dict[str, str]:
    """Labels by every name that is of one alone: the label, or it with less in its brackets."""
    short = [(name, label) for label in labels for name in _short_names(label)]
    every = [name for name, _ in short]
    return {name: label for name, label in short if every.count(name) == 1} | {label: label for label in labels}


def _short_names(label: str) -> Iterator[str]:
    name, bracket, rest = label.partition(" [")
    parts = rest.removesuffix("]").split(", ") if bracket else []
    yield name
    yield from (f"{name} [{', '.join(parts[:count])}]" for count in range(1, len(parts)))


def _look_up(what: str, name: str, known: Mapping[str, Found], folder: Path) -> Found:
    """What is called `name`, with or without the mark that tables have at names of rows."""
    bare = name if name in known else name.removesuffix(f" {BELOW}")
    if bare not in known:
        raise UserError(f"the table {folder.name} has no {what} {name!r}; {suggest(name, known)}")
    return known[bare]


def _runs_of(folder: Path, cells: Collection[str]) -> tuple[dict[str, Any], ...]:
    """The runs of `provenance.json` that made any of these cells, each with just these."""
    found = []
    for run in runs(folder):
        try:
            claimed = made_by(run)
        except TypeError as error:
            cure = f"make it again with: suite run {folder.name}"
            raise UserError(f"{folder / PROVENANCE} is damaged ({describe(error)}); {cure}") from error
        made = [cell for cell in claimed or () if cell in cells]
        if made or claimed is None:
            said = {name: fact for name, fact in run.items() if name not in CLAIMS}
            found.append(said | code_of(run) | {"cells": made})
    return tuple(found)
