"""The record of a study of costs, `figures.csv`: each published figure, and what the model computes that it is of."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from suite.errors import UserError
from suite.kinds.costs.figures import Cost, Figure, Line, choose
from suite.ledger.lines import read_rows
from suite.study.records import check_unedited

RECORD = "figures.csv"
COSTS = ("macs_full", "macs_linear", "norm_operations")
COLUMNS = (
    *Figure._fields,
    *("tolerance_percent", "computed_as", "convention", *COSTS, *(f"unpruned_{name}" for name in COSTS), "note"),
)


def write_record(folder: Path, lines: Sequence[Line]) -> None:
    """Write the record of these lines, in their order; costs are of one image, norms have no cost where excluded."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / RECORD).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for line in lines:
            costs = [*(line.cost or [""] * 3), *(line.unpruned or [""] * 3)]
            writer.writerow([*line.figure, line.tolerance, line.computed_as, line.convention, *costs, line.note])


def lines(folder: Path) -> list[Line]:
    """The lines of a results folder, each with the reading that was taken.

    Raises:
        UserError: if there is no record, or it is damaged or was edited.
    """
    path, again = folder / RECORD, f"make it with: suite run {folder.name}"
    if not path.is_file():
        raise UserError(f"{path} does not exist; {again}")
    check_unedited(path)
    found = [_line(dict(zip(COLUMNS, row, strict=True))) for _, row in read_rows(path, COLUMNS)]
    if not found:
        raise UserError(f"{path} has no figure; {again}")
    return choose(found)


def _line(row: dict[str, str]) -> Line:
    figure = Figure(*(row[name] for name in Figure._fields))
    return Line(
        figure,
        tolerance=float(row["tolerance_percent"]),
        note=row["note"],
        computed_as=row["computed_as"],
        convention=row["convention"],
        cost=_cost(row, ""),
        unpruned=_cost(row, "unpruned_"),
    )


def _cost(row: dict[str, str], prefix: str) -> Cost | None:
    counts = [row[f"{prefix}{name}"] for name in COSTS]
    return Cost(*map(int, counts)) if row["computed_as"] else None
