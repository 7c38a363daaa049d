"""What the scores of patches follow while a method trains: the position, or what is shown."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.ticker import MaxNLocator

from suite.errors import UserError
from suite.kinds.training.figures.looks import looks
from suite.kinds.training.results import Results, read_curves
from suite.report.style import TWO_COLUMNS, canvas

PANELS = {  # what `measure.scores` calls them, and a factor that makes them what the axis says
    "position_share": ("variance of scores that\nthe position explains, %", 100),
    "foreground_correlation": ("correlation of scores\nwith objects", 1),
    "foreground_kept": ("patches with an object\nthat are left, %", 1),
    "direction_cosine": ("cosine of the summed queries\nwith where they began", 1),
    "auxiliary_accuracy": ("accuracy of auxiliary heads,\nmean over classes, %", 1),
}
ACROSS = 3  # panels beside each other


def draw_track(results: Results, path: Path) -> None:
    """A panel for each fact, a line for each row: median over seeds of the mean over blocks.

    Raises:
        UserError: if the study did not ask for it.
    """
    frame = results.labelled(read_curves(results.folder))
    parts = frame["metric"].str.extract(r"^(\w+)/(\d+)$")
    frame = frame.assign(fact=parts[0], block=pd.to_numeric(parts[1])).dropna(subset="fact")
    shown = {name: panel for name, panel in PANELS.items() if (frame["fact"] == name).any()}
    if not shown:
        raise UserError(f"{results.folder / 'curves.csv'} says nothing about scores; set track_scores: true")
    style, records = looks(results.lines), results.records("curves.csv")
    down = -(-len(shown) // ACROSS)
    with canvas(path, down, ACROSS, size=(TWO_COLUMNS, 0.8 + 2.0 * down), records=records) as (figure, axes):
        for axis, (name, (title, factor)) in zip(axes.flat, shown.items(), strict=False):
            for label, own in frame[frame["fact"] == name].groupby("label", sort=False):
                middle = _over_epochs(own, name) * factor
                look = style[str(label)]
                axis.plot(middle.index, middle, color=look.colour, marker=look.marker, markersize=3, label=label)
            axis.set_title(title, fontsize=7)
            axis.set_xlabel("epoch", fontsize=7)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axis in axes.flat[len(shown) :]:
            axis.set_axis_off()
        found = {
            label: line for axis in axes.flat for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=3)


def _over_epochs(own: pd.DataFrame, name: str) -> pd.Series[float]:
    if name == "foreground_kept":
        own = own[own["block"] == own["block"].max()]
    return own.groupby(["seed", "epoch"])["value"].mean().groupby("epoch").median()
