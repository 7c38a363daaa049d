"""Wilcoxon's signed ranks, and the correction of many p at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ALPHA = 0.05
EXACT = 100  # differences
DECIMALS = 9  # of a difference; 85.45 - 85.4 and 85.4 - 85.35 are the same


def signed_rank_p(differences: Sequence[float]) -> float:
    """The two-sided p of Wilcoxon's signed-rank test, exact up to `EXACT` differences, ties among them or not.

    Under the null hypothesis each difference has either sign with probability one half; zeros are left out. Equal
    differences share the mean of their ranks. (scipy.stats.wilcoxon is exact without ties, or for few differences.)
    More differences go by scipy's normal approximation, which is then within 0.002.

    Raises:
        ValueError: if a difference is not finite.
    """
    rounded = np.round(np.asarray(differences, dtype=float), DECIMALS)
    if not np.isfinite(rounded).all():
        raise ValueError("differences must be finite")
    rounded = rounded[rounded != 0]
    if len(rounded) > EXACT:
        return float(stats.wilcoxon(rounded, method="approx").pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(rounded))).astype(int)  # whole numbers, mean ranks too
    positive = int(doubled[rounded > 0].sum())
    return float(two_sided(doubled)[positive])


def two_sided(ranks: NDArray[np.int_]) -> NDArray[np.float64]:
    """The two-sided p of every sum, from 0 to all, that ranks of positive differences can have."""
    chance = np.zeros(int(ranks.sum()) + 1)
    chance[0] = 1.0
    for rank in ranks:
        chance[rank:] = (chance[rank:] + chance[: len(chance) - rank]) / 2
        chance[:rank] /= 2
    below = np.cumsum(chance)
    p: NDArray[np.float64] = np.minimum(1.0, 2 * np.minimum(below, below[::-1]))
    return p


def correct(ps: Sequence[float]) -> list[float]:
    """Holm's correction: each p as it stands when all claims of a family must hold together, in the given order.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below the one before.

    Raises:
        ValueError: if one is not between 0 and 1.
    """
    if not all(0 <= p <= 1 for p in ps):
        raise ValueError(f"p must lie between 0 and 1, got {list(ps)}")
    corrected, highest = [1.0] * len(ps), 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        highest = max(highest, min(1.0, (len(ps) - place) * ps[index]))
        corrected[index] = highest
    return corrected
