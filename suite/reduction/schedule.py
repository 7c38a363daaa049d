"""How many patches each block removes: one form for every method, and the rules that convert into it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Rounding = Literal["ceil", "floor"]
ROUND = {"ceil": math.ceil, "floor": math.floor}
Curriculum = Literal["none", "linear", "official"]


@dataclass(frozen=True)
class Schedule:
    """Patches removed in each block.

    Attributes:
        patches: patches that enter the first block; prefix tokens (class, registers) are never counted.
        removed: by how many patches the sequence is shorter after each of the `depth` blocks. A method that fuses
            removed patches into one new token removes one more to make room for it, so one tuple means the same
            number of tokens for every method.

    Raises:
        ValueError: if a count is negative or no patch would be left.
    """

    patches: int
    removed: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.removed:
            raise ValueError("the schedule is empty; it needs one count per block")
        if min(self.removed) < 0:
            raise ValueError(f"counts of removed patches cannot be negative, found {list(self.removed)}")
        if sum(self.removed) >= self.patches:
            raise ValueError(
                f"the schedule removes {sum(self.removed)} of {self.patches} patches and leaves none; "
                f"the counts {list(self.removed)} may sum to {self.patches - 1} at most"
            )

    @property
    def depth(self) -> int:
        return len(self.removed)

    @property
    def entering(self) -> tuple[int, ...]:
        """Patches that enter each block."""
        return tuple(self.patches - sum(self.removed[:block]) for block in range(self.depth))

    @property
    def leaving(self) -> tuple[int, ...]:
        """Patches that leave each block."""
        return tuple(self.patches - sum(self.removed[: block + 1]) for block in range(self.depth))

    @property
    def idle(self) -> tuple[int, ...]:
        """Patches that are idle in each block of an idling method: as many as a pruning one has removed before it."""
        return tuple(self.patches - entering for entering in self.entering)


def nothing(patches: int, depth: int) -> Schedule:
    """Remove nothing."""
    return Schedule(patches, (0,) * depth)


def clamped(patches: int, removed: Iterable[int]) -> Schedule:
    """Cut counts to half of the patches that enter the block, rounded down: of more ToMe's code merges no more.

    (github facebookresearch/ToMe, `bipartite_soft_matching`.) In the paper's r=16 on ViT-B/16, the last block has 20
    patches left and merges 10.
    """
    counts, left = [], patches
    for count in removed:
        counts.append(min(count, left // 2))
        left -= counts[-1]
    return Schedule(patches, tuple(counts))


def constant(
    patches: int, depth: int, count: int, blocks: Iterable[int], extra_first: int = 0, clamp: bool = False
) -> Schedule:
    """Remove `count` patches in each of `blocks`, and `extra_first` more in the first of them; `clamp`: see `clamped`.

    Cropr's R=8 is `extra_first=1` (its first module also makes up for the class token); ToMe's r is all blocks.
    """
    chosen = _blocks(blocks, depth)
    removed = [count if block in chosen else 0 for block in range(depth)]
    removed[min(chosen)] += extra_first
    return clamped(patches, removed) if clamp else Schedule(patches, tuple(removed))


def keep_rate(
    patches: int, depth: int, rate: float, blocks: Iterable[int], rounding: Rounding = "ceil", fused: bool = False
) -> Schedule:
    """Keep `rate` of the patches that remain, in each of `blocks`; `fused` says that one more token takes their place.

    EViT's rule (github youweiliang/evit): K = ceil(rate * N), where N counts an earlier fused token. Nothing is
    fused when K = N.
    """
    removed = [0] * depth
    remaining = patches
    for block in sorted(_blocks(blocks, depth)):
        kept = ROUND[rounding](rate * remaining)
        after = kept if kept == remaining or not fused else kept + 1
        removed[block] = remaining - after
        remaining = after
    return Schedule(patches, tuple(removed))


def linear(patches: int, depth: int, count: int, inflect: float, clamp: bool = False) -> Schedule:
    """Counts that change linearly from `count * (1 - inflect)` in the first block to its mirror image in the last.

    ToMe's rule (github facebookresearch/ToMe, `parse_r`): -1 decreases to 0 as in the paper, 0 is constant, 1 rises
    from 0. Counts are cut to whole patches, so a decreasing schedule removes a few less than a constant one.
    """
    if depth < 2 and inflect:
        raise ValueError("a linear schedule needs at least two blocks")
    if not -1 <= inflect <= 1:
        raise ValueError(f"inflect must be from -1 (decreasing) to 1 (increasing), found {inflect}")
    first = int(count * (1 - inflect))
    step = 2 * (count - first) / max(depth - 1, 1)
    removed = tuple(int(first + step * block) for block in range(depth))
    return clamped(patches, removed) if clamp else Schedule(patches, removed)


def stages(patches: int, depth: int, rate: float, first: int, length: int) -> Schedule:
    """Stages of `length` blocks from block `first` on; stage s works on floor(patches * rate**s) patches.

    IdleViT's rule (github Ackesnal/IdleViT): shares of the first patch count, rounded down. The last stage lasts to
    the end. A patch that sits out block i counts as removed in block i-1, so `first` must be at least 1.
    """
    if not 1 <= first < depth:
        raise ValueError(f"the first stage must start at a block from 1 to {depth - 1}, found {first}")
    if length < 1:
        raise ValueError(f"a stage must be at least one block long, found {length}")
    active = [patches] * depth
    for block in range(first, depth):
        active[block] = math.floor(patches * rate ** ((block - first) // length + 1))
    return Schedule(patches, (*(now - after for now, after in pairwise(active)), 0))


def in_multiples(schedule: Schedule, prefix: int, of: int) -> Schedule:
    """Round a schedule so that the tokens after each block that removes any, prefix included, are a multiple of `of`.

    It is the multiple nearest to the tokens that `schedule` leaves there, the larger of two equally near, among those
    that can be reached: at least one patch stays, and there are never more tokens than the input has, whose length is
    left alone. A block that removed a few patches may thus remove none. GPUs compute such lengths faster: Cropr's paper
    (arXiv 2412.00965) reports up to 1.8x from one token.

    ValueError if no multiple can be reached.
    """
    whole = schedule.patches + prefix
    least, most = (prefix // of + 1) * of, whole // of * of
    if least > most:
        raise ValueError(
            f"no multiple of {of} lies between {prefix + 1} and {whole} tokens, prefix included; take a smaller one"
        )
    tokens = [whole]
    for left in schedule.leaving:
        nearest = (2 * (left + prefix) + of) // (2 * of) * of
        tokens.append(min(max(nearest, least), most) if left < schedule.patches else whole)
    return Schedule(schedule.patches, tuple(before - after for before, after in pairwise(tokens)))


def curriculum(removed: tuple[int, ...], epoch: int, epochs: int, rule: Curriculum) -> tuple[int, ...]:
    """Counts in `epoch`, from 0, of `epochs`: they rise over the first half of training to `removed`, and stay.

    `linear` rises from nothing and rounds each count to the nearest. `official` is Cropr's rule for segmentation
    (github benbergner/cropr): the common count R rises from 0 and is rounded down, and the one more of the first block
    is there from the start; an odd number of epochs, at which the official code fails, ends with R.

    ValueError as `common_rate`, if the rule is `official`.
    """
    rising = epochs // 2
    if rule == "none" or epoch >= rising or not any(removed):
        return removed
    if rule == "linear":
        return tuple(round(count * epoch / rising) for count in removed)
    now = _rising(common_rate(removed), epoch, rising)
    first = next(layer for layer, count in enumerate(removed) if count)
    return tuple(now + (layer == first) if count else 0 for layer, count in enumerate(removed))


def _rising(rate: int, epoch: int, steps: int) -> int:
    """`torch.linspace(0, rate, steps).long()[epoch]`, of which the official rule has its rounding errors.

    Written out, because torch rounds otherwise on processors without fused multiply-add: it works in single precision
    from the nearer end, and here every processor does as those with it.
    """
    import numpy as np

    if steps == 1:
        return 0
    step = float(np.float32(rate) / np.float32(steps - 1))  # a product with it is exact in double precision
    near_end = epoch >= steps // 2
    return int(np.float32(rate - step * (steps - 1 - epoch) if near_end else step * epoch))


def common_rate(removed: tuple[int, ...]) -> int:
    """Cropr's R, of a schedule that removes R+1 patches in the first block that removes any and R in all others.

    ValueError if it is not of that form.
    """
    counts = [count for count in removed if count]
    rate = min(counts[1:], default=0)
    if not rate or counts != [rate + 1, *[rate] * (len(counts) - 1)]:
        raise ValueError(
            "the official curriculum needs one count for all blocks and one more in the first of them, found "
            f"{list(removed)}; use curriculum: linear"
        )
    return rate


def _blocks(blocks: Iterable[int], depth: int) -> Sequence[int]:
    chosen = list(blocks)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"blocks names a block twice: {chosen}")
    outside = [block for block in chosen if not 0 <= block < depth]
    if not chosen or outside:
        raise ValueError(f"blocks must name some of the blocks 0 to {depth - 1}, found {outside or 'none'}")
    return chosen
