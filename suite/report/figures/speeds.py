"""The picture of a study of speed: published, measured and by multiply-accumulates, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import seaborn as sns
from matplotlib.axes import Axes

from suite.report.figures.style import canvas
from suite.report.speeds import Line
from suite.report.speeds_table import title
from suite.study.speed_study import UNPRUNED


def draw_speeds(lines: Sequence[Line], path: Path) -> None:
    """A panel for each device: ratios to the unpruned model, measured ones with their inter-quartile range."""
    shown = [line for line in lines if line.row != UNPRUNED and (line.measured or line.ratio)]
    setups = list(dict.fromkeys(line.setup for line in shown))
    most = max(sum(line.setup == setup for line in shown) for setup in setups)
    size = (1.5 + 5.5 * len(setups), 1.0 + 0.19 * most)
    with canvas(path, 1, len(setups), size=size) as (figure, axes):
        for setup, panel in zip(setups, axes[0], strict=True):
            _panel(panel, [line for line in shown if line.setup == setup])
            panel.set(xlabel="speed relative to the unpruned model", title=title(setup))
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)


def _panel(axes: Axes, lines: Sequence[Line]) -> None:
    blue, orange, green = sns.color_palette("colorblind", 3)
    heights = range(len(lines))
    published = [float(line.ratio) if line.ratio else float("nan") for line in lines]
    macs = [line.measured.macs if line.measured else float("nan") for line in lines]
    axes.scatter(macs, heights, marker="|", s=90, color=green, label="by multiply-accumulates")
    axes.scatter(published, heights, marker="D", s=32, facecolors="none", edgecolors=orange, label="published")
    rows = [(height, line.measured) for height, line in zip(heights, lines, strict=True) if line.measured]
    middle = [found.unpruned.median for _, found in rows]
    low = [found.unpruned.median - found.unpruned.low for _, found in rows]
    high = [found.unpruned.high - found.unpruned.median for _, found in rows]
    axes.errorbar(
        middle,
        [height for height, _ in rows],
        xerr=[low, high],
        fmt="o",
        markersize=5,
        capsize=2.5,
        color=blue,
        label="measured (median and IQR)",
    )
    axes.axvline(1.0, color="0.5", linewidth=1, zorder=0)
    axes.set_yticks(list(heights), [f"{line.backbone}: {line.row}" for line in lines])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
