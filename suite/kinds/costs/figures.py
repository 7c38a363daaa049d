"""Published costs beside computed ones: which convention each was counted in, and how well it fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from suite.errors import UserError, suggest
from suite.measure.crosscheck import compare, disagreements
from suite.measure.macs import Macs
from suite.measure.norms import Counts, counts
from suite.reduction.blocks import TimmModule
from suite.study.configuration import CONVENTIONS, CostRow, CostStudy, LeftOut, build, build_backbone
from suite.study.published import Number, half_a_unit, read_numbers

Row = CostRow | LeftOut
Progress = Callable[[int, int], None]
UNITS = ("G", "%")
FIELDS = (  # of a published figure, that tables have
    *("id", "where", "method", "backbone", "pretraining", "resolution", "setting", "metric", "value", "unit"),
    *("source", "evidence"),
)


class Reading(NamedTuple):
    """What a computed cost is in a figure's unit, if it is read like this: a convention, and MACs or FLOPs of them."""

    convention: str
    name: str
    value: float


@dataclass(frozen=True)
class Line:
    """A published figure, the row that computes it, and the counts of that model and of the unpruned one.

    Both are None where the figure is left out; else `read_as` names the reading that was taken, see `choose`.
    """

    figure: Number
    row: Row
    tolerance: float
    counts: Counts | None = None
    unpruned: Counts | None = None
    read_as: str = ""

    def readings(self) -> list[Reading]:
        """Readings that the row's convention allows, the plainest first; none where nothing was computed.

        Operations of norms are no halves of FLOPs: who counts them takes one operation for a multiply-accumulate.
        """
        if self.counts is None or self.unpruned is None:
            return []
        wanted = self.row.convention if isinstance(self.row, CostRow) else None
        found = []
        for name, count, whole in zip(CONVENTIONS, self.counts, self.unpruned, strict=True):
            if wanted not in (None, name):
                continue
            if self.figure.unit == "%":
                found.append(Reading(name, name, 100 * (count / whole - 1)))
                continue
            found.append(Reading(name, f"{name}, GMACs", count / 1e9))
            if name in Macs._fields:
                found.append(Reading(name, f"{name}, GFLOPs", 2 * count / 1e9))
        return found

    def taken(self) -> Reading | None:
        """The reading that was taken."""
        return next((reading for reading in self.readings() if reading.name == self.read_as), None)

    def deviation(self, reading: Reading) -> float:
        """Reading less published figure: in percent of the figure, or in percentage points where it is a change."""
        published = float(self.figure.value)
        return (reading.value - published) * (1 if self.figure.unit == "%" else 100 / published)

    def fits(self, reading: Reading) -> bool:
        """Whether a reading rounds to the printed figure."""
        return abs(reading.value - float(self.figure.value)) <= half_a_unit(self.figure.value)

    @property
    def verdict(self) -> str:
        """`fits`, `near` (within the tolerance, but it rounds to another figure), `off` or `not computed`."""
        taken = self.taken()
        if taken is None:
            return "not computed"
        published = float(self.figure.value)
        near = abs(taken.value - published) <= self.tolerance / 100 * abs(published)
        return "fits" if self.fits(taken) else "near" if near else "off"


def choose(lines: Sequence[Line]) -> list[Line]:
    """Take a reading for each line: one for all figures of a source in the same unit, which counted in one way.

    It is the one in which most of them round to what is printed, and of several the plainest; if none does in any, it
    is the nearest without norms. A figure whose row states the convention is read for itself.
    """
    groups: dict[object, list[Line]] = {}
    for line in lines:
        figure, stated = line.figure, isinstance(line.row, CostRow) and line.row.convention
        paper = figure.where.partition(",")[0]
        key = (figure.id,) if stated else (paper, figure.source, figure.unit)
        groups.setdefault(key, []).append(line)
    read_as = {line.figure.id: name for group in groups.values() for name in _reading_of(group) for line in group}
    return [replace(line, read_as=read_as.get(line.figure.id, "")) for line in lines]


