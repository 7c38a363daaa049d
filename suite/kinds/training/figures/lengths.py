"""Score over the length of training, of studies that train each row for several lengths."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.ticker import NullLocator

from suite.errors import UserError
from suite.kinds.training.figures.looks import Look, looks
from suite.kinds.training.results import Results
from suite.report.style import ONE_COLUMN, canvas, drawable
from suite.study.load import find
from suite.tasks.task import task


def draw_lengths(results: Results, path: Path) -> None:
    """A line for each row; updates on a logarithmic axis, or epochs where the study does not say how many images.

    Raises:
        UserError: if all rows have one length.
    """
    lines = [line for line in results.lines if line.epochs and line.score]
    if len({line.epochs for line in lines}) < 2:
        raise UserError("every row is trained for one length; give the study several `lengths`")
    updates = _updates(results.folder.name)
    style = looks(results.lines)
    with canvas(path, size=(ONE_COLUMN, 3.2), records=results.records()) as (figure, axes):
        axis = axes[0, 0]
        for row in dict.fromkeys(line.row for line in lines):
            own = sorted((line for line in lines if line.row == row), key=lambda line: line.epochs or 0)
            look: Look = style[own[0].label]
            at = [(line.epochs or 0) * updates for line in own]
            found = results.frame[(results.frame["metric"] == task(results.task).headline.last)]
            scores = found[found["row"] == row].groupby("schedule")["value"]
            low, high = ([of.loc[line.schedule] for line in own] for of in (scores.min(), scores.max()))
            axis.fill_between(at, low, high, color=look.colour, alpha=0.25, linewidth=0)
            middle = [line.score.median for line in own if line.score]
            axis.plot(at, middle, color=look.colour, marker=look.marker, markersize=3.5, label=drawable(row))
        axis.set_xscale("log", base=2)
        ticks = sorted({(line.epochs or 0) * updates for line in lines})
        axis.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("updates" if updates > 1 else "epochs")
        axis.set_ylabel(task(results.task).headline.axis)
        figure.legend(loc="outside lower center", ncols=2)


def _updates(name: str) -> int:
    """Updates of an epoch of fine-tuning; 1 where the study's file is gone or does not say how many images."""
    loaded = find(name)
    images = (loaded.study.finetune.images or loaded.study.data.count("train")) if loaded else None
    return math.ceil(images / loaded.study.finetune.batch_size) if loaded and images else 1
