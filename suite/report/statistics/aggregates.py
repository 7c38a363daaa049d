"""Many scores as one number: median, mean, inter-quartile mean, and how far they spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]  # (runs, tasks)
Statistic = Callable[[Scores], float]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles (linear interpolation between order statistics) of n values.

    One value has no spread: `low` and `high` are then the value itself, and no range should be shown.
    """

    median: float
    low: float
    high: float
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Median and inter-quartile range.

    Raises:
        ValueError: if there are no values.
    """
    if not values:
        raise ValueError("no values to take a median of")
    low, middle, high = np.percentile(values, [25, 50, 75])
    return Spread(float(middle), float(low), float(high), len(values))


def median(scores: Scores) -> float:
    """The median over runs, (runs, tasks), averaged over tasks."""
    return float(_medians(scores))


def mean(scores: Scores) -> float:
    """The mean of all scores, (runs, tasks)."""
    return float(_means(scores))


def of_each(statistic: Statistic, many: NDArray[np.float64]) -> NDArray[np.float64]:
    """A statistic of each of many sets of scores, (sets, runs, tasks); of all at once where we know how."""
    if statistic is median or statistic is mean:
        return np.asarray(_medians(many) if statistic is median else _means(many))
    return np.array([statistic(one) for one in many])


def _medians(many: NDArray[np.float64]) -> Any:
    return np.median(many, axis=-2).mean(-1)


def _means(many: NDArray[np.float64]) -> Any:
    return np.mean(many, axis=(-2, -1))


def inter_quartile_mean(scores: Scores) -> float:
    """The mean of the middle half of all scores, (runs, tasks), whatever run and task they are of.

    As in arXiv 2108.13264: a quarter of them, rounded down, is left out at each end. Below four it is the mean.
    """
    return float(stats.trim_mean(scores, 0.25, axis=None))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, gain) that no other point beats in one and equals or beats in the other, by cost."""
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    front, best = [], -np.inf
    for index in order:
        if points[index][1] > best:
            front.append(index)
            best = points[index][1]
    return front
