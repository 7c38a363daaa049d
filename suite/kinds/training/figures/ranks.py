"""Mean ranks over seeds in a critical-difference diagram (Demšar, JMLR 7, 2006): bars join what is not told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy import stats

from suite.errors import UserError
from suite.kinds.training.results import Results
from suite.report.statistics import ALPHA, smallest_p
from suite.report.style import TWO_COLUMNS, canvas, looks

FEW = 10  # seeds


@dataclass(frozen=True)
class Ranks:
    """Rows of one schedule ranked in every seed, 1 is best, ties share a mean rank.

    Attributes:
        mean: mean rank of each label, best first.
        seeds: n, how many seeds were ranked.
        p: of Friedman's test (chi-squared) that all rows rank alike; NaN where all scores tie.
        difference: mean ranks that are farther apart differ by Nemenyi's test at `ALPHA`.
        cliques: first and last place, in `mean`, of every longest run that is not told apart.
        left_out: labels without a score in some seed.
    """

    mean: pd.Series[float]
    seeds: int
    p: float
    difference: float
    cliques: list[tuple[int, int]]
    left_out: list[str]

    @property
    def tells(self) -> str:
        """What so few seeds can tell."""
        rows = len(self.mean)
        pairs = rows * (rows - 1) // 2
        nemenyi = f"Nemenyi tells rows apart whose mean ranks differ by more than CD = {self.difference:.1f}"
        nemenyi += f" (of {rows - 1} at most)." if self.difference < rows - 1 else f": more than any can, {rows - 1}."
        smallest = smallest_p(self.seeds)
        enough = "could tell some pairs apart" if smallest_p(self.seeds, pairs) < ALPHA else "can tell no pair apart"
        friedman = "all scores tie, so Friedman's test has no p" if np.isnan(self.p) else f"Friedman's p = {self.p:.2g}"
        if not self.p < ALPHA:
            nemenyi = "By that no rows are told apart, so Nemenyi's test is not asked."
        return (
            f"{'Only ' * (self.seeds < FEW)}n = {self.seeds} seeds; {friedman}. {nemenyi}\n"
            f"Wilcoxon's signed-rank test has p ≥ {smallest:.2g} at n = {self.seeds}: corrected for {pairs} pairs "
            f"(Holm: {ALPHA / pairs:.1g}) it {enough}.\nRanks say nothing of how large a difference is, nor of other "
            "data than these." + (f"\nWithout all seeds, left out: {', '.join(self.left_out)}." * bool(self.left_out))
        )


def rank(scores: pd.DataFrame) -> Ranks:
    """Rank scores, a line for each row and a column for each seed; higher is better.

    Raises:
        UserError: with fewer than two seeds or three rows to compare.
    """
    seeds = scores.shape[1]
    if seeds < 2:
        raise UserError(f"ranks are compared over seeds, and the study has {seeds}; give it more seeds, six or more")
    whole = scores.dropna()
    if len(whole) < 3:
        raise UserError(f"{len(whole)} rows have a score in each of {seeds} seeds; Friedman's test compares three")
    ranks = whole.rank(ascending=False)
    mean = ranks.mean(axis=1).sort_values(kind="stable")
    difference = critical_difference(len(whole), seeds)
    with np.errstate(invalid="ignore"):  # where all scores tie: 0 / 0
        p = float(stats.friedmanchisquare(*whole.to_numpy()).pvalue)
    cliques = not_told_apart(mean.to_numpy(), difference) if p < ALPHA else [(0, len(mean) - 1)]
    return Ranks(mean, seeds, p, difference, cliques, [str(label) for label in scores.index.difference(whole.index)])


def critical_difference(rows: int, seeds: int) -> float:
    """Of mean ranks by Nemenyi's test at `ALPHA`: q * sqrt(k (k + 1) / (6 n)), Demšar's section 3.2.2."""
    q = stats.studentized_range.ppf(1 - ALPHA, rows, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(rows * (rows + 1) / (6 * seeds)))


def not_told_apart(ranks: Sequence[float] | NDArray[np.float64], difference: float) -> list[tuple[int, int]]:
    """First and last place of every longest run of sorted ranks that spans at most `difference`."""
    runs: list[tuple[int, int]] = []
    for first, low in enumerate(ranks):
        last = max(place for place, high in enumerate(ranks) if high - low <= difference)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def draw_ranks(results: Results, path: Path) -> None:
    """A diagram for each schedule, the unpruned model in all of them; a schedule without one says why below them.

    Raises:
        UserError: as `rank`, if no schedule has one; if no reduced row has a score.
    """
    scores = results.scores()
    unpruned = [line.label for line in results.lines if line.method == "none"]
    schedules = sorted({line.schedule for line in results.lines if line.method != "none"})
    found: dict[str, Ranks] = {}
    reasons: dict[str, UserError] = {}
    for schedule in schedules:
        own = [line.label for line in results.lines if line.schedule == schedule]
        wanted = set(unpruned) | set(own)
        try:
            found[schedule] = rank(scores.loc[[label for label in scores.index if label in wanted]])
        except UserError as error:
            reasons[schedule] = error
    if not found:
        raise next(iter(reasons.values()), UserError("no reduced row has a score yet; go on with suite run"))
    heights = [1.35 + 0.095 * len(ranks.mean) + 0.07 * len(ranks.cliques) for ranks in found.values()]
    size, records = (TWO_COLUMNS, sum(heights)), results.records()
    with canvas(path, len(found), 1, size=size, height_ratios=heights, records=records) as (figure, axes):
        colours = {label: look.colour for label, look in looks(results.lines).items()}
        for axis, (schedule, ranks) in zip(axes[:, 0], found.items(), strict=True):
            _diagram(axis, ranks, colours)
            if len(schedules) > 1:
                axis.set_title(f"schedule {schedule}")
        if reasons:
            said = [f"schedule {schedule}: not drawn, {reason}" for schedule, reason in reasons.items()]
            figure.supxlabel("\n".join(said), fontsize=7)


def _diagram(axes: Axes, ranks: Ranks, colours: dict[str, tuple[float, float, float]]) -> None:
    count, deep = len(ranks.mean), 0.9 + 0.55 * len(ranks.cliques)
    half = (count + 1) // 2
    for place, (label, mean) in enumerate(ranks.mean.items()):
        left = place < half
        level = -(deep + 0.9 * (place if left else count - 1 - place))
        side = 0.7 if left else count + 0.3
        axes.plot([mean, mean, side], [0, level, level], color=colours[str(label)], linewidth=0.9)
        axes.plot(mean, 0, "o", color=colours[str(label)], markersize=3, zorder=3)
        axes.text(
            side + (-0.1 if left else 0.1),
            level,
            f"{label}  {mean:.1f}" if left else f"{mean:.1f}  {label}",
            ha="right" if left else "left",
            va="center",
            fontsize=7.5,
        )
    for place, (first, last) in enumerate(ranks.cliques):
        ends = [ranks.mean.iloc[first] - 0.08, ranks.mean.iloc[last] + 0.08]
        axes.plot(ends, [-0.5 - 0.55 * place] * 2, color="black", linewidth=3, solid_capstyle="butt", zorder=2)
    axes.plot([1, count], [0, 0], color="black", linewidth=0.8)
    for tick in range(1, count + 1):
        axes.plot([tick, tick], [0, 0.25], color="black", linewidth=0.8)
        axes.text(tick, 0.4, str(tick), ha="center", va="bottom", fontsize=7)
    _scale(axes, ranks, count)
    bottom = -(deep + 0.9 * half)
    axes.text((count + 1) / 2, bottom, ranks.tells, ha="center", va="top", fontsize=7)
    axes.set(xlim=(-0.32 * count, 1.36 * count), ylim=(bottom - 3, 3.4))
    axes.set_axis_off()


def _scale(axes: Axes, ranks: Ranks, count: int) -> None:
    """The critical difference as a length above the axis, cut at its end."""
    end = 1 + min(ranks.difference, count - 1)
    axes.plot([1, 1, 1, end, end, end], [1.9, 2.4, 2.15, 2.15, 1.9, 2.4], color="black", linewidth=0.8)
    shown = f"CD = {ranks.difference:.1f}" + (" (longer than the axis)" if ranks.difference > count - 1 else "")
    axes.text((1 + end) / 2, 2.35, shown, ha="center", va="bottom", fontsize=7)
    axes.text(count + 0.4, 0.1, "mean rank over seeds,\n1 is best", ha="left", va="center", fontsize=7)
