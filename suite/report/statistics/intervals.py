"""Bootstrap intervals over seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy import stats

from suite.report.statistics.aggregates import Scores, Statistic

DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval.

    Attributes:
        low, high: its ends.
        level: how often such intervals are meant to cover what they estimate.
        reachable: the most often that they can, with so few scores, and 1 where no such bound is known; below `level`
            the interval is too narrow.
    """

    low: float
    high: float
    level: float
    reachable: float = 1.0


def interval(
    scores: Scores, statistic: Statistic, generator: Generator, level: float = 0.95, draws: int = DRAWS
) -> Interval | None:
    """A percentile bootstrap interval of a statistic of scores, (runs, tasks), stratified over tasks.

    In each draw every task's runs are drawn anew, with replacement; the ends are quantiles of the statistic over the
    draws (scipy.stats.bootstrap).

    One run has no interval: None. Few runs have one that is too narrow. It never leaves the range of the scores, so
    if all n of them lie on one side of the truth, which happens once in 2**(n-1), it misses: `reachable` is
    1 - 2**(1 - n). Measured on normal scores of one task (400 studies), intervals of level 0.95 cover the median in
    46, 74, 95, 95, 97, 95 % and the mean in 50, 75, 87, 84, 88, 93 % of studies of 2, 3, 5, 6, 10, 20 runs.
    Intervals corrected for bias and acceleration (BCa) did no better there: 53, 76, 93, 93, 93, 95 % and 53, 72, 84,
    85, 89, 94 %.

    Raises:
        ValueError: if scores are not (runs, tasks) or not finite, or the level is not between 0 and 1.
    """
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite and of shape (runs, tasks), not {scores.shape}")
    if not 0 < level < 1:
        raise ValueError(f"a level of {level} is not between 0 and 1")
    if len(scores) < 2:
        return None

    def drawn(*tasks: Any, axis: int) -> Any:
        """The statistic of each draw; `tasks` are arrays (..., runs)."""
        every = np.stack(tasks, axis=-1).reshape(-1, *scores.shape)
        return np.array([statistic(one) for one in every]).reshape(tasks[0].shape[:axis])

    found = stats.bootstrap(
        tuple(scores.T), drawn, n_resamples=draws, confidence_level=level, method="percentile", rng=generator
    ).confidence_interval
    return Interval(float(found.low), float(found.high), level, 1 - 2.0 ** (1 - scores.size))
