"""Two models seed by seed and image by image: what other trainings, or other images, would have given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import stats

from suite.tasks.task import Images

Rescore = Callable[[Images, NDArray[Any]], NDArray[Any]]
DRAWS = 1000


def over_images(
    rescore: Rescore, pairs: Sequence[tuple[Images, Images]], generator: Generator, draws: int = DRAWS
) -> NDArray[np.float64]:
    """Differences of score, second minus first, of each pair on images drawn with replacement, (draws, pairs).

    All pairs are scored on the same images of a draw.
    """
    count = len(next(iter(pairs[0][0].values())))
    weights = generator.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float32)
    return np.stack([rescore(other, weights) - rescore(one, weights) for one, other in pairs], axis=1)


def crossed_interval(drawn: NDArray[np.float64], generator: Generator, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean difference over new trainings and new images, of what `over_images` drew.

    Pairs are drawn with replacement in every draw. So few of them spread too little and have short tails: their part
    is stretched by sqrt(n / (n - 1)) and by Student's t over the normal quantile.

    Raises:
        ValueError: for fewer than two pairs.
    """
    draws, pairs = drawn.shape
    if pairs < 2:
        raise ValueError("new trainings need two pairs or more")
    tail = (1 + level) / 2
    stretch = (pairs / (pairs - 1)) ** 0.5 * stats.t.ppf(tail, pairs - 1) / stats.norm.ppf(tail)
    counts = generator.multinomial(pairs, np.full(pairs, 1 / pairs), size=draws)
    means = drawn.mean(1)
    trained = (counts * drawn).sum(1) / pairs - means
    low, high = np.quantile(means + stretch * trained, [1 - tail, tail])
    return float(low), float(high)


def mcnemar_p(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """The exact two-sided p of McNemar's test: two models are right equally often, on images of this kind."""
    gained, lost = int((other & ~one).sum()), int((one & ~other).sum())
    return 1.0 if gained + lost == 0 else float(stats.binomtest(gained, gained + lost).pvalue)
