"""Which patches are kept, across layers: agreement after every two blocks, between seeds and within runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from suite.errors import UserError
from suite.kinds.training.figures.agreement import ACROSS, read_kept, sizes
from suite.kinds.training.overlap import Agreement, Kept, between_blocks, changes, returns, within_runs
from suite.kinds.training.results import Results
from suite.report.style import TWO_COLUMNS, canvas, folded

NUMBERED = 6  # blocks of a panel whose cells have room for numbers
NAMED = 6  # blocks of a panel that have room for names
COLOURS, SCALE = "RdBu", Normalize(-1, 1)


def draw_agreement_of_layers(results: Results, path: Path) -> None:
    """A triangle for each row: agreement above chance between one seed after one block and another seed after another.

    Within one run what is kept later was kept before, so that counts alone decide. Only rows whose patches return have
    a triangle of that too.

    Raises:
        UserError: as `draw_agreement`, or with one seed.
    """
    kept = {label: sets for label, sets in read_kept(results).items() if len(sets) > 1}
    if not kept:
        raise UserError("agreement across layers is taken between different seeds, and the study has one")
    tables = {}
    for label, sets in kept.items():
        tables[folded(label)] = across_layers(sets, between_blocks)
        if returns(sets):
            tables[f"{folded(label)}\nwithin one run"] = across_layers(sets, within_runs)
    across = min(ACROSS, len(tables))
    down = -(-len(tables) // across)
    records = results.records("examples.json")
    with canvas(path, down, across, size=(TWO_COLUMNS, 1.0 + 1.9 * down), records=records) as (figure, axes):
        for axis, (title, table) in zip(axes.flat, tables.items(), strict=False):
            _panel(axis, table)
            axis.set_title(title, fontsize=7)
        for axis in axes.flat[len(tables) :]:
            axis.set_axis_off()
        bar = figure.colorbar(ScalarMappable(SCALE, COLOURS), ax=axes, location="top", aspect=40, shrink=0.6)
        bar.set_label("agreement: 0 chance, 1 the most that counts allow")
        figure.supxlabel(f"down: after block of one seed; across: after block of another ({sizes(kept)})", fontsize=7)


def across_layers(kept: Kept, agreement: Callable[[Kept, int, int], Agreement | None]) -> pd.DataFrame:
    """Agreement above chance after two blocks, the later one in the line; NaN above the diagonal, or where it is None.

    Blocks before the first removal are left out, and those that keep what the block before them kept share its line.
    """
    blocks, depth = changes(kept), max(len(image) for images in kept.values() for image in images)
    names = [
        f"{block + 1}–{end}" if end > block + 1 else f"{end}"
        for block, end in zip(blocks, [*blocks[1:], depth], strict=True)
    ]
    table = pd.DataFrame(np.nan, names, names)
    for row, later in enumerate(blocks):
        for column, block in enumerate(blocks[: row + 1]):
            found = agreement(kept, later, block)
            table.iloc[row, column] = found.above_chance if found else np.nan
    return table


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    numbered, step = len(table) <= NUMBERED, -(-len(table) // NAMED)
    sns.heatmap(
        table,
        ax=axes,
        cmap=COLOURS,
        norm=SCALE,
        annot=numbered,
        fmt="+.2f",
        annot_kws={"size": 5.5},
        linewidths=0.5 if numbered else 0,
        square=True,
        cbar=False,
        xticklabels=step,
        yticklabels=step,
    )
    axes.grid(visible=False)
    axes.tick_params(axis="both", rotation=0, labelsize=6, pad=1)
