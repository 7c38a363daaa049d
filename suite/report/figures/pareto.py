"""Score against speed and against multiply-accumulates, with the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from suite.errors import UserError
from suite.report.figures.style import SCORE, TWO_COLUMNS, Look, canvas, looks
from suite.report.statistics import Spread, pareto_front
from suite.report.summary import Line


def draw_pareto(lines: Sequence[Line], path: Path) -> None:
    """Median and inter-quartile range over seeds, against what was measured of speed and of MACs.

    Raises:
        UserError: if no line has a score and a cost.
    """
    unit, scale = _unit(lines)
    costs: dict[str, Callable[[Line], Spread | None]] = {
        "speed relative to the unpruned model\n(median and IQR of rounds; right is better)": lambda line: line.speed,
        f"{unit} per image, convention: full\n(left is better)": lambda line: (
            None if line.macs is None else Spread(line.macs / scale, line.macs / scale, line.macs / scale, 1)
        ),
    }
    costs = {
        name: cost for name, cost in costs.items() if any(cost(line) is not None and line.accuracy for line in lines)
    }
    if not costs:
        raise UserError("no row has both a score and a speed or MACs; go on with suite run")
    with canvas(path, 1, len(costs), size=(TWO_COLUMNS, 3.6), sharey=True) as (figure, axes):
        for place, (name, cost) in enumerate(costs.items()):
            _panel(axes[0, place], lines, looks(lines), cost, -1 if name.startswith("speed") else 1)
            axes[0, place].set(xlabel=name)
        axes[0, 0].set(ylabel=f"{SCORE[lines[0].task]}\n(median and IQR over seeds)")
        handles, labels = max((axis.get_legend_handles_labels() for axis in axes[0]), key=lambda both: len(both[1]))
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)


def _unit(lines: Sequence[Line]) -> tuple[str, float]:
    """In what MACs are counted: the largest number is at least a tenth of it."""
    largest = max((line.macs for line in lines if line.macs is not None), default=0)
    return ("GMACs", 1e9) if largest >= 1e8 else ("MMACs", 1e6)


def _panel(
    axes: Axes,
    lines: Sequence[Line],
    style: dict[str, Look],
    cost: Callable[[Line], Spread | None],
    sign: int,
) -> None:
    points = []
    for line in sorted(lines, key=lambda line: -line.accuracy.median if line.accuracy else 0.0):
        where, score, look = cost(line), line.accuracy, style[line.label]
        if where is None or score is None:
            continue
        axes.errorbar(
            where.median,
            score.median,
            yerr=[[score.median - score.low], [score.high - score.median]],
            xerr=[[where.median - where.low], [where.high - where.median]],
            fmt=look.marker,
            color=look.colour,
            markersize=5.5,
            markeredgecolor="0.2",
            markeredgewidth=0.6,
            elinewidth=0.9,
            label=line.label,
        )
        points.append((sign * where.median, score.median))
    front = [points[index] for index in pareto_front(points)]
    # A step, because between two models there is no third: until the next cost only the cheaper score can be had.
    axes.step(
        [abs(x) for x, _ in front],
        [y for _, y in front],
        where="post",
        color="0.4",
        linestyle="--",
        linewidth=0.9,
        zorder=0,
        label="Pareto front",
    )
    axes.margins(0.07)
