"""How many seeds a claim needs."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy import stats

from suite.errors import UserError
from suite.report.statistics.significance import ALPHA, smallest_p, two_sided

POWER = 0.8
DRAWS = 10_000  # one standard error of a power of 0.8 is then 0.004
MOST_SEEDS = 300  # that are simulated


def fewest_seeds(alpha: float = ALPHA, comparisons: int = 1) -> int:
    """The fewest seeds with which p < alpha is possible at all, after Holm's correction for so many comparisons."""
    seeds = 2
    while smallest_p(seeds, comparisons) >= alpha:
        seeds += 1
    return seeds


def seeds_needed(
    gap: float,
    sd: float,
    generator: Generator,
    alpha: float = ALPHA,
    power: float = POWER,
    comparisons: int = 1,
) -> tuple[int, float]:
    """The fewest seeds whose simulated power is reached, and that power; looked for from what a t-test needs.

    Args:
        gap: the true difference of two methods.
        sd: the standard deviation, over seeds, of their difference within a seed: not that of either's score.
        generator: what the simulation draws from.
        alpha: p must be below this.
        power: the share of studies that shall find the gap.
        comparisons: how many of them a correction by Holm takes into account; the first step of it is assumed.

    Raises:
        UserError: if the values make no sense, or more than `MOST_SEEDS` are needed.
    """
    _check_question(gap, sd, alpha, power, comparisons)
    seeds = fewest_seeds(alpha, comparisons)
    while seeds <= MOST_SEEDS and t_power(seeds, gap, sd, alpha, comparisons) < power:
        seeds += 1
    for tried in range(max(fewest_seeds(alpha, comparisons), seeds - 2), MOST_SEEDS + 1):
        found = simulated_power(tried, gap, sd, generator, alpha, comparisons)
        if found >= power:
            return tried, found
    raise UserError(
        f"a gap of {gap:g} with a standard deviation of {sd:g} needs more than {MOST_SEEDS} seeds, which are not "
        "simulated; no study has that many: look for a larger gap, or take a larger alpha"
    )


def simulated_power(
    seeds: int,
    gap: float,
    sd: float,
    generator: Generator,
    alpha: float = ALPHA,
    comparisons: int = 1,
    draws: int = DRAWS,
) -> float:
    """The share of simulated studies, with normal differences, in which the exact signed-rank test finds p < alpha.

    It is the test that `compare` makes. Of several comparisons it is the one with the smallest p, so p counts
    `comparisons` times.
    """
    differences = generator.normal(gap, sd, size=(draws, seeds))
    ranks = np.abs(differences).argsort(axis=1).argsort(axis=1) + 1
    positive = (ranks * (differences > 0)).sum(axis=1)
    p = two_sided(np.arange(1, seeds + 1))[positive]
    return float((comparisons * p < alpha).mean())


def t_power(seeds: int, gap: float, sd: float, alpha: float = ALPHA, comparisons: int = 1) -> float:
    """Power of the paired t-test, two-sided, by the noncentral t distribution; the most that can be reached."""
    freedom, shift = seeds - 1, abs(gap) / sd * seeds**0.5
    limit = stats.t.isf(alpha / comparisons / 2, freedom)
    right_side, wrong_side = stats.nct.sf(limit, freedom, shift), stats.nct.cdf(-limit, freedom, shift)
    # scipy gives NaN where a tail is too near 1, or 0, to be computed
    return float(np.nan_to_num(right_side, nan=1.0) + np.nan_to_num(wrong_side))


def _check_question(gap: float, sd: float, alpha: float, power: float, comparisons: int) -> None:
    if not np.isfinite([gap, sd]).all() or gap == 0 or sd <= 0:
        raise UserError(f"gap {gap:g} and sd {sd:g}: the gap must not be 0, and the standard deviation be above 0")
    if not 0 < alpha < 1 or not alpha <= power < 1:
        raise UserError(f"alpha {alpha:g} and power {power:g}: take 0 < alpha <= power < 1, such as 0.05 and 0.8")
    if comparisons < 1:
        raise UserError(f"{comparisons} comparisons; there is at least one")
