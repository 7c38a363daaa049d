"""Which patches are kept: agreement between seeds and between images, block by block, against chance."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy import stats

from suite.errors import UserError
from suite.kinds.training.figures.looks import Look, looks
from suite.kinds.training.results import Example, Results, kept_after, read_examples
from suite.kinds.training.summary import CONTROL
from suite.report.style import TWO_COLUMNS, canvas, folded

ACROSS = 4
Kept = dict[int, list[NDArray[np.bool_]]]  # by seed: for each image, what each block keeps, (depth, rows, columns)
Pairs = list[NDArray[np.float64]]  # of two kept sets, or the mean over pairs of them: Jaccard index, and by chance


def draw_agreement(results: Results, path: Path) -> None:
    """A panel for each row: agreement after each block, between seeds and between images, and chance for both.

    Raises:
        UserError: without examples, or without a method that chooses patches.
    """
    kept = kept_sets(results, read_examples(results.folder))
    if not kept:
        raise UserError("no row with examples removes patches by a choice of its own")
    style = looks(results.lines)
    across = min(ACROSS, len(kept))
    down = -(-len(kept) // across)
    size = (TWO_COLUMNS, 1.0 + 1.35 * down)
    records = results.records("examples.json")
    with canvas(path, down, across, size=size, sharex=True, sharey=True, records=records) as (figure, axes):
        for axis, (label, sets) in zip(axes.flat, kept.items(), strict=False):
            _panel(axis, sets, style[label])
            axis.set_title(folded(label), fontsize=7)
        for axis in axes.flat[len(kept) :]:
            axis.set_axis_off()
        figure.supylabel("Jaccard index of kept patches", fontsize=8)
        figure.supxlabel(f"after block ({_sizes(kept)}; shaded: lowest to highest pair of seeds)", fontsize=7)
        keys = [
            Line2D([], [], color="0.2", marker="o", markersize=3, label="one image, two seeds"),
            Line2D([], [], color="0.2", linestyle="--", label="one seed, two images"),
            Line2D([], [], color="0.2", linestyle=":", label="chance: random sets of those sizes"),
        ]
        figure.legend(handles=keys, loc="outside upper center", ncols=3, frameon=False)


def _sizes(kept: dict[str, Kept]) -> str:
    """How many images and seeds the sets are of, in words."""
    seeds = {len(sets) for sets in kept.values()}
    images = {len(cut) for sets in kept.values() for cut in sets.values()}
    return f"{max(images)} images, {'–'.join(map(str, sorted({min(seeds), max(seeds)})))} seeds"


def _panel(axes: Axes, sets: Kept, look: Look) -> None:
    depth = max(len(image) for images in sets.values() for image in images)
    blocks = range(depth)
    seeds, images = ([measure(sets, block) for block in blocks] for measure in (between_seeds, between_images))
    places = np.arange(1, depth + 1)
    options: dict[str, Any] = {"color": look.colour, "markersize": 3.5, "markeredgecolor": "0.2"}
    if all(images):
        axes.plot(places, [np.mean(block, axis=0)[0] for block in images], linestyle="--", **options)
    if all(seeds):
        low, high = ([extreme(block, axis=0)[0] for block in seeds] for extreme in (np.min, np.max))
        axes.fill_between(places, low, high, color=look.colour, alpha=0.2, linewidth=0)
        axes.plot(places, [np.mean(block, axis=0)[0] for block in seeds], marker=look.marker, **options)
    pairs = seeds if all(seeds) else images
    if all(pairs):
        axes.plot(places, [np.mean(block, axis=0)[1] for block in pairs], color="0.2", linestyle=":", linewidth=1)
    axes.set(ylim=(0, 1.03))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.tick_params(labelbottom=True)


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


def compare(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[float, float]:
    """Jaccard index of two kept sets in any one shape, and its expectation for random sets of their sizes."""
    either, sizes = int((first | second).sum()), (int(first.sum()), int(second.sum()))
    found = int((first & second).sum()) / either if either else 1.0
    return found, expected_jaccard(first.size, *sizes)


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


def between_seeds(kept: Kept, block: int) -> Pairs:
    """After a block, counted from 0: for each two seeds, the mean over images."""
    pairs = itertools.combinations(kept.values(), 2)
    return [_mean(zip(first, second, strict=True), block) for first, second in pairs]


def between_images(kept: Kept, block: int) -> Pairs:
    """For each seed, the mean over each two images of one shape: high where patches are chosen by place alone."""
    pairs = (itertools.combinations(images, 2) for images in kept.values())
    alike = [[(one, other) for one, other in own if one.shape == other.shape] for own in pairs]
    return [_mean(own, block) for own in alike if own]


def _mean(pairs: Iterable[tuple[NDArray[np.bool_], NDArray[np.bool_]]], block: int) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean([compare(one[block], other[block]) for one, other in pairs], axis=0)
    return mean
