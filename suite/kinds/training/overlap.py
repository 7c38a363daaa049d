"""How much two sets of kept patches have in common, and how much they would have by chance."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from suite.kinds.training.results import Example, Results, kept_after
from suite.kinds.training.summary import CONTROL

Kept = dict[int, list[NDArray[np.bool_]]]  # by seed: for each image, what each block keeps, (depth, rows, columns)


@dataclass(frozen=True)
class Agreement:
    """Of two kept sets, or the mean over pairs of them.

    Attributes:
        found: their Jaccard index, patches in both over patches in either.
        chance: its expectation for two independent random sets of the same sizes.
        most: the highest that the sizes allow.
    """

    found: float
    chance: float
    most: float

    @property
    def above_chance(self) -> float:
        """0 at chance, 1 at the highest that the sizes allow; NaN where these are one."""
        room = self.most - self.chance
        return (self.found - self.chance) / room if room > 1e-12 else float("nan")


@functools.lru_cache
def expected_jaccard(patches: int, first: int, second: int) -> float:
    """Of independent uniformly random subsets of so many patches; what they share is hypergeometric.

    Two empty sets agree: 1.
    """
    if first + second == 0:
        return 1.0
    shared = np.arange(min(first, second) + 1)
    weights = stats.hypergeom.pmf(shared, patches, first, second)
    return float(np.sum(weights * shared / (first + second - shared)))


def compare(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Agreement:
    """Two kept sets of the same patches, in any one shape."""
    either, sizes = int((first | second).sum()), (int(first.sum()), int(second.sum()))
    found = int((first & second).sum()) / either if either else 1.0
    most = min(sizes) / max(sizes) if max(sizes) else 1.0
    return Agreement(found, expected_jaccard(first.size, *sizes), most)


def mean(agreements: Sequence[Agreement]) -> Agreement:
    """The mean of each of the three.

    Raises:
        ValueError: of none.
    """
    if not agreements:
        raise ValueError("no agreements to take a mean of")
    table = np.mean([(one.found, one.chance, one.most) for one in agreements], axis=0)
    return Agreement(*map(float, table))


def kept_sets(results: Results, examples: Sequence[Example]) -> dict[str, Kept]:
    """By label, in the table's order; only patches of the image, no padding.

    Left out are rows that remove nothing, and random pruning: a example's generator is seeded by the image alone, so it
    draws the same in every seed.
    """
    found: dict[str, Kept] = defaultdict(dict)
    for one in examples:
        label = results.label(one["row"], one["schedule"])
        if label is None or one["method"] == CONTROL:
            continue
        images = kept_after(one)
        if not all(image.all() for image in images):
            found[label][int(one["seed"])] = images
    return {label: dict(sorted(found[label].items())) for label in results.labels if label in found}


def between_seeds(kept: Kept, block: int) -> list[Agreement]:
    """After a block, counted from 0: for each two seeds, the mean over images."""
    return [
        mean([compare(a[block], b[block]) for a, b in zip(first, second, strict=True)])
        for first, second in itertools.combinations(kept.values(), 2)
    ]


def between_images(kept: Kept, block: int) -> list[Agreement]:
    """For each seed, the mean over each two images of one shape: high where patches are chosen by place alone."""
    found = []
    for images in kept.values():
        alike = [(a, b) for a, b in itertools.combinations(images, 2) if a.shape == b.shape]
        if alike:
            found.append(mean([compare(a[block], b[block]) for a, b in alike]))
    return found


def between_rows(first: Kept, second: Kept, block: int) -> Agreement | None:
    """The mean over images and all two different seeds, as between seeds of one row; None without two seeds."""
    found = list(_crossed(first, second, block, block))
    return mean(found) if found else None


def between_blocks(kept: Kept, block: int, other: int) -> Agreement | None:
    """After `block` in one run and after `other` in a run of another seed; None without two seeds.

    The mean over images and ordered pairs of seeds, so it does not matter which block is named first.
    """
    found = list(_crossed(kept, kept, block, other))
    return mean(found) if found else None


def within_runs(kept: Kept, block: int, other: int) -> Agreement | None:
    """After two blocks of one run, the mean over images and seeds; None for a block with itself.

    Where no patch returns one set is part of the other, so that it is the highest that the sizes allow.
    """
    if block == other:
        return None
    return mean([compare(image[block], image[other]) for images in kept.values() for image in images])


def changes(kept: Kept) -> list[int]:
    """The blocks after which any run keeps another set than before them; before the first block it is all patches."""
    images = [np.concatenate([np.ones_like(image[:1]), image]) for images in kept.values() for image in images]
    return np.flatnonzero(np.any([(image[1:] != image[:-1]).any((1, 2)) for image in images], axis=0)).tolist()


def returns(kept: Kept) -> bool:
    """Whether any block keeps a patch that the block before it did not."""
    return any(bool((image[1:] & ~image[:-1]).any()) for images in kept.values() for image in images)


def _crossed(first: Kept, second: Kept, block: int, other: int) -> Iterator[Agreement]:
    for (one, images), (two, others) in itertools.product(first.items(), second.items()):
        if one != two:
            yield from (compare(a[block], b[other]) for a, b in zip(images, others, strict=True))
