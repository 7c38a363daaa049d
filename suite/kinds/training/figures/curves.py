"""Training curves, a small panel for each row with all others in grey behind it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from suite.errors import UserError
from suite.kinds.training.figures.looks import Look, looks
from suite.kinds.training.results import Results, read_curves
from suite.report.style import ONE_COLUMN, TWO_COLUMNS, canvas, folded
from suite.tasks.task import task

ACROSS = 5  # panels beside each other


def draw_scores(results: Results, path: Path) -> None:
    """Validation score after each epoch."""
    headline = task(results.task).headline
    _draw(results, path, headline.name, headline.axis, comparable=True)


def draw_losses(results: Results, path: Path) -> None:
    """Mean training loss of each epoch; what a method adds to the task's loss is in it, so each row has a scale."""
    _draw(results, path, "loss", "training loss, with what a method adds to it", comparable=False)


def _draw(results: Results, path: Path, metric: str, name: str, comparable: bool) -> None:
    """Median over seeds, and the range of all seeds shaded, of what fine-tuned for two epochs or more.

    Comparable rows share a scale and are drawn in grey behind each other.

    Raises:
        UserError: without curves, or if none has two epochs.
    """
    frame = read_curves(results.folder)
    frame = frame[frame["metric"] == metric]
    rows = results.labelled(frame[frame["kind"] == "accuracy"])
    tables = {
        label: rows[rows["label"] == label].pivot_table(index="epoch", columns="seed", values="value")
        for label in results.labels
    }
    tables = {label: table for label, table in tables.items() if len(table) > 1}
    base = frame[frame["kind"] == "base"].pivot_table(index="epoch", columns="seed", values="value")
    panels = ({"base, not fine-tuned": base} if len(base) > 1 else {}) | tables
    if not panels:
        raise UserError(f"{results.folder / 'curves.csv'} has no training of two epochs or more, so no curve")
    style = looks(results.lines)
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    size = (TWO_COLUMNS if across > 2 else ONE_COLUMN, 0.7 + 1.2 * down + (0.9 if down == 1 else 0))
    records = results.records("curves.csv")
    with canvas(path, down, across, size=size, sharey=comparable, records=records) as (figure, axes):
        for axis, (label, table) in zip(axes.flat, panels.items(), strict=False):
            behind = tables if comparable and label in tables else {}
            _panel(axis, table, style.get(label, Look((0, 0, 0), "o")), behind)
            axis.set_title(folded(label), fontsize=7)
        for axis in axes.flat[len(panels) :]:
            axis.set_axis_off()
        figure.supylabel(name, fontsize=8)
        note = "median over seeds; shaded: from the lowest to the highest seed"
        note += "; grey: medians of the other rows" if comparable else "; each panel has its own scale"
        single = "" if tables else "rows fine-tuned for one epoch have no curve"
        figure.supxlabel(f"epoch ({single or note})", fontsize=7)


def _panel(axes: Axes, table: pd.DataFrame, look: Look, others: dict[str, pd.DataFrame]) -> None:
    for other in others.values():
        middle = other.median(axis=1)
        axes.plot(middle.index, middle, color="0.82", linewidth=0.7, zorder=1)
    axes.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=look.colour, alpha=0.25, linewidth=0)
    middle = table.median(axis=1)
    axes.plot(
        middle.index, middle, color=look.colour, marker=look.marker, markersize=3.5, markeredgecolor="0.2", zorder=3
    )
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.margins(x=0.08, y=0.1)
