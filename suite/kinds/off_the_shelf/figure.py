"""The figure of a study without training: loyalty over multiply-accumulates, a line for each row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes

from suite.errors import UserError
from suite.kinds.off_the_shelf.cells import SMALLER, UNPRUNED
from suite.kinds.off_the_shelf.record import Ends, Line
from suite.kinds.off_the_shelf.scores import METRICS
from suite.kinds.off_the_shelf.table import headline
from suite.report.statistics.aggregates import pareto_front
from suite.report.style import TWO_COLUMNS, canvas, drawable

MARKERS = "osD^vP<X>*hpd8"
SPEED = "speed relative to the unpruned model (median of rounds; right is better)"


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
    metric = METRICS[name]
    for number, row in enumerate(rows):
        colour, marker = _look(row, number, len(rows))
        own = [line for line in lines if row in (_series(line), _control(line)) and name in line.found]
        own.sort(key=lambda line: line.macs_full or 0)
        found = [[metric.scale * (x or 0) for x in _whole(line.found[name].mean)] for line in own]
        axes.errorbar(
            [(line.macs_full or 0) / 1e9 for line in own],
            [middle for middle, _, _ in found],
            yerr=[[middle - low for middle, low, _ in found], [high - middle for middle, _, high in found]],
            marker=marker,
            markersize=3.5,
            elinewidth=0.6,
            color=colour,
            linestyle=":" if row == SMALLER else "-",
            label=drawable(row),
        )
    for line in lines:
        if line.row == UNPRUNED and name in line.found:
            axes.axhline(metric.scale * line.found[name].mean[0], color="0.2", linewidth=0.8, linestyle="--", zorder=0)
    unit = f", {metric.unit}" if metric.unit != "1" else ""
    axes.set(xlabel="GMACs per image, convention: full", ylabel=f"{metric.heading}{unit}")


def draw_speeds(folder: Path, lines: Sequence[Line], path: Path) -> None:
    """The score that rows are compared by over speed, with the Pareto front, on which no unreliable timing is.

    Raises:
        UserError: if no row was timed.
    """
    chief = headline(lines)
    timed = [line for line in lines if speed_of(line) is not None and chief in line.found]
    if all(line.row == UNPRUNED for line in timed):
        raise UserError("no row was timed; say how in the study, such as speed: {batch_size: 1}, and suite run")
    rows = list(dict.fromkeys(map(_series, timed)))
    size = (TWO_COLUMNS, 3.2 + 0.16 * (-(-len(rows) // 3)))
    with canvas(path, size=size, records=[folder / "loyalty.csv"]) as (figure, axes):
        for number, row in enumerate(rows):
            _marks(axes[0, 0], [line for line in timed if _series(line) == row], number, len(rows), chief)
        front = front_of(timed, chief)
        speeds, scores = [speed_of(line) or 0 for line in front], [_score(line, chief) for line in front]
        axes[0, 0].step(speeds, scores, where="post", color="0.4", linestyle="--", zorder=0, label="Pareto front")
        unit = f", {METRICS[chief].unit}" if METRICS[chief].unit != "1" else ""
        axes[0, 0].set(xlabel=SPEED, ylabel=f"{METRICS[chief].heading}{unit}")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)


def _marks(axes: Axes, own: Sequence[Line], number: int, of: int, chief: str) -> None:
    """The points of one of so many series, hollow where the timing is unreliable."""
    colour, marker = _look(_series(own[0]), number, of)
    for line in own:
        face = "white" if line.speed_timing_warnings else colour
        axes.plot([speed_of(line) or 0], [_score(line, chief)], marker, color=colour, markerfacecolor=face)
    axes.plot([], [], marker, color=colour, label="unpruned" if own[0].row == UNPRUNED else drawable(_series(own[0])))


def front_of(timed: Sequence[Line], chief: str) -> list[Line]:
    """Those that no other beats in speed and score, the fastest first; no unreliable timing is on it."""
    sure = [line for line in timed if not line.speed_timing_warnings]
    return [sure[at] for at in pareto_front([(-(speed_of(line) or 0), _score(line, chief)) for line in sure])]


def speed_of(line: Line) -> float | None:
    """Images per second over those of the unpruned model, which is 1 for itself."""
    return 1.0 if line.row == UNPRUNED else line.speed


def _score(line: Line, chief: str) -> float:
    return METRICS[chief].scale * line.found[chief].mean[0]


def _look(series: str, number: int, of: int) -> tuple[Any, str]:
    """Colour and marker of one of so many series."""
    colour = (
        "0.4" if series == SMALLER else "0.1" if series == UNPRUNED else sns.color_palette("colorblind", of)[number]
    )
    return colour, MARKERS[number % len(MARKERS)]


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