def _reading_of(group: Sequence[Line]) -> list[str]:
    """The name of the reading of a source; none if nothing of it was computed."""
    computed = [(line, line.readings()) for line in group if line.counts is not None]
    if not computed:
        return []
    names = [reading.name for reading in computed[0][1]]
    fitting = [sum(line.fits(readings[place]) for line, readings in computed) for place in range(len(names))]
    if any(fitting):
        return [names[fitting.index(max(fitting))]]
    plain = [place for place, name in enumerate(names) if "norms" not in name] or range(len(names))
    away = {place: sum(abs(line.deviation(readings[place])) for line, readings in computed) for place in plain}
    return [names[min(away, key=away.__getitem__)]]


def read_published(path: Path) -> list[Number]:
    """The published figures of a file: in G, for 1e9, or in % of change against the unpruned model.

    Raises:
        UserError: if it is missing, or not such a file, with the line.
    """
    found: dict[str, Number] = {}
    for place, figure in read_numbers(path, ("id", "where", "method", "backbone", "metric")):
        if figure.unit not in UNITS or float(figure.value) == 0:
            raise UserError(f"{place}: expected a number other than 0 in G or %, found {figure.value} {figure.unit}")
        if found.setdefault(figure.id, figure) is not figure:
            raise UserError(f"{place}: duplicate id {figure.id!r}")
    return list(found.values())


def compute(study: CostStudy, progress: Progress = lambda done, rows: None, check: bool = True) -> list[Line]:
    """A line for every published figure, in their order.

    With `check`, torch counts each computed model too. `progress` is called with the rows done and all rows.

    Raises:
        UserError: for ids that do not fit the table of published figures, a row that cannot be computed, or parts of
            a model in which formula and counter disagree.
    """
    figures = read_published(study.published)
    rows = _assign(study, figures)
    backbones: dict[str, TimmModule] = {}
    costs: dict[str, tuple[Counts, Counts]] = {}
    for done, computed in enumerate(study.rows, 1):
        if computed.model not in costs:
            costs[computed.model] = _cost(computed, backbones, check)
        progress(done, len(study.rows))
    lines = []
    for figure in figures:
        row = rows[figure.id]
        counted = costs[row.model] if isinstance(row, CostRow) else (None, None)
        lines.append(Line(figure, row, study.tolerance, *counted))
    return choose(lines)


def _assign(study: CostStudy, figures: Sequence[Number]) -> dict[str, Row]:
    """The row of each figure; every figure must have one, and every pattern must name some."""
    rows: dict[str, Row] = {}
    ids = [figure.id for figure in figures]
    every: list[Row] = [*study.rows, *study.left_out]
    for row in every:
        for pattern in row.published:
            matched = [name for name in ids if fnmatchcase(name, pattern)]
            if not matched:
                raise UserError(f"{study.published} has no figure {pattern!r}; {suggest(pattern, ids)}")
            twice = [name for name in matched if rows.setdefault(name, row) is not row]
            if twice:
                raise UserError(f"two rows name the published figure {', '.join(twice)}; one must do")
    missing = [name for name in ids if name not in rows]
    if missing:
        raise UserError(f"no row computes {', '.join(missing)}; add rows, or name them under left_out with the reason")
    return rows


def _cost(row: CostRow, backbones: dict[str, TimmModule], check: bool) -> tuple[Counts, Counts]:
    """What counters say of a row's model and of the unpruned one."""
    key, dense = f"{row.backbone.model_dump_json()} {row.classes}", row.task == "segmentation"
    try:
        if key not in backbones:
            backbones[key] = build_backbone(row)
        reduced, unpruned = build(row, backbones[key]), build(row.unpruned(), backbones[key])
    except UserError as error:
        raise UserError(f"the row of {', '.join(row.published)}: {error}") from error
    wrong = disagreements(reduced, compare(reduced, dense)) if check else []
    if wrong:
        raise UserError(f"the row of {', '.join(row.published)}: formula and counter disagree: {'; '.join(wrong)}")
    return counts(reduced, dense), counts(unpruned, dense)
