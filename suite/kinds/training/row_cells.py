"""What is read of the cells of one row: speeds by batch size, and seeds that have no score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from suite.kinds.training.checks import DURATION, MEASURED, MEMORY, RATE, TRAINING_MACS, scores
from suite.report.statistics.aggregates import Spread, spread

BATCH = "batch_size"
ONE_SEED = "one seed: no spread, no test"
DIVERGED = "TrainingFailed"  # the exception that stops training when numbers are not finite


@dataclass(frozen=True)
class Speed:
    """What was measured of a row with one batch size.

    Attributes:
        batch: images at a time; None where the record does not say, which then has one batch size only.
        fused, eager: images per second over those of the unpruned model with either attention; None if not measured.
        timing_warnings: why they are unreliable, or not there; empty if nothing speaks against them.
    """

    batch: int | None = None
    fused: Spread | None = None
    eager: Spread | None = None
    timing_warnings: str = ""


@dataclass(frozen=True)
class TrainingCost:
    """What training a row cost, each the median over seeds; None where the record does not say it.

    Attributes:
        rate: images per second in updates.
        memory: most bytes on the GPU.
        hours: with scoring.
        share: multiply-accumulates forward in training over those of the deployed model.
    """

    rate: float | None = None
    memory: float | None = None
    hours: float | None = None
    share: float | None = None


def training_of(own: pd.DataFrame) -> TrainingCost:
    """What training cost in the accuracy cells of a row."""
    found = own[own["metric"] != ""].groupby("metric")["value"].median()
    seconds, whole = found.get(DURATION), found.get(TRAINING_MACS)
    share = None if whole is None else whole / found["macs_full"]
    return TrainingCost(found.get(RATE), found.get(MEMORY), None if seconds is None else seconds / 3600, share)


def on_one_device(frame: pd.DataFrame, devices: Mapping[str, str]) -> pd.DataFrame:
    """A record without what training cost in rows whose cells ran on several devices, which are given by cell id."""
    if len({*devices.values()}) < 2:
        return frame
    found = frame["cell_id"].map(devices).groupby([frame["kind"], frame["row"], frame["schedule"]]).transform("nunique")
    return frame[~(frame["metric"].isin(MEASURED) & (found > 1))]


def of_batch(frame: pd.DataFrame, size: int | None) -> pd.DataFrame:
    """The lines of the speed cells with a batch size; with None of those that do not say theirs."""
    timed = frame[frame["kind"] == "speed"]
    says = timed[timed["metric"] == BATCH]
    if size is None:
        return timed[~timed["cell_id"].isin(says["cell_id"])]
    return timed[timed["cell_id"].isin(says[says["value"] == size]["cell_id"])]


def speeds_of(frame: pd.DataFrame, row: str, schedule: str) -> tuple[Speed, ...]:
    """The speeds of a row, one for each batch size of the record, the largest first."""
    found, sizes = [], {int(size) for size in frame[frame["metric"] == BATCH]["value"]}
    for size in sorted(sizes, reverse=True) or (None,):
        timed = of_batch(frame, size)
        own = timed[(timed["row"] == row) & (timed["schedule"] == schedule)]
        timing_warnings = "; ".join(sorted(set(own["reason"]) - {""}))
        found.append(Speed(size, _rounds(own, "speed_ratio"), _rounds(own, "speed_ratio_eager"), timing_warnings))
    return tuple(found)


def _rounds(timed: pd.DataFrame, metric: str) -> Spread | None:
    ratios = timed[(timed["metric"] == metric) & (timed["repetition"] != "")]["value"]
    return spread(list(ratios)) if len(ratios) else None


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
