"""Equal budgets: the schedule, by each method's strength parameter, at which a backbone costs what it may.

A method's knob is the rule by which its paper sets its strength (`MethodSettings.knob`):

    patches    a number of patches, spread evenly over all blocks that may remove any, until one is left (Cropr's R)
    merges     the same, of no block more than half of its patches (ToMe's r)
    keep_rate  a share that stays of the patches, after a quarter, a half and three quarters of the blocks (EViT)
    stages     a share, to the power of the stage, that computes in three stages after the first quarter (IdleViT)

What a model costs never rises as its knob is turned, so the nearest setting to a budget is found by bisection over all
settings there are: every number of patches, or shares in steps of a thousandth.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable
from dataclasses import dataclass

from suite.reduction import schedule
from suite.reduction.schedule import Schedule
from suite.reduction.settings import Fusion, MethodSettings, ScoringSettings

TOLERANCE = 0.01
STEPS = 1000
Cost = Callable[[Schedule], float]
Rounded = Callable[[Schedule], Schedule]


def as_it_is(counts: Schedule) -> Schedule:
    """No rounding."""
    return counts


@dataclass(frozen=True)
class Choice:
    """A setting of a knob in words, and what it removes per block."""

    knob: str
    schedule: Schedule


@dataclass(frozen=True)
class Solution:
    """A setting of a knob in words, what it removes per block, and its cost and the budget, both as shares."""

    knob: str
    schedule: Schedule
    share: float
    wanted: float

    @property
    def meets(self) -> bool:
        """Whether it is within one percent of the budget."""
        return abs(self.share / self.wanted - 1) <= TOLERANCE


def solve(
    settings: MethodSettings,
    fusion: Fusion,
    patches: int,
    depth: int,
    wanted: float,
    cost: Cost,
    rounded: Rounded = as_it_is,
) -> Solution:
    """The setting of a method's knob whose cost, a share of the unpruned model's, is nearest to the wanted one.

    `rounded` is what is made of a schedule, such as one in multiples.

    Raises:
        ValueError: if the budget is no share, or the backbone has too few blocks for the knob.
    """
    if not 0 < wanted <= 1:
        raise ValueError(f"a budget is a share of the unpruned model, above 0 and at most 1; found {wanted:g}")
    if settings.reduces == "nothing":
        return Solution("none", schedule.nothing(patches, depth), 1.0, wanted)

    @functools.cache
    def at(setting: int) -> Solution | None:
        choice = _turned(settings, fusion, patches, depth, setting, rounded)
        return Solution(choice.knob, choice.schedule, cost(choice.schedule), wanted) if choice else None

    low, high = 0, _last(settings, patches, depth)
    most = at(high)
    if most and most.share > wanted:
        low = high - 1
    while high - low > 1:
        middle = _between(low, high, at, lambda setting: _turned(settings, fusion, patches, depth, setting, rounded))
        tried = at(middle)
        low, high = (middle, high) if tried and tried.share > wanted else (low, middle)
    ends = [solution for solution in (at(low), at(high)) if solution]
    return min(ends, key=lambda solution: abs(solution.share - wanted))


def _between(low: int, high: int, at: Callable[[int], Solution | None], turned: Callable[[int], Choice | None]) -> int:
    """A setting between two, where the cost is the budget if it falls in proportion to the patches that are left.

    That guess is off by little, and costs are dear: one is a run of the model. Where nothing can be guessed it is the
    setting in the middle.
    """
    more, less = at(low), at(high)
    if more is None or less is None or more.share <= less.share:
        return (low + high) // 2
    part = (more.share - more.wanted) / (more.share - less.share)
    most, least = sum(more.schedule.leaving), sum(less.schedule.leaving)
    target = most - part * (most - least)

    def is_past(setting: int) -> bool:
        choice = turned(setting)
        return choice is None or sum(choice.schedule.leaving) <= target

    return bisect.bisect_left(range(low + 1, high - 1), True, key=is_past) + low + 1


def choices(
    settings: MethodSettings, fusion: Fusion, patches: int, depth: int, rounded: Rounded = as_it_is
) -> list[Choice]:
    """All settings of a method's knob that differ in what they remove, from nothing to the most; as `solve`."""
    if settings.reduces == "nothing":
        return [Choice("none", schedule.nothing(patches, depth))]
    found: dict[Schedule, Choice] = {}
    for setting in range(_last(settings, patches, depth) + 1):
        choice = _turned(settings, fusion, patches, depth, setting, rounded)
        if choice:
            found.setdefault(choice.schedule, choice)
    return list(found.values())


def _last(settings: MethodSettings, patches: int, depth: int) -> int:
    """The number of the setting that removes most: all patches in each block, of which it gives what it can."""
    return patches * depth if settings.knob in ("patches", "merges") else STEPS - 1


def _turned(
    settings: MethodSettings, fusion: Fusion, patches: int, depth: int, setting: int, rounded: Rounded
) -> Choice | None:
    """A setting of a method's knob; None if it is turned further than can be."""
    turn = {"patches": _spread, "merges": _spread, "keep_rate": _keep_rate, "stages": _stages}[settings.knob]
    try:
        knob, counts = turn(settings, fusion, patches, depth, setting)
        counts = rounded(counts)
    except ValueError:
        if setting == 0:
            raise
        return None
    pairs = zip(counts.removed, counts.entering, strict=True)
    if settings.knob == "merges" and any(removed > entering // 2 for removed, entering in pairs):
        return None  # by rounding
    return Choice(knob, counts)


def _spread(settings: MethodSettings, fusion: Fusion, patches: int, depth: int, total: int) -> tuple[str, Schedule]:
    """So many patches, or as many as the blocks can give, evenly over the blocks."""
    blocks = depth - _kept_whole(settings, fusion)
    if blocks < 1:
        raise ValueError(f"no block may remove patches where {depth - blocks} at the end stay whole, of {depth} in all")
    counts, left, merges = [0] * depth, patches, settings.knob == "merges"
    for block in range(blocks):
        share = total * (block + 1) // blocks - total * block // blocks
        counts[block] = min(share, left // 2 if merges else left - 1)
        left -= counts[block]
    limit = ("", ", at most half" if merges else ", while there are any")[sum(counts) < total]
    return f"{total / blocks:.1f} patches a block{limit}", Schedule(patches, tuple(counts))


def _keep_rate(settings: MethodSettings, fusion: Fusion, patches: int, depth: int, step: int) -> tuple[str, Schedule]:
    rate, blocks = 1 - step / STEPS, sorted({depth * quarter // 4 for quarter in (1, 2, 3)})
    fused = isinstance(settings, ScoringSettings) and settings.action == "fuse"
    shown = ", ".join(map(str, blocks))
    return f"{rate:.3f} stay in blocks {shown}", schedule.keep_rate(patches, depth, rate, blocks, fused=fused)


def _stages(settings: MethodSettings, fusion: Fusion, patches: int, depth: int, step: int) -> tuple[str, Schedule]:
    if depth < 2:
        raise ValueError("stages need at least two blocks: all patches compute in the first")
    rate, first = 1 - step / STEPS, max(1, depth // 4)
    length = max(1, (depth - first) // 3)
    knob = f"{rate:.3f} to the stage, {length} blocks each from {first}"
    return knob, schedule.stages(patches, depth, rate, first, length)


def _kept_whole(settings: MethodSettings, fusion: Fusion) -> int:
    """How many of the last blocks remove nothing: where patches come back, and where leaving would save nothing."""
    after = settings.removal_stage() == "post"
    return (2 if after else 1) if fusion == "last-layer" else int(after)
