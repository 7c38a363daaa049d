"""Means over seeds, and of differences within a seed, by Student's t: their interval and p say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from suite.report.statistics.significance import DECIMALS

LEVEL = 0.95  # how often intervals are meant to cover what they estimate


@dataclass(frozen=True)
class Interval:
    """An interval at `LEVEL`."""

    low: float
    high: float


@dataclass(frozen=True)
class Mean(Interval):
    """A mean of n values with its interval.

    `p`: that the true mean is 0, two-sided, not corrected; of values without spread that of the exact sign test.
    """

    n: int
    mean: float
    p: float


def mean(values: Sequence[float], comparisons: int = 1) -> Mean | None:
    """The mean of values, one for each seed, with its interval; one value has none: None.

    It covers the true mean, and the true median, in 95 % of all studies if the noise is normal; of other noise
    `results/coverage.csv` has what was measured. Of several `comparisons` all intervals cover theirs at once in 95 % of
    all studies (Bonferroni).

    Raises:
        ValueError: if a value is not finite.
    """
    found = np.round(np.asarray(values, dtype=float), DECIMALS)
    if not np.isfinite(found).all():
        raise ValueError("values must be finite")
    if len(found) < 2:
        return None
    middle, error = float(found.mean()), round(float(found.std(ddof=1)), DECIMALS) / len(found) ** 0.5
    half = float(stats.t.isf((1 - LEVEL) / comparisons / 2, len(found) - 1)) * error
    return Mean(middle - half, middle + half, len(found), middle, _p(middle, error, len(found)))


def share(values: Sequence[float]) -> Interval:
    """Wilson's score interval of a share, of values from 0 to 1, one for each image or group of images.

    Its error is that of values 0 and 1, the largest that values with this mean can have, so that of other values it is
    wider than it had to be; of n equal values it is not empty.

    Raises:
        ValueError: if there are no values.
    """
    if not len(values):
        raise ValueError("no values to take a share of")
    n, middle, z = len(values), float(np.mean(values)), float(stats.norm.isf((1 - LEVEL) / 2))
    centre = (middle + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (middle * (1 - middle) / n + z**2 / (4 * n**2)) ** 0.5
    return Interval(min(middle, max(0.0, centre - half)), max(middle, min(1.0, centre + half)))  # rounding aside


def _p(middle: float, error: float, n: int) -> float:
    if error == 0:
        return 2.0 ** (1 - n) if middle else 1.0
    return float(2 * stats.t.sf(abs(middle) / error, n - 1))
