"""The figure of a study without training: loyalty over multiply-accumulates, a line for each row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import seaborn as sns
from matplotlib.axes import Axes

from suite.errors import UserError
from suite.kinds.off_the_shelf.cells import SMALLER, UNPRUNED
from suite.kinds.off_the_shelf.record import Ends, Line
from suite.kinds.off_the_shelf.scores import METRICS
from suite.report.style import TWO_COLUMNS, canvas, drawable

MARKERS = "osD^vP<X>*hpd8"


def draw_budgets(folder: Path, lines: Sequence[Line], path: Path) -> None:
    """A panel for each metric that rows have; the unpruned model is a dashed line.

    Raises:
        UserError: if no reduced row has run.
    """
    reduced = [line for line in lines if line.row != UNPRUNED and line.found]
    if not reduced:
        raise UserError("no reduced row has run; resume with: suite run")
    names = [name for name in METRICS if any(name in line.found for line in reduced)]
    rows = list(dict.fromkeys(map(_series, reduced)))
    size = (TWO_COLUMNS, 2.6 * -(-len(names) // 2) + 0.16 * (-(-len(rows) // 3)))
    records = [folder / "loyalty.csv"]
    with canvas(path, -(-len(names) // 2), min(2, len(names)), size=size, records=records) as (figure, axes):
        panels = axes.flatten()
        for panel, name in zip(panels, names, strict=False):
            _panel(panel, lines, rows, name)
        for panel in panels[len(names) :]:
            panel.set_visible(False)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)


def _panel(axes: Axes, lines: Sequence[Line], rows: Sequence[str], name: str) -> None:
    metric, colours = METRICS[name], sns.color_palette("colorblind", len(rows))
    for number, row in enumerate(rows):
        own = [line for line in lines if row in (_series(line), _control(line)) and name in line.found]
        own.sort(key=lambda line: line.macs_full or 0)
        found = [[metric.scale * (x or 0) for x in _whole(line.found[name].mean)] for line in own]
        axes.errorbar(
            [(line.macs_full or 0) / 1e9 for line in own],
            [middle for middle, _, _ in found],
            yerr=[[middle - low for middle, low, _ in found], [high - middle for middle, _, high in found]],
            marker=MARKERS[number % len(MARKERS)],
            markersize=3.5,
            elinewidth=0.6,
            color="0.4" if row == SMALLER else colours[number],
            linestyle=":" if row == SMALLER else "-",
            label=drawable(row),
        )
    for line in lines:
        if line.row == UNPRUNED and name in line.found:
            axes.axhline(metric.scale * line.found[name].mean[0], color="0.2", linewidth=0.8, linestyle="--", zorder=0)
    unit = f", {metric.unit}" if metric.unit != "1" else ""
    axes.set(xlabel="GMACs per image, convention: full", ylabel=f"{metric.heading}{unit}")


def _series(line: Line) -> str:
    """The line of the figure that a row is a point of."""
    return SMALLER if line.schedule == SMALLER else line.row


def _control(line: Line) -> str:
    """The same of the unpruned model, which is the largest image too."""
    return SMALLER if line.row == UNPRUNED else ""


def _whole(found: Ends) -> tuple[float, float, float]:
    """An interval of no width where there is none."""
    middle, low, high = found
    return (middle, middle if low is None else low, middle if high is None else high)
