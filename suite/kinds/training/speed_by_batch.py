"""Speeds of a row, by batch size."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from suite.report.statistics import Spread, spread

BATCH = "batch_size"


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


def batch_sizes(frame: pd.DataFrame) -> list[int]:
    """All batch sizes of a record, the largest first; empty if it does not say any."""
    return sorted({int(size) for size in frame[frame["metric"] == BATCH]["value"]}, reverse=True)


def of_batch(frame: pd.DataFrame, size: int | None) -> pd.DataFrame:
    """The lines of the speed cells with a batch size; with None of those that do not say theirs."""
    timed = frame[frame["kind"] == "speed"]
    says = timed[timed["metric"] == BATCH]
    if size is None:
        return timed[~timed["cell_id"].isin(says["cell_id"])]
    return timed[timed["cell_id"].isin(says[says["value"] == size]["cell_id"])]


def speeds_of(frame: pd.DataFrame, row: str, schedule: str) -> tuple[Speed, ...]:
    """The speeds of a row, one for each batch size of the record, the largest first."""
    found, sizes = [], batch_sizes(frame)
    for size in sizes or (None,):
        timed = of_batch(frame, size)
        own = timed[(timed["row"] == row) & (timed["schedule"] == schedule)]
        timing_warnings = "; ".join(sorted(set(own["reason"]) - {""}))
        found.append(Speed(size, _rounds(own, "speed_ratio"), _rounds(own, "speed_ratio_eager"), timing_warnings))
    return tuple(found)


def _rounds(timed: pd.DataFrame, metric: str) -> Spread | None:
    ratios = timed[(timed["metric"] == metric) & (timed["repetition"] != "")]["value"]
    return spread(list(ratios)) if len(ratios) else None
