"""The picture of a study: accuracy against speed and against MACs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes

from suite.report.statistics import pareto_front
from suite.report.summary import Line

MARKERS = "osD^vP<>X*hpd"
SCORE = {"classification": "top-1 accuracy, %", "segmentation": "mean intersection over union, %"}


def draw_pareto(lines: Sequence[Line], path: Path) -> None:
    """Accuracy (median and inter-quartile range over seeds) against speed and against GMACs, with the Pareto front."""
    sns.set_theme(context="paper", style="whitegrid", font_scale=1.15)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    colours = sns.color_palette("colorblind", len(lines))
    style = {line: (colours[index], MARKERS[index % len(MARKERS)]) for index, line in enumerate(lines)}
    _panel(axes[0], style, lambda line: line.speed.median if line.speed else None, faster_is_right=True)
    _panel(axes[1], style, lambda line: line.macs / 1e9 if line.macs is not None else None, faster_is_right=False)
    score = f"{SCORE[lines[0].task]}\n(median and IQR over seeds)"
    axes[0].set(xlabel="speed relative to the unpruned model", ylabel=score)
    axes[1].set(xlabel="GMACs per image (convention: full)")
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def _panel(
    axes: Axes,
    style: dict[Line, tuple[tuple[float, float, float], str]],
    cost: Callable[[Line], float | None],
    faster_is_right: bool,
) -> None:
    points = []
    for line, (colour, marker) in style.items():
        where = cost(line)
        if where is None or line.accuracy is None:
            continue
        accuracy = line.accuracy
        error = [[accuracy.median - accuracy.low], [accuracy.high - accuracy.median]]
        axes.errorbar(
            where,
            accuracy.median,
            error,
            fmt=marker,
            color=colour,
            markersize=8,
            markeredgecolor="0.25",
            capsize=3,
            label=line.label,
        )
        points.append((-where if faster_is_right else where, accuracy.median))
    front = [points[index] for index in pareto_front(points)]
    steps = [(abs(x), y) for x, y in front]
    axes.plot([x for x, _ in steps], [y for _, y in steps], color="0.5", linestyle="--", zorder=0, label="Pareto front")
