"""Which patches are kept: agreement between seeds, images, blocks and rows, against chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from suite.errors import UserError
from suite.kinds.training.overlap import Kept, between_images, between_rows, between_seeds, kept_sets, mean
from suite.kinds.training.results import Results, read_examples
from suite.report.style import TWO_COLUMNS, Look, canvas, folded, looks

ACROSS = 4


def draw_agreement(results: Results, path: Path) -> None:
    """A panel for each row: agreement after each block, between seeds and between images, and chance for both.

    Agreement between blocks is a figure of its own, `layers.draw_agreement_of_layers`.

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


def draw_agreement_of_rows(results: Results, path: Path) -> None:
    """A square: agreement above chance after the last block, between rows of different seeds.

    The diagonal is one row's own seeds, so it says how much agreement there could be.

    Raises:
        UserError: as `draw_agreement`, or with one seed.
    """
    kept = read_kept(results)
    found = {(one, two): between_rows(first, second, -1) for one, first in kept.items() for two, second in kept.items()}
    if not any(found.values()):
        raise UserError("agreement between rows is taken between different seeds, and the study has one")
    values = [[agreement.above_chance if (agreement := found[one, two]) else np.nan for two in kept] for one in kept]
    table = pd.DataFrame(values, index=list(kept), columns=[folded(label) for label in kept])
    mask = np.triu(np.ones(table.shape, bool), 1)
    side = min(TWO_COLUMNS, 2.6 + 0.42 * len(kept))
    with canvas(path, size=(side, 0.78 * side + 0.3), records=results.records("examples.json")) as (figure, axes):
        sns.heatmap(
            table,
            ax=axes[0, 0],
            mask=mask,
            cmap="RdBu",
            vmin=-1,
            vmax=1,
            annot=True,
            fmt="+.2f",
            annot_kws={"size": 6.5},
            linewidths=0.5,
            cbar_kws={"label": "agreement: 0 chance, 1 the most that counts allow", "shrink": 0.8},
        )
        axes[0, 0].set(ylabel="", xlabel="")
        axes[0, 0].grid(visible=False)
        axes[0, 0].tick_params(axis="x", rotation=90, labelsize=6.5)
        axes[0, 0].tick_params(axis="y", rotation=0)
        axes[0, 0].set_title("patches kept to the end by models of different seeds", fontsize=8)
        figure.supxlabel(f"diagonal: seeds of one row ({sizes(kept)})", fontsize=7)


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
