"""How much two sets of kept patches have in common, and how much they would have by chance."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Sequence
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
    """

    found: float
    chance: float


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
    return Agreement(found, expected_jaccard(first.size, *sizes))


def mean(agreements: Sequence[Agreement]) -> Agreement:
    """The mean of both.

    Raises:
        ValueError: of none.
    """
    if not agreements:
        raise ValueError("no agreements to take a mean of")
    table = np.mean([(one.found, one.chance) for one in agreements], axis=0)
    return Agreement(*map(float, table))


def kept_sets(results: Results, examples: Sequence[Example]) -> dict[str, Kept]:
    """By label, in the table's order; only patches of the image, no padding.

    Left out are rows that remove nothing, and random pruning: an example's generator is seeded by the image alone, so
    it draws the same in every seed.
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
