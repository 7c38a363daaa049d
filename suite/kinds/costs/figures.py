"""Published costs beside computed ones: which convention each was counted in, and how well it fits.

The record of a study, `figures.csv`, has each published figure, and what the model computes that it is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from suite.errors import UserError
from suite.kinds.costs.schema import CONVENTIONS
from suite.study import records
from suite.study.published import Number, half_a_unit, read_numbers

UNITS = ("G", "%")
FIELDS = (  # of a published figure, in records and tables
    *("id", "where", "method", "backbone", "pretraining", "resolution", "setting", "metric", "value", "unit"),
    *("source", "evidence"),
)
RECORD = "figures.csv"
COSTS = ("macs_full", "macs_linear", "norm_operations")
COLUMNS = (
    *FIELDS,
    *("tolerance_percent", "computed_as", "convention", *COSTS, *(f"unpruned_{name}" for name in COSTS), "note", "cut"),
)


class Cost(NamedTuple):
    """What a model computes for one image: multiply-accumulates in both conventions, and operations of norms."""

    full: int
    linear: int
    norms: int

    @property
    def conventions(self) -> tuple[int, ...]:
        """In the order of `CONVENTIONS`."""
        return self.full, self.linear, self.full + self.norms, self.linear + self.norms


@dataclass(frozen=True)
class Line:
    """A published figure and what was computed for it.

    Attributes:
        figure: as published.
        tolerance: percent of the figure within which a computed one is near.
        note: what is known about a miss, or why nothing is computed.
        computed_as: the model, as JSON; empty where the figure is excluded.
        convention: in which its source must have counted, or empty.
        cost, unpruned: of that model and of the unpruned one; None where the figure is excluded.
        read_as: the reading that was taken, a key of `readings`, see `choose`.
        cut: whether its source cuts digits instead of rounding.
    """

    figure: Number
    tolerance: float
    note: str = ""
    computed_as: str = ""
    convention: str = ""
    cost: Cost | None = None
    unpruned: Cost | None = None
    read_as: str = ""
    cut: bool = False

    def readings(self) -> dict[str, float]:
        """The cost in the figure's unit, in each way that the convention allows, the plainest first; none if excluded.

        Operations of norms are no halves of FLOPs: who counts them takes one operation for a multiply-accumulate.
        """
        if self.cost is None or self.unpruned is None:
            return {}
        found: dict[str, float] = {}
        for name, count, whole in zip(CONVENTIONS, self.cost.conventions, self.unpruned.conventions, strict=True):
            if self.convention in ("", name):
                counts = {f"{name}, GMACs": count / 1e9}
                counts |= {f"{name}, GFLOPs": 2 * count / 1e9} if name in Cost._fields else {}
                found |= {name: 100 * (count / whole - 1)} if self.figure.unit == "%" else counts
        return found

    def taken(self) -> float | None:
        """The computed cost in the reading that was taken."""
        return self.readings().get(self.read_as)

    def deviation(self, value: float) -> float:
        """Computed less published: in percent of the figure, or in percentage points where it is a change."""
        published = float(self.figure.value)
        return (value - published) * (1 if self.figure.unit == "%" else 100 / published)

    def fits(self, value: float) -> bool:
        """Whether a computed cost rounds, or is cut, to the printed figure."""
        half = half_a_unit(self.figure.value)
        return abs(value - float(self.figure.value) - half * self.cut) <= half

    @property
    def verdict(self) -> str:
        """`fits`, `near` (within the tolerance, but it rounds to another figure), `off` or `not computed`."""
        taken = self.taken()
        if taken is None:
            return "not computed"
        published = float(self.figure.value)
        near = abs(taken - published) <= self.tolerance / 100 * abs(published)
        return "fits" if self.fits(taken) else "near" if near else "off"


def choose(lines: Sequence[Line]) -> list[Line]:
    """Take a reading for each line: one for all figures of a source in the same unit, which counted in one way.

    It is the one in which most of them round to what is printed, and of several the plainest; if none does in any, it
    is the nearest without norms. A figure whose convention is stated is read for itself.
    """
    groups: dict[object, list[Line]] = {}
    for line in lines:
        figure = line.figure
        paper = figure.where.partition(",")[0]
        key = (figure.id,) if line.convention else (paper, figure.source, figure.unit)
        groups.setdefault(key, []).append(line)
    read_as = {line.figure.id: name for group in groups.values() for name in _reading_of(group) for line in group}
    return [replace(line, read_as=read_as.get(line.figure.id, "")) for line in lines]


def _reading_of(group: Sequence[Line]) -> list[str]:
    """The name of the reading of a source; none if nothing of it was computed."""
    computed = [(line, line.readings()) for line in group if line.cost is not None]
    if not computed:
        return []
    names = computed[0][1]
    fitting = {name: sum(line.fits(readings[name]) for line, readings in computed) for name in names}
    if any(fitting.values()):
        return [max(fitting, key=fitting.__getitem__)]
    plain = [name for name in names if "norms" not in name] or names
    away = {name: sum(abs(line.deviation(readings[name])) for line, readings in computed) for name in plain}
    return [min(away, key=away.__getitem__)]


def read_published(path: Path) -> list[Number]:
    """The published figures of a file, in G (1e9) or % of change against the unpruned model."""
    found: dict[str, Number] = {}
    for place, figure in read_numbers(path, ("id", "where", "method", "backbone", "metric")):
        if figure.unit not in UNITS or float(figure.value) == 0:
            raise UserError(f"{place}: expected a number other than 0 in G or %, found {figure.value} {figure.unit}")
        if found.setdefault(figure.id, figure) is not figure:
            raise UserError(f"{place}: duplicate id {figure.id!r}")
    return list(found.values())


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
    values = [*figure, line.tolerance, line.computed_as, line.convention, *costs, line.note, "cut" if line.cut else ""]
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
        cut=row["cut"] == "cut",
    )


def _cost(row: Mapping[str, str], prefix: str) -> Cost | None:
    counts = [row[f"{prefix}{name}"] for name in COSTS]
    return Cost(*map(int, counts)) if row["computed_as"] else None
