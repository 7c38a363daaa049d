"""Published costs beside computed ones: which convention each was counted in, and how well it fits."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from suite.errors import UserError, suggest
from suite.measure.cost import account, total
from suite.measure.crosscheck import compare, disagreements
from suite.measure.macs import Macs
from suite.reduction.blocks import TimmModule
from suite.study.configuration import CostRow, CostStudy, LeftOut, build, build_backbone

Row = CostRow | LeftOut
Progress = Callable[[int, int], None]
UNITS = ("G", "%")


class Figure(NamedTuple):
    """A published cost, as its source prints it.

    `name` is what the source calls it; `unit` is G, for 1e9, or % of change against the unpruned model.
    """

    id: str
    where: str
    method: str
    backbone: str
    pretraining: str
    resolution: str
    setting: str
    name: str
    value: str
    unit: str
    source: str
    evidence: str


class Reading(NamedTuple):
    """What a computed cost is in a figure's unit, if it is read like this: a convention, and MACs or FLOPs of them."""

    convention: str
    name: str
    value: float


@dataclass(frozen=True)
class Line:
    """A published figure, the row that computes it, and multiply-accumulates of that model and of the unpruned one.

    Both are None where the figure is left out.
    """

    figure: Figure
    row: Row
    tolerance: float
    macs: Macs | None = None
    unpruned: Macs | None = None

    def readings(self) -> list[Reading]:
        """Two readings of a change, four of a count; none where nothing was computed."""
        if self.macs is None or self.unpruned is None:
            return []
        pairs = {"full": (self.macs.full, self.unpruned.full), "linear": (self.macs.linear, self.unpruned.linear)}
        if self.figure.unit == "%":
            return [Reading(name, name, 100 * (macs / whole - 1)) for name, (macs, whole) in pairs.items()]
        return [
            Reading(convention, f"{convention}, {unit}", factor * macs / 1e9)
            for convention, (macs, _) in pairs.items()
            for unit, factor in (("GMACs", 1), ("GFLOPs", 2))
        ]

    def nearest(self) -> Reading | None:
        """The reading nearest to the published figure, of the row's convention if it has one."""
        wanted = self.row.convention if isinstance(self.row, CostRow) else None
        found = [reading for reading in self.readings() if wanted in (None, reading.convention)]
        return min(found, key=lambda reading: abs(self.deviation(reading)), default=None)

    def deviation(self, reading: Reading) -> float:
        """Reading less published figure: in percent of the figure, or in percentage points where it is a change."""
        published = float(self.figure.value)
        return (reading.value - published) * (1 if self.figure.unit == "%" else 100 / published)

    def fits(self, reading: Reading) -> bool:
        """Whether a reading is within the tolerance, or rounds to the printed figure."""
        published = Decimal(self.figure.value)
        half = 0.5 * 10.0 ** int(published.as_tuple().exponent)
        return abs(reading.value - float(published)) <= max(self.tolerance / 100 * abs(float(published)), half)

    @property
    def verdict(self) -> str:
        """`fits`, `off` or `not computed`."""
        nearest = self.nearest()
        if nearest is None:
            return "not computed"
        return "fits" if self.fits(nearest) else "off"


def read_published(path: Path) -> list[Figure]:
    """Read the table of published figures.

    Raises:
        UserError: if it is missing, or not such a table.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; a study of costs needs the table of published figures there")
    with path.open(newline="") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    if tuple(head) != Figure._fields:
        raise UserError(f"{path} has the columns {', '.join(head)}; expected {', '.join(Figure._fields)}")
    figures: dict[str, Figure] = {}
    for number, row in enumerate(rows, 2):
        if len(row) != len(Figure._fields):
            raise UserError(f"{path}:{number}: {len(row)} columns instead of {len(Figure._fields)}")
        figure = Figure(*row)
        if figure.unit not in UNITS or not _is_count(figure.value):
            raise UserError(f"{path}:{number}: {figure.value!r} {figure.unit!r} is not a number other than 0 in G or %")
        if figures.setdefault(figure.id, figure) is not figure:
            raise UserError(f"{path}:{number}: the id {figure.id} stands twice")
    return list(figures.values())


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
    costs: dict[str, tuple[Macs, Macs]] = {}
    for done, computed in enumerate(study.rows, 1):
        if computed.model not in costs:
            costs[computed.model] = _cost(computed, backbones, check)
        progress(done, len(study.rows))
    lines = []
    for figure in figures:
        row = rows[figure.id]
        macs = costs[row.model] if isinstance(row, CostRow) else (None, None)
        lines.append(Line(figure, row, study.tolerance, *macs))
    return lines


def _assign(study: CostStudy, figures: Sequence[Figure]) -> dict[str, Row]:
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


def _cost(row: CostRow, backbones: dict[str, TimmModule], check: bool) -> tuple[Macs, Macs]:
    """Multiply-accumulates of a row's model and of the unpruned one."""
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
    return total(account(reduced, dense)), total(account(unpruned, dense))


def _is_count(text: str) -> bool:
    try:
        return Decimal(text).is_finite() and Decimal(text) != 0
    except InvalidOperation:
        return False
