"""Which patches are kept, across layers: agreement after every two blocks, between seeds and within runs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from suite.errors import UserError
from suite.report.figures.agreement import ACROSS, read_kept, sizes
from suite.report.figures.style import TWO_COLUMNS, canvas, folded
from suite.report.overlap import Kept, between_blocks, changes, returns, within_runs
from suite.report.recorded import Results

NUMBERED = 6  # blocks of a panel whose cells have room for numbers
COLOURS, SCALE = "RdBu", Normalize(-1, 1)


def draw_agreement_of_layers(results: Results, path: Path) -> None:
    """A square for each row: agreement above chance after every two blocks.

    On and below the diagonal between two seeds: within one run what is kept later was kept before, so that counts alone
    would decide it. Only of rows whose patches return is it drawn within runs too, above the diagonal. Blocks before
    the first removal are left out, and those that keep what the block before them kept share its line.

    Raises:
        UserError: as `draw_agreement`, or with one seed.
    """
    kept = {label: sets for label, sets in read_kept(results).items() if len(sets) > 1}
    if not kept:
        raise UserError("agreement across layers is taken between different seeds, and the study has one")
    across = min(ACROSS, len(kept))
    down = -(-len(kept) // across)
    with canvas(path, down, across, size=(TWO_COLUMNS, 1.0 + 1.95 * down)) as (figure, axes):
        for axis, (label, sets) in zip(axes.flat, kept.items(), strict=False):
            _panel(axis, sets)
            axis.set_title(folded(label), fontsize=7)
        for axis in axes.flat[len(kept) :]:
            axis.set_axis_off()
        bar = figure.colorbar(ScalarMappable(SCALE, COLOURS), ax=axes, location="top", aspect=40, shrink=0.6)
        bar.set_label("agreement: 0 chance, 1 the most that counts allow")
        above = "; above the stairs: one run, whose patches return" if any(map(returns, kept.values())) else ""
        figure.supxlabel(f"after block, and after block of another seed{above} ({sizes(kept)})", fontsize=7)


def across_layers(kept: Kept) -> pd.DataFrame:
    """Agreement above chance, a line and a column for each block after which another set is kept than before.

    On and below the diagonal between seeds; above it within runs, NaN where no patch returns.
    """
    blocks = changes(kept)
    come_back = returns(kept)

    def agreement(row: int, column: int) -> float:
        if row < column:
            return within_runs(kept, row, column).above_chance if come_back else float("nan")
        found = between_blocks(kept, row, column)
        return found.above_chance if found else float("nan")

    ends = [*blocks[1:], max(len(image) for images in kept.values() for image in images)]
    names = [f"{block + 1}" if end == block + 1 else f"{block + 1}–{end}" for block, end in zip(blocks, ends)]
    return pd.DataFrame([[agreement(row, column) for column in blocks] for row in blocks], names, names)


def _panel(axes: Axes, kept: Kept) -> None:
    table = across_layers(kept)
    count = len(table)
    sns.heatmap(
        table,
        ax=axes,
        cmap=COLOURS,
        norm=SCALE,
        annot=table.map("{:+.2f}".format) if count <= NUMBERED else None,
        fmt="",
        annot_kws={"size": 5.5},
        linewidths=0.5 if count <= NUMBERED else 0,
        square=True,
        cbar=False,
    )
    axes.grid(visible=False)
    axes.tick_params(axis="both", rotation=0, labelsize=6, pad=1)
    if returns(kept):
        corners = [(place, place - 1) for place in range(1, count + 1)]
        axes.plot(*zip(*corners), color="0.2", drawstyle="steps-post", linewidth=1)
