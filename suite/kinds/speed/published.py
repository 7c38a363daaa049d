"""Published speeds: throughputs and speed-ups as their sources print them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from suite.errors import UserError
from suite.study.published import half_a_unit, read_numbers

UNITS = {"throughput": "1000 im/s", "speedup": "x"}  # by metric
SHARED = ("id", "where", "method", "backbone", "setting", "source", "evidence")  # by the numbers of one configuration


@dataclass(frozen=True)
class Ratio:
    """A published speed over the unpruned model's: the text that is shown, and what it can be by the printed digits."""

    text: str
    low: float
    high: float


@dataclass(frozen=True)
class Published:
    """One configuration of a source, with what it prints: `throughput` in 1000 im/s, `speedup` over the unpruned model.

    The other fields are those of `Number`.
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
            return Ratio(printed, float(printed) - half, float(printed) + half)
        own, whole = self.values["throughput"], unpruned.values["throughput"]
        half = min(half_a_unit(own), half_a_unit(whole))
        low, high = (float(own) - half) / (float(whole) + half), (float(own) + half) / (float(whole) - half)
        return Ratio(f"{value:.2f}", low, high)


def read_published(path: Path) -> dict[str, Published]:
    """The configurations of a file of published speeds, by id; UserError with the line if it is not such a file."""
    found: dict[str, Published] = {}
    for place, number in read_numbers(path, ("id", "where", "method", "backbone", "metric")):
        if UNITS.get(number.metric) != number.unit or float(number.value) <= 0:
            raise UserError(
                f"{place}: {number.metric} {number.value} {number.unit}: expected throughput in 1000 im/s "
                "or speedup in x, above 0"
            )
        new = Published(**{name: getattr(number, name) for name in SHARED})
        known = found.setdefault(new.id, new)
        if any(getattr(known, name) != getattr(new, name) for name in SHARED):
            raise UserError(f"{place}: the id {new.id} is already that of another configuration")
        known.values[number.metric] = number.value
    return found
