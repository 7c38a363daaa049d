"""Many scores as one number: median, inter-quartile mean, and how far they spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]  # (runs,)


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


def inter_quartile_mean(scores: Scores) -> float:
    """The mean of the middle half of the runs.

    As in arXiv 2108.13264: a quarter of them, rounded down, is left out at each end. Below four it is the mean.
    """
    return float(stats.trim_mean(scores, 0.25))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, gain) that no other point beats in one and equals or beats in the other, by cost."""
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    front, best = [], -np.inf
    for index in order:
        if points[index][1] > best:
            front.append(index)
            best = points[index][1]
    return front
