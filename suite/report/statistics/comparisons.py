"""Two methods, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import stats

from suite.report.statistics.aggregates import Scores
from suite.report.statistics.intervals import LEVEL, Interval, interval
from suite.report.statistics.significance import signed_rank_p, signed_rank_side


@dataclass(frozen=True)
class Comparison:
    """A method against a control, in the seeds that both have.

    Attributes:
        n: how many those are.
        gap: the median over seeds of the method's score less the control's.
        interval: of the gap; None with one seed.
        p: of Wilcoxon's signed-rank test, two-sided and exact, not corrected; None with one seed, which is no test.
        improvement: the probability of improvement.
        improvement_interval: None with one seed.
        side: 1 if the test finds the method above the control, -1 if below, 0 if neither: the side of the ranks, which
            the median gap can miss where most seeds tie.
    """

    n: int
    gap: float
    interval: Interval | None
    p: float | None
    improvement: float
    improvement_interval: Interval | None = None
    side: int = 0


def compare(scores: Mapping[int, float], control: Mapping[int, float], generator: Generator) -> Comparison:
    """Compare scores by seed.

    Raises:
        ValueError: if no seed has both.
    """
    shared = sorted(scores.keys() & control.keys())
    if not shared:
        raise ValueError("no seed has a score of both")
    own, other = (np.array([of[seed] for seed in shared]) for of in (scores, control))
    gaps = own - other
    return Comparison(
        n=len(shared),
        gap=float(np.median(gaps)),
        interval=interval(gaps, generator),
        p=signed_rank_p(gaps.tolist()) if len(shared) > 1 else None,
        improvement=probability_of_improvement(own, other),
        improvement_interval=_improvement_interval(own, other),
        side=signed_rank_side(gaps.tolist()),
    )


def probability_of_improvement(scores: Scores, control: Scores) -> float:
    """How probable it is that a run is above a run of the control, (runs,) and (other runs,); a tie counts one half.

    Mann and Whitney's U as a share of its largest value, from the sum of ranks (arXiv 2108.13264, of one task).
    """
    runs = len(scores)
    ranks = stats.rankdata(np.concatenate([scores, control]))[:runs].sum()
    return float((ranks - runs * (runs + 1) / 2) / (runs * len(control)))


def _improvement_interval(own: Scores, other: Scores) -> Interval | None:
    """Clopper and Pearson's, with the share of pairs won as that of n seeds won; None with one seed.

    A share of pairs spreads at most as widely as that of n coins where seeds are independent of each other, so the
    interval is too wide rather than too narrow: in 2000 studies of normal scores it covered shares of 0.5 and 0.92 in
    99 to 100 % with 2 to 10 seeds.
    """
    n = len(own)
    if n < 2:
        return None
    won, tail = n * probability_of_improvement(own, other), (1 - LEVEL) / 2
    low = 0.0 if won == 0 else float(stats.beta.ppf(tail, won, n - won + 1))
    high = 1.0 if won == n else float(stats.beta.ppf(1 - tail, won + 1, n - won))
    return Interval(low, high)
