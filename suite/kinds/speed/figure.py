"""The figure of a study of speed: published, measured and by multiply-accumulates, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes

from suite.errors import UserError
from suite.kinds.speed.lines import Line
from suite.kinds.speed.table import title
from suite.measure.timing_options import UNPRUNED
from suite.report.style import canvas, drawable

MEASURED = "measured (median and IQR)"
UNRELIABLE = "measured, unreliable timing"
PUBLISHED = "published"
SECOND_HAND = "published, read in a text about the source"


def draw_speeds(_folder: Path, lines: Sequence[Line], path: Path) -> None:
    """A panel for each device: ratios to the unpruned model, measured ones with their inter-quartile range.

    A measured ratio with unreliable timing is drawn hollow. The lines are of `rounds.csv`, which lies beside `path`.

    UserError if no reduced row is measured or published.
    """
    shown = [line for line in lines if line.row != UNPRUNED and (line.measured or line.ratio)]
    if not shown:
        raise UserError("no reduced row is measured or has a published speed-up; resume with: suite run")
    setups = list(dict.fromkeys(line.setup for line in shown))
    most = max(sum(line.setup == setup for line in shown) for setup in setups)
    size = (1.5 + 5.5 * len(setups), 1.0 + 0.19 * most)
    records = [path.with_name("rounds.csv")]
    with canvas(path, 1, len(setups), size=size, records=records) as (figure, axes):
        named: dict[str, Any] = {}
        for setup, panel in zip(setups, axes[0], strict=True):
            _panel(panel, [line for line in shown if line.setup == setup])
            panel.set(xlabel="speed relative to the unpruned model", title=title(setup))
            handles, labels = panel.get_legend_handles_labels()
            named |= dict(zip(labels, handles, strict=True))
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=2, frameon=False)


def _panel(axes: Axes, lines: Sequence[Line]) -> None:
    blue, orange, green = sns.color_palette("colorblind", 3)
    heights = range(len(lines))
    macs = [line.measured.macs if line.measured else float("nan") for line in lines]
    axes.scatter(macs, heights, marker="|", s=90, color=green, label="by multiply-accumulates")
    for second_hand, marker, label in ((False, "D", PUBLISHED), (True, "s", SECOND_HAND)):
        beside = [
            (float(line.ratio.text), height)
            for line, height in zip(lines, heights, strict=True)
            if line.ratio and line.second_hand == second_hand
        ]
        if beside:
            ratios, places = zip(*beside, strict=True)
            axes.scatter(ratios, places, marker=marker, s=32, facecolors="none", edgecolors=orange, label=label)
    rows = [(height, line.measured) for height, line in zip(heights, lines, strict=True) if line.measured]
    for timing_warnings, label in ((False, MEASURED), (True, UNRELIABLE)):
        own = [(height, found.unpruned) for height, found in rows if bool(found.timing_warnings) == timing_warnings]
        if own:
            axes.errorbar(
                [times.median for _, times in own],
                [height for height, _ in own],
                xerr=[[times.median - times.low for _, times in own], [times.high - times.median for _, times in own]],
                fmt="o",
                markersize=5,
                capsize=2.5,
                color=blue,
                markerfacecolor="white" if timing_warnings else blue,
                label=label,
            )
    axes.axvline(1.0, color="0.5", linewidth=1, zorder=0)
    axes.set_yticks(list(heights), [drawable(f"{line.backbone}: {line.row}") for line in lines])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
