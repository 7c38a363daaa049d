"""Budgets of measured time: which setting of each method's strength takes a share of the unpruned model's time.

A measurement is noisy and takes long, so few settings are measured, all methods side by side with the unpruned model:

1. A method begins with the setting whose MACs are the share that is asked for.
2. After each short measurement it goes on where a line of time over MACs, through the settings around the budget,
   meets it (regula falsi), until no setting is between them, or noise has put them in the wrong order.
3. The settings found are measured at full length. A method that misses the budget moves on, twice at most.

What is reported is a setting's last measurement at full length, by which it was not chosen.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from suite.measure.speed import Timing, quartiles
from suite.measure.strength import TOLERANCE, Choice, Strengths
from suite.measure.timing_options import UNPRUNED
from suite.reduction.schedule import Schedule

SHORT, FULL = 6, 3  # measurements at most, of settings on the way and of settings found
SLOPES = 0.3, 3.0  # of time over MACs, both as shares: a steeper or flatter one is noise
Race = Callable[[Mapping[str, Schedule], bool], Timing]  # of schedules by method beside UNPRUNED, at full length or not


@dataclass(frozen=True)
class Found:
    """A setting that was measured at full length: its shares of the unpruned model's MACs and time, one a round.

    `timing_warnings`: why these are unreliable; `why`: what kept the method from the budget, empty if it meets it;
    `measured`: how many settings of the method were.
    """

    choice: Choice
    macs: float
    shares: tuple[float, ...]
    wanted: float
    timing_warnings: tuple[str, ...]
    why: str
    measured: int

    @property
    def share(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.shares)

    @property
    def spread(self) -> float:
        """Inter-quartile range of the shares over their median."""
        low, median, high = quartiles(self.shares)
        return (high - low) / median

    @property
    def meets(self) -> bool | None:
        """Whether it is within one percent of the budget; None where the rounds spread too widely to tell."""
        low, median, high = (value / self.wanted - 1 for value in quartiles(self.shares))
        if self.spread > TOLERANCE and high >= -TOLERANCE and low <= TOLERANCE:
            return None
        return abs(median) <= TOLERANCE


@dataclass
class Search:
    """The search for one method's setting: what was measured of it so far, by number of the choice."""

    strengths: Strengths
    wanted: float
    shares: dict[int, list[float]] = field(default_factory=dict)
    full: dict[int, tuple[tuple[float, ...], tuple[str, ...]]] = field(default_factory=dict)  # last shares, warnings

    def nearest(self) -> int:
        """Of the choices measured, the one nearest to the budget."""
        return min(self.shares, key=lambda number: abs(statistics.median(self.shares[number]) - self.wanted))

    def close(self) -> bool:
        """Whether a choice is so near to the budget that only a longer measurement can tell more."""
        return any(self._off(statistics.median(shares)) <= TOLERANCE / 2 for shares in self.shares.values())

    def proposal(self) -> int | None:
        """The choice to measure next; None if none that was not measured can be expected to be nearer."""
        if not self.shares:
            return self.strengths.nearest(self.wanted)
        known = self._medians()
        slow = max((number for number, share in known.items() if share > self.wanted), default=None)
        fast = min((number for number, share in known.items() if share <= self.wanted), default=None)
        if slow is None or slow == len(self.strengths.choices) - 1:
            return None
        if fast is not None and fast - slow < 2:
            nearer = slow not in self.shares and 1 - self.wanted < self.wanted - known[fast]
            return slow if nearer else None
        macs, over = self.strengths.cost(slow), known[slow] - self.wanted
        if fast is None:
            return max(slow + 1, self.strengths.nearest(macs - over / self._slope(known)))
        way = over / (known[slow] - known[fast])
        return min(max(self.strengths.nearest(macs - way * (macs - self.strengths.cost(fast))), slow + 1), fast - 1)

    def missed(self) -> bool:
        """Whether the nearest choice, once measured at full length, is not within the tolerance."""
        return all(self._off(statistics.median(shares)) > TOLERANCE for shares, _ in self.full.values())

    def found(self) -> Found:
        """The nearest of the choices that were measured at full length."""
        number = min(self.full, key=lambda number: self._off(statistics.median(self.full[number][0])))
        shares, timing_warnings = self.full[number]
        why = self._why(number) if self.missed() else ""
        choice, macs = self.strengths.choices[number], self.strengths.cost(number)
        return Found(choice, macs, shares, self.wanted, timing_warnings, why, len(self.shares))

    def _why(self, number: int) -> str:
        share, last = statistics.median(self.full[number][0]), len(self.strengths.choices) - 1
        if number == last and share > self.wanted:
            return "its strength parameter goes no further"
        if number == 0 and share <= self.wanted:
            return "removing nothing is already faster"
        if self.proposal() is None:
            return "its next setting is further off"
        return f"the search ended after {len(self.shares)} settings; more --rounds let it see farther"

    def _off(self, share: float) -> float:
        return abs(share / self.wanted - 1)

    def _medians(self) -> dict[int, float]:
        """Of what was measured, and of removing nothing, which is 1 until it was."""
        return {0: 1.0} | {number: statistics.median(shares) for number, shares in self.shares.items()}

    def _slope(self, known: Mapping[int, float]) -> float:
        """Of time over MACs, between the two choices that remove most of those known."""
        early, late = sorted(known)[-2:] if len(known) > 1 else (0, 0)
        run = self.strengths.cost(early) - self.strengths.cost(late)
        return min(max((known[early] - known[late]) / run, SLOPES[0]), SLOPES[1]) if run else 1.0


def meet_latency(strengths: Mapping[str, Strengths], wanted: float, race: Race) -> dict[str, Found]:
    """The setting of each method's strength parameter whose time is nearest to a share of the unpruned model's."""
    searches = {name: Search(own, wanted) for name, own in strengths.items()}
    for _ in range(SHORT):
        ways = {name: search.proposal() for name, search in searches.items() if not search.close()}
        _measure(searches, ways, race, full=False)
    for _ in range(FULL):
        ends = {name: _next_in_full(search) for name, search in searches.items() if search.missed()}
        _measure(searches, ends, race, full=True)
    return {name: search.found() for name, search in searches.items()}


def _next_in_full(search: Search) -> int | None:
    """The nearest choice first; where it misses, another."""
    nearest = search.nearest()
    return search.proposal() if nearest in search.full else nearest


def _measure(searches: Mapping[str, Search], numbers: Mapping[str, int | None], race: Race, full: bool) -> None:
    """Measure one choice of each method that has one to measure, all side by side."""
    chosen = {name: number for name, number in numbers.items() if number is not None}
    if not chosen:
        return
    timing = race({name: searches[name].strengths.choices[number].schedule for name, number in chosen.items()}, full)
    for name, number in chosen.items():
        shares = tuple(1 / ratio for ratio in timing.ratios(name, UNPRUNED))
        searches[name].shares.setdefault(number, []).extend(shares)
        if full:
            searches[name].full[number] = shares, (*timing.shared_warnings(), *timing.own_warnings(name))
