"""Score against speed and against multiply-accumulates, with the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from suite.errors import UserError
from suite.kinds.training.figures.looks import Look, looks
from suite.kinds.training.line import Line
from suite.kinds.training.results import Results
from suite.report.statistics.aggregates import Spread, pareto_front
from suite.report.style import TWO_COLUMNS, canvas
from suite.tasks.task import task

HOLLOW = "hollow: unreliable timing, not on the front"
FRONT = "Pareto front"
NO_FRONT = "no Pareto front: no reliable timing"


@dataclass(frozen=True)
class _Cost:
    """What a panel has on its horizontal axis.

    Attributes:
        name: of the axis.
        sign: 1 where less is better, -1 where more is.
        of: the value of a line; None where it has none.
        reliable: whether nothing speaks against that value.
    """

    name: str
    sign: int
    of: Callable[[Line], Spread | None]
    reliable: Callable[[Line], bool]


def draw_pareto(results: Results, path: Path) -> None:
    """Median and inter-quartile range over seeds, against what was measured of speed and of MACs.

    An unreliable speed is drawn hollow and is not on the front.

    Raises:
        UserError: if no line has a score and a cost.
    """
    lines = results.lines
    costs = [cost for cost in _costs(lines) if any(line.score and cost.of(line) for line in lines)]
    if not costs:
        raise UserError("no row has both a score and a speed or MACs; resume with: suite run")
    size = (TWO_COLUMNS, 3.6)
    with canvas(path, 1, len(costs), size=size, sharey=True, records=results.records()) as (figure, axes):
        named: dict[str, Any] = {}
        for axis, cost in zip(axes[0], costs, strict=True):
            _panel(axis, lines, looks(lines), cost)
            handles, labels = axis.get_legend_handles_labels()
            named |= dict(zip(labels, handles, strict=True))  # multiply-accumulates come last: their marks are filled
        axes[0, 0].set(ylabel=f"{task(lines[0].task).headline.axis}\n(median and IQR over seeds)")
        named |= {HOLLOW: named.pop(HOLLOW)} if HOLLOW in named else {}  # to the end
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, frameon=False)


def _costs(lines: Sequence[Line]) -> Iterator[_Cost]:
    """Speed and multiply-accumulates, in such a unit that the largest number is at least a tenth of it."""
    speed = "speed relative to the unpruned model\n(median and IQR of rounds; right is better)"
    yield _Cost(speed, -1, lambda line: line.speed, lambda line: not line.timing_warnings)
    largest = max((line.macs for line in lines if line.macs is not None), default=0)
    unit, scale = ("GMACs", 1e9) if largest >= 1e8 else ("MMACs", 1e6)

    def macs(line: Line) -> Spread | None:
        value = None if line.macs is None else line.macs / scale
        return None if value is None else Spread(value, value, value, 1)

    yield _Cost(f"{unit} per image, convention: full\n(left is better)", 1, macs, lambda _: True)


def _panel(axes: Axes, lines: Sequence[Line], style: dict[str, Look], cost: _Cost) -> None:
    points, hollow = [], False
    for line in sorted(lines, key=lambda line: -line.score.median if line.score else 0.0):
        where, score = cost.of(line), line.score
        if where is None or score is None:
            continue
        _mark(axes, line.label, where, score, style[line.label], cost.reliable(line))
        if cost.reliable(line):
            points.append((cost.sign * where.median, score.median))
        else:
            hollow = True
    front = [points[index] for index in pareto_front(points)]
    if front:
        # A step, because between two models there is no third: until the next cost only the cheaper score can be had.
        axes.step(
            [abs(x) for x, _ in front],
            [y for _, y in front],
            where="post",
            color="0.4",
            linestyle="--",
            linewidth=0.9,
            zorder=0,
            label=FRONT,
        )
    axes.set_title(_about_front(len(front), len(points), hollow), fontsize=7)
    if hollow:
        axes.plot([], [], "o", markersize=5.5, markerfacecolor="white", markeredgecolor="0.2", label=HOLLOW)
    axes.set(xlabel=cost.name)
    axes.margins(0.07)


def _about_front(rows: int, of: int, hollow: bool) -> str:
    """What is said of a front of so many rows of those with a reliable cost, where no line can show it."""
    if not of:
        return NO_FRONT
    if of == 1:
        return "no Pareto front: one reliable timing" if hollow else ""
    if rows == 1:
        return "Pareto front: one row beats all others" + (" with reliable timings" if hollow else "")
    return ""


def _mark(axes: Axes, label: str, where: Spread, score: Spread, look: Look, reliable: bool) -> None:
    """A row with its inter-quartile ranges; hollow where its cost is unreliable."""
    filled: dict[str, Any] = {"markeredgecolor": "0.2", "markeredgewidth": 0.6}
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": look.colour, "markeredgewidth": 1.2}
    axes.errorbar(
        where.median,
        score.median,
        yerr=[[score.median - score.low], [score.high - score.median]],
        xerr=[[where.median - where.low], [where.high - where.median]],
        fmt=look.marker,
        color=look.colour,
        markersize=5.5,
        elinewidth=0.9,
        label=label,
        **(filled if reliable else hollow),
    )
