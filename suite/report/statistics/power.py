"""How many seeds a claim needs: the power of the paired t-test that tables are made with."""

from __future__ import annotations

import numpy as np
from scipy import stats

from suite.errors import UserError
from suite.report.statistics.significance import ALPHA

POWER = 0.8
MOST_SEEDS = 300


def seeds_needed(difference: float, sd: float, alpha: float = ALPHA, power: float = POWER, comparisons: int = 1) -> int:
    """The fewest seeds with which a paired t-test finds a difference in a share `power` of studies.

    Args:
        difference: the true difference of two methods.
        sd: the standard deviation, over seeds, of their difference within a seed: not that of either's score.
        alpha: p must be below this.
        power: the share of studies that shall find the difference.
        comparisons: how many of them a correction by Holm takes into account; the first step of it is assumed.

    Raises:
        UserError: if the values make no sense, or more than `MOST_SEEDS` are needed.
    """
    _check_question(difference, sd, alpha, power, comparisons)
    for seeds in range(2, MOST_SEEDS + 1):
        if t_power(seeds, difference, sd, alpha, comparisons) >= power:
            return seeds
    raise UserError(
        f"a difference of {difference:g} with a standard deviation of {sd:g} needs more than {MOST_SEEDS} seeds, and "
        "no study has that many: look for a larger difference, or take a larger alpha"
    )


def t_power(seeds: int, difference: float, sd: float, alpha: float = ALPHA, comparisons: int = 1) -> float:
    """Power of the paired t-test, two-sided, by the noncentral t distribution."""
    freedom, shift = seeds - 1, abs(difference) / sd * seeds**0.5
    limit = stats.t.isf(alpha / comparisons / 2, freedom)
    right_side, wrong_side = stats.nct.sf(limit, freedom, shift), stats.nct.cdf(-limit, freedom, shift)
    # scipy gives NaN where a tail is too near 1, or 0, to be computed
    return float(np.nan_to_num(right_side, nan=1.0) + np.nan_to_num(wrong_side))


def _check_question(difference: float, sd: float, alpha: float, power: float, comparisons: int) -> None:
    if not np.isfinite([difference, sd]).all() or difference == 0 or sd <= 0:
        found = f"difference {difference:g} and sd {sd:g}"
        raise UserError(f"{found}: the difference must not be 0, and the standard deviation be above 0")
    if not 0 < alpha < 1 or not alpha <= power < 1:
        raise UserError(f"alpha {alpha:g} and power {power:g}: take 0 < alpha <= power < 1, such as 0.05 and 0.8")
    if comparisons < 1:
        raise UserError(f"{comparisons} comparisons; there is at least one")
