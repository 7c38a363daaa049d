"""Seeds of a row that have no score: how many, what became of them, and what must be said about it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from suite.kinds.training.checks import scores

ONE_SEED = "one seed: no spread, no test"
DIVERGED = "TrainingFailed"  # the exception that stops training when numbers are not finite


def failed_seeds(own: pd.DataFrame) -> tuple[tuple[str, int], ...]:
    """What became of a row's seeds that have no score, and of how many."""
    broken = own["metric"].isin(scores()) & ~own["value"].map(math.isfinite)
    stopped = (own["status"] == "failed") & own["reason"].str.contains(DIVERGED)
    outcome = own["status"].mask(broken | stopped, "diverged")
    counts = own["seed"].groupby(outcome).nunique()
    return tuple((str(what), int(counts[what])) for what in ("diverged", "failed", "skipped") if what in counts)


def marks(own: pd.DataFrame, scored: int) -> Iterator[str]:
    """What must be said about seeds of a row that are missing in its numbers, or too few."""
    for reason, cells in own[own["status"] != "done"].groupby("reason"):
        yield f"{named_seeds(cells['seed'])} did not finish, left out of every number: {reason}"
    broken = own[own["metric"].isin(scores()) & ~own["value"].map(math.isfinite)]
    for value, cells in broken.groupby(broken["value"].map(str)):
        metric = cells["metric"].iloc[0]
        yield f"{named_seeds(cells['seed'])} diverged, left out of every number: {metric} is {value}"
    if scored == 1:
        yield ONE_SEED


def named_seeds(seeds: Iterable[Any]) -> str:
    """Seeds for a sentence, each once and sorted."""
    found = sorted({int(seed) for seed in seeds})
    return f"seed {found[0]}" if len(found) == 1 else f"seeds {', '.join(map(str, found))}"
