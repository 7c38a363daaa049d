"""Equal budgets: the schedule, on every method's own knob, at which a backbone costs what it may.

A method's knob is the rule by which its paper sets its strength (`MethodSettings.knob`):

    patches    a number of patches, spread evenly over all blocks that may remove any (Cropr's R)
    merges     the same, of no block more than half of its patches (ToMe's r)
    keep_rate  a share that stays of the patches, after a quarter, a half and three quarters of the blocks (EViT)
    stages     a share, to the power of the stage, that computes in three stages after the first quarter (IdleViT)

What a model costs never rises as its knob is turned, so the nearest setting to a budget is found by bisection over all
settings there are: every number of patches, or shares in steps of a thousandth.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from suite.reduction import schedule
from suite.reduction.schedule import Schedule
from suite.reduction.settings import Fusion, MethodSettings, ScoringSettings

TOLERANCE = 0.01
STEPS = 1000
Cost = Callable[[Schedule], float]


@dataclass(frozen=True)
class Solution:
    """A setting of a knob.

    Attributes:
        knob: what it is set to, in words.
        schedule: patches removed per block.
        share: its cost over that of the unpruned model.
        wanted: the budget, as a share too.
    """

    knob: str
    schedule: Schedule
    share: float
    wanted: float

    @property
    def meets(self) -> bool:
        """Whether it is within one percent of the budget."""
        return abs(self.share / self.wanted - 1) <= TOLERANCE


def solve(settings: MethodSettings, fusion: Fusion, patches: int, depth: int, wanted: float, cost: Cost) -> Solution:
    """The setting of a method's knob whose cost is nearest to a budget.

    Args:
        settings: of the method.
        fusion: how removed patches come back, which keeps the last blocks whole.
        patches: that enter the first block of the backbone.
        depth: its number of blocks.
        wanted: the budget, as a share of the unpruned model's cost.
        cost: share of the unpruned model's cost under a schedule.

    Raises:
        ValueError: if the budget is no share, or the backbone has too few blocks for the knob.
    """
    if not 0 < wanted <= 1:
        raise ValueError(f"a budget is a share of the unpruned model, above 0 and at most 1; found {wanted:g}")
    if settings.reduces == "nothing":
        return Solution("none", schedule.nothing(patches, depth), 1.0, wanted)
    turn = {"patches": _spread, "merges": _spread, "keep_rate": _keep_rate, "stages": _stages}[settings.knob]
    last = (patches - 1) if turn is _spread else STEPS - 1

    @functools.cache
    def at(setting: int) -> Solution | None:
        try:
            knob, counts = turn(settings, fusion, patches, depth, setting)
        except ValueError:
            if setting == 0:
                raise
            return None  # turned so far that no patch would be left
        return Solution(knob, counts, cost(counts), wanted)

    low, high = 0, last
    while high - low > 1:
        middle = (low + high) // 2
        tried = at(middle)
        low, high = (middle, high) if tried and tried.share > wanted else (low, middle)
    ends = [solution for solution in (at(low), at(high)) if solution]
    return min(ends, key=lambda solution: abs(solution.share - wanted))


def _spread(settings: MethodSettings, fusion: Fusion, patches: int, depth: int, total: int) -> tuple[str, Schedule]:
    """So many patches, or as many as the blocks can give, evenly over the blocks."""
    blocks = depth - _kept_whole(settings, fusion)
    counts, left = [0] * depth, patches
    for block in range(blocks):
        share = total * (block + 1) // blocks - total * block // blocks
        counts[block] = min(share, left // 2 if settings.knob == "merges" else left - 1)
        left -= counts[block]
    return f"{sum(counts) / blocks:.1f} patches a block", Schedule(patches, tuple(counts))


def _keep_rate(settings: MethodSettings, fusion: Fusion, patches: int, depth: int, step: int) -> tuple[str, Schedule]:
    rate, blocks = 1 - step / STEPS, sorted({depth * quarter // 4 for quarter in (1, 2, 3)})
    fused = isinstance(settings, ScoringSettings) and settings.fate == "fuse"
    shown = ", ".join(map(str, blocks))
    return f"{rate:.3f} stay in blocks {shown}", schedule.keep_rate(patches, depth, rate, blocks, fused=fused)


def _stages(settings: MethodSettings, fusion: Fusion, patches: int, depth: int, step: int) -> tuple[str, Schedule]:
    rate, first = 1 - step / STEPS, max(1, depth // 4)
    length = max(1, (depth - first) // 3)
    knob = f"{rate:.3f} to the stage, {length} blocks each from {first}"
    return knob, schedule.stages(patches, depth, rate, first, length)


def _kept_whole(settings: MethodSettings, fusion: Fusion) -> int:
    """How many of the last blocks remove nothing: where patches come back, and where leaving would save nothing."""
    after = settings.leaves() == "after"
    return (2 if after else 1) if fusion == "last-layer" else int(after)
