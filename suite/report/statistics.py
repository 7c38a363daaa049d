"""Statistics over seeds; every table and figure takes them from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Median and quartiles (linear interpolation between order statistics) of n values."""

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
    low, median, high = np.percentile(values, [25, 50, 75])
    return Spread(float(median), float(low), float(high), len(values))


def seeds_won(scores: Mapping[int, float], control: Mapping[int, float]) -> tuple[int, int]:
    """In how many of the seeds that both have the score is higher than the control's, and how many those are."""
    shared = sorted(scores.keys() & control.keys())
    return sum(scores[seed] > control[seed] for seed in shared), len(shared)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, gain) that no other point beats in one and equals or beats in the other, by cost."""
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    front, best = [], -np.inf
    for index in order:
        if points[index][1] > best:
            front.append(index)
            best = points[index][1]
    return front
