"""The record of a study of costs, `figures.csv`: each published figure, and what the model computes that it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from suite.errors import UserError
from suite.kinds.costs.figures import FIELDS, Cost, Line, choose
from suite.study import records
from suite.study.published import Number

RECORD = "figures.csv"
COSTS = ("macs_full", "macs_linear", "norm_operations")
COLUMNS = (
    *FIELDS,
    *("tolerance_percent", "computed_as", "convention", *COSTS, *(f"unpruned_{name}" for name in COSTS), "note"),
)


def write_record(folder: Path, lines: Sequence[Line]) -> None:
    """Write the record of these lines, in their order; costs are of one image, norms have no cost where excluded."""
    records.write(folder / RECORD, COLUMNS, map(_fields, lines))


def lines(folder: Path) -> list[Line]:
    """The lines of a results folder, each with the reading that was taken.

    UserError if there is no record, or it is damaged or was edited.
    """
    found = [_line(row) for row in records.lines(folder / RECORD, COLUMNS)]
    if not found:
        raise UserError(f"{folder / RECORD} has no figure; make it with: suite run {folder.name}")
    return choose(found)


def _fields(line: Line) -> dict[str, object]:
    figure = [getattr(line.figure, name) for name in FIELDS]
    costs = [*(line.cost or [""] * 3), *(line.unpruned or [""] * 3)]
    values = [*figure, line.tolerance, line.computed_as, line.convention, *costs, line.note]
    return dict(zip(COLUMNS, values, strict=True))


def _line(row: Mapping[str, str]) -> Line:
    figure = Number.model_validate({name: row[name] for name in FIELDS})
    return Line(
        figure,
        tolerance=float(row["tolerance_percent"]),
        note=row["note"],
        computed_as=row["computed_as"],
        convention=row["convention"],
        cost=_cost(row, ""),
        unpruned=_cost(row, "unpruned_"),
    )


def _cost(row: Mapping[str, str], prefix: str) -> Cost | None:
    counts = [row[f"{prefix}{name}"] for name in COSTS]
    return Cost(*map(int, counts)) if row["computed_as"] else None
