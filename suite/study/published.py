"""Published speeds: throughputs and speed-ups as their sources print them."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from pydantic import Field

from suite.errors import UserError
from suite.strict import Strict

COLUMNS = (
    *("id", "where", "method", "backbone", "pretraining", "resolution", "setting", "name", "value", "unit"),
    *("source", "evidence"),
)
ABOUT = ("id", "where", "method", "backbone", "setting", "source", "evidence")
UNITS = {"throughput": "1000 im/s", "speedup": "x"}


class Excluded(Strict):
    """Published figures that a study excludes, because nothing here can compute them, and why."""

    published: tuple[str, ...] = Field(min_length=1)
    note: str = Field(min_length=1)


@dataclass(frozen=True)
class Ratio:
    """A published speed over the unpruned model's.

    Attributes:
        text: the ratio, with the digits that are shown.
        low, high: the least and the most that it can be by the digits that are printed.
        quotient: whether it was formed here, of two printed throughputs, instead of being taken as printed.
    """

    text: str
    low: float
    high: float
    quotient: bool


@dataclass(frozen=True)
class Published:
    """One configuration of a source.

    Attributes:
        id: by which a study names it.
        where, method, backbone, setting: what the source says it is.
        source, evidence: where it was read, and whether there (`primary`) or in a text about it (`secondary`).
        values: as printed, by name: `throughput` in thousand images per second, `speedup` over the unpruned model.
    """

    id: str
    where: str
    method: str
    backbone: str
    setting: str
    source: str
    evidence: str
    values: dict[str, str] = field(default_factory=dict)

    def over(self, other: Published | None) -> float | None:
        """Its throughput over another's; None unless both are printed."""
        if other is None or "throughput" not in self.values or "throughput" not in other.values:
            return None
        return float(self.values["throughput"]) / float(other.values["throughput"])

    def ratio(self, unpruned: Published | None) -> Ratio | None:
        """Speed over the unpruned model: of throughputs where both are printed, else as printed; None if neither is.

        A source prints all its throughputs to as many decimals, but its table here has lost zeros at the end: the
        number with more decimals says how many.
        """
        value = self.over(unpruned)
        if value is None or unpruned is None:
            printed = self.values.get("speedup")
            if printed is None:
                return None
            half = half_a_unit(printed)
            return Ratio(printed, float(printed) - half, float(printed) + half, quotient=False)
        own, whole = self.values["throughput"], unpruned.values["throughput"]
        half = min(half_a_unit(own), half_a_unit(whole))
        low, high = (float(own) - half) / (float(whole) + half), (float(own) + half) / (float(whole) - half)
        return Ratio(f"{value:.2f}", low, high, quotient=True)


def half_a_unit(printed: str) -> float:
    """Half a unit of the last digit of a number as it is printed: 0.05 of `4.0`."""
    return 0.5 * 10.0 ** int(Decimal(printed).as_tuple().exponent)


def read_published(path: Path) -> dict[str, Published]:
    """Read the table of published speeds, by id.

    Raises:
        UserError: if it is missing, or not such a table, with the line.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; a study of speed needs the table of published speeds there")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = list(csv.reader(file)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is damaged, it is not readable as CSV: {error}; restore it") from error
    if tuple(head) != COLUMNS:
        raise UserError(f"{path} has the columns {', '.join(head)}; expected {', '.join(COLUMNS)}")
    found: dict[str, Published] = {}
    for number, row in enumerate(rows, 2):
        if len(row) != len(COLUMNS):
            raise UserError(f"{path}:{number}: {len(row)} columns instead of {len(COLUMNS)}")
        said = dict(zip(COLUMNS, row, strict=True))
        name, value = said["name"], said["value"]
        if UNITS.get(name) != said["unit"] or not _is_positive(value):
            raise UserError(
                f"{path}:{number}: {name} {value!r} {said['unit']!r} is neither a throughput in 1000 im/s nor a "
                "speedup in x, above 0"
            )
        new = Published(**{key: said[key] for key in ABOUT}, values={})
        known = found.setdefault(new.id, new)
        if name in known.values or replace(new, values=known.values) != known:
            raise UserError(f"{path}:{number}: the id {said['id']} stands for another one already; one id, one row")
        known.values[name] = value
    return found


def _is_positive(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and float(text) > 0
    except ValueError:
        return False
