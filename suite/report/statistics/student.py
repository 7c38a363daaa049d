"""Means over seeds, and means of differences within a seed, with Student's t: the interval and p say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from suite.report.statistics.significance import DECIMALS


@dataclass(frozen=True)
class Mean:
    """A mean of n values.

    Attributes:
        n, mean: of the values.
        low, high: ends of its interval at `level`.
        p: that the true mean is 0, two-sided, not corrected; None where all values are equal, but not 0.
    """

    n: int
    mean: float
    low: float
    high: float
    level: float
    p: float | None


def mean(values: Sequence[float], level: float = 0.95, comparisons: int = 1) -> Mean | None:
    """The mean of values, with its interval by Student's t; one value has none: None.

    It covers the true mean in `level` of all studies if the noise is normal; of other noise `results/coverage.csv` has
    what was measured. Of several `comparisons` all intervals cover theirs in `level` of all studies (Bonferroni).

    Raises:
        ValueError: if a value is not finite.
    """
    found = np.round(np.asarray(values, dtype=float), DECIMALS)
    if not np.isfinite(found).all():
        raise ValueError("values must be finite")
    if len(found) < 2:
        return None
    middle, error = float(found.mean()), float(found.std(ddof=1)) / len(found) ** 0.5
    half = float(stats.t.ppf(1 - (1 - level) / comparisons / 2, len(found) - 1)) * error
    return Mean(len(found), middle, middle - half, middle + half, level, _p(middle, error, len(found)))


def _p(middle: float, error: float, n: int) -> float | None:
    if error == 0:
        return None if middle else 1.0
    return float(2 * stats.t.sf(abs(middle) / error, n - 1))
