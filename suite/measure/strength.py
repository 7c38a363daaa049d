"""Equal budgets: the schedule, by each method's strength parameter, at which a backbone costs what it may.

It is the rule by which a paper says how much its method removes (`MethodSettings.strength_parameter`):

    patches    a number of patches, spread evenly over all blocks that may remove any, until one is left (Cropr's R)
    merges     the same, of no block more than half of its patches (ToMe's r)
    keep_rate  a share that stays of the patches, after a quarter, a half and three quarters of the blocks (EViT)
    stages     a share, to the power of the stage, that computes in three stages after the first quarter (IdleViT)

Settings are every number of patches, or shares in steps of a thousandth. What a model costs never rises from one to the
next, so the nearest to a budget is found by bisection.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from suite.reduction import schedule
from suite.reduction.schedule import Schedule
from suite.reduction.settings import Fusion, MethodSettings, ScoringSettings

TOLERANCE = 0.01
STEPS = 1000
Rounded = Callable[[Schedule], Schedule]


@dataclass(frozen=True)
class Choice:
    """A setting of the strength parameter in words, and what it removes per block."""

    strength: str
    schedule: Schedule


@dataclass(frozen=True)
class Strengths:
    """All settings of a method's strength parameter, from nothing to most removed, with the cost of each by number.

    Costs are shares of the unpruned model's.
    """

    choices: Sequence[Choice]
    cost: Callable[[int], float]

    def nearest(self, wanted: float) -> int:
        """The setting whose cost is nearest to the wanted one."""
        low, high = 0, len(self.choices) - 1
        while high - low > 1:
            middle = self._between(low, high, wanted)
            low, high = (middle, high) if self.cost(middle) > wanted else (low, middle)
        return min((low, high), key=lambda number: abs(self.cost(number) - wanted))

    def _between(self, low: int, high: int, wanted: float) -> int:
        """A setting between two, which has the wanted cost if costs fall in proportion to the patches that are left.

        That guess is off by little, and costs are dear: one is a run of the model.
        """
        more, less = self.cost(low), self.cost(high)
        if more <= less:
            return (low + high) // 2
        most, least = self._left(low), self._left(high)
        target = most - (more - wanted) / (more - less) * (most - least)
        between = range(low + 1, high - 1)
        return low + 1 + bisect.bisect_left(between, True, key=lambda number: self._left(number) <= target)

    def _left(self, number: int) -> int:
        return sum(self.choices[number].schedule.leaving)


def choices(
    settings: MethodSettings, fusion: Fusion, patches: int, depth: int, rounded: Rounded | None = None
) -> list[Choice]:
    """All settings of a method's strength parameter that differ in what they remove, from nothing to the most.

    `rounded` is what is made of a schedule, such as one in multiples.

    ValueError if the backbone has too few blocks.
    """
    if settings.reduces == "nothing":
        return [Choice("none", schedule.nothing(patches, depth))]
    rules = {"patches": _spread, "merges": _spread, "keep_rate": _keep_rate, "stages": _stages}
    rule = rules[settings.strength_parameter]
    found: dict[Schedule, Choice] = {}
    for setting in range(patches * depth + 1 if rule is _spread else STEPS):
        try:
            strength, counts = rule(settings, fusion, patches, depth, setting)
            counts = rounded(counts) if rounded else counts
        except ValueError:
            if setting == 0:
                raise
            continue  # stronger than can be
        if not (settings.strength_parameter == "merges" and _exceeds_half(counts)):
            found.setdefault(counts, Choice(strength, counts))
    return list(found.values())


def _exceeds_half(counts: Schedule) -> bool:
    """Whether a block merges more patches than can be, which rounding may do."""
    return any(removed > entering // 2 for removed, entering in zip(counts.removed, counts.entering, strict=True))


def _spread(settings: MethodSettings, fusion: Fusion, patches: int, depth: int, total: int) -> tuple[str, Schedule]:
    """So many patches, or as many as the blocks can give, evenly over the blocks."""
    blocks = depth - _kept_whole(settings, fusion)
    if blocks < 1:
        raise ValueError(f"no block may remove patches where {depth - blocks} at the end stay whole, of {depth} in all")
    counts, left, merges = [0] * depth, patches, settings.strength_parameter == "merges"
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
    strength = f"{rate:.3f} to the stage, {length} blocks each from {first}"
    return strength, schedule.stages(patches, depth, rate, first, length)


def _kept_whole(settings: MethodSettings, fusion: Fusion) -> int:
    """How many of the last blocks remove nothing: where patches come back, and where leaving would save nothing."""
    after = settings.removal_stage() == "post"
    return (2 if after else 1) if fusion == "last-layer" else int(after)
