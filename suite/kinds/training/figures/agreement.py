"""Which patches are kept: agreement between seeds and between images, block by block, against chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from suite.errors import UserError
from suite.kinds.training.figures.looks import Look, looks
from suite.kinds.training.overlap import Kept, between_images, between_seeds, kept_sets, mean
from suite.kinds.training.results import Results, read_examples
from suite.report.style import TWO_COLUMNS, canvas, folded

ACROSS = 4


def draw_agreement(results: Results, path: Path) -> None:
    """A panel for each row: agreement after each block, between seeds and between images, and chance for both.

    Raises:
        UserError: without examples, or without a method that chooses patches.
    """
    kept = read_kept(results)
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
        figure.supxlabel(f"after block ({sizes(kept)}; shaded: lowest to highest pair of seeds)", fontsize=7)
        keys = [
            Line2D([], [], color="0.2", marker="o", markersize=3, label="one image, two seeds"),
            Line2D([], [], color="0.2", linestyle="--", label="one seed, two images"),
            Line2D([], [], color="0.2", linestyle=":", label="chance: random sets of those sizes"),
        ]
        figure.legend(handles=keys, loc="outside upper center", ncols=3, frameon=False)


def read_kept(results: Results) -> dict[str, Kept]:
    """The kept sets of every row that chooses patches.

    Raises:
        UserError: if there is none, and as `read_examples`.
    """
    kept = kept_sets(results, read_examples(results.folder))
    if not kept:
        raise UserError("no row with examples removes patches by a choice of its own")
    return kept


def sizes(kept: dict[str, Kept]) -> str:
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
        axes.plot(places, [mean(block).found for block in images], linestyle="--", **options)
    if all(seeds):
        low, high = ([extreme(one.found for one in block) for block in seeds] for extreme in (min, max))
        axes.fill_between(places, low, high, color=look.colour, alpha=0.2, linewidth=0)
        axes.plot(places, [mean(block).found for block in seeds], marker=look.marker, **options)
    pairs = seeds if all(seeds) else images
    if all(pairs):
        axes.plot(places, [mean(block).chance for block in pairs], color="0.2", linestyle=":", linewidth=1)
    axes.set(ylim=(0, 1.03))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.tick_params(labelbottom=True)
