"""What a study found, one line per row, out of its tidy record alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from suite.errors import UserError, suggest
from suite.report.statistics import Spread, seeds_won, spread
from suite.study.record import COLUMNS

CONTROL = "random"
SCORES = {"classification": "acc1_last", "segmentation": "miou_last"}  # what a task is judged by
DIVERGED = "TrainingFailed"  # the exception that stops training when numbers are not finite


@dataclass(frozen=True)
class Line:
    """One row of the study's table.

    Attributes:
        label: how tables and figures call it: the row, and the schedule where the study has several.
        row, schedule, method, task: as in the record.
        accuracy: of the last epoch, percent, over seeds; mIoU for segmentation. None if no seed finished.
        seeds: how many seeds were tried, failed ones included.
        won: seeds in which it beat random pruning, and seeds compared; None without a control.
        tokens: the fewest tokens, prefix included, that any block computes.
        macs: multiply-accumulates per image, all matrix products counted.
        speed: images per second over those of the unpruned model; None if not measured.
        tainted: why the speed is not to be trusted; empty if nothing speaks against it.
        problem: why a seed failed or was skipped; empty if none did.
        fusion: as in the record.
        control: the row of random pruning with the same schedule and, where the study has it, fusion; None for the
            unpruned model and where there is none.
        eager: as `speed`, against the unpruned model with timm's eager attention.
        lost: seeds without a score by what became of them: diverged, failed or skipped. A seed diverged if its training
            was stopped because numbers were not finite (`tasks.guard.TrainingFailed`), or if its score is not finite.
    """

    label: str
    row: str
    schedule: str
    method: str
    task: str
    accuracy: Spread | None
    seeds: int
    won: tuple[int, int] | None
    tokens: float | None
    macs: float | None
    speed: Spread | None
    tainted: str
    problem: str
    fusion: str = "none"
    control: str | None = None
    eager: Spread | None = None
    lost: tuple[tuple[str, int], ...] = ()

    @property
    def below_random(self) -> bool:
        """Whether it failed to beat random pruning in some seed."""
        return self.won is not None and self.won[0] < self.won[1]


def read_record(folder: Path) -> pd.DataFrame:
    """Read `cells.csv` of a results folder.

    Raises:
        UserError: if it is missing, or its columns are not those of the tidy record.
    """
    path = folder / "cells.csv"
    if not path.is_file():
        there = [record.parent.name for record in folder.parent.glob("*/cells.csv")]
        hint = f"; records there are: {suggest(folder.name, there)}" if there else ""
        raise UserError(f"{path} does not exist; make it with: suite run {folder.name}{hint}")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(frame.columns) != COLUMNS:
        raise UserError(f"{path} has the columns {', '.join(frame.columns)}; expected {', '.join(COLUMNS)}")
    frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    return frame


def summarise(frame: pd.DataFrame) -> list[Line]:
    """One line per row and schedule, in blocks: the unpruned model, then each control with what is compared with it.

    The control comes first in its block, the others by rising accuracy.

    Raises:
        UserError: if the record has no accuracy cells, or seeds of a row disagree about its cost.
    """
    lines = list(_lines(frame))
    if not lines:
        raise UserError("the record has no accuracy cells yet; go on with suite run")
    return sorted(
        lines,
        key=lambda line: (
            line.method != "none",
            line.schedule,
            (line.control is None, len(line.control or ""), line.control),
            line.method != CONTROL,
            line.accuracy.median if line.accuracy else -1.0,
            line.row,
        ),
    )


def _lines(frame: pd.DataFrame) -> Iterator[Line]:
    cells = frame[frame["kind"] == "accuracy"]
    several = cells[cells["method"] != "none"]["schedule"].nunique() > 1
    for (row, schedule), own in cells.groupby(["row", "schedule"]):
        first = own.iloc[0]
        scores = _by_seed(own)
        control = None if first["method"] == "none" else _control(cells, str(schedule), first["fusion"])
        is_method = first["method"] not in ("none", CONTROL)
        against = _by_seed(cells[(cells["row"] == control) & (cells["schedule"] == schedule)]) if is_method else {}
        timed = frame[(frame["kind"] == "speed") & (frame["row"] == row) & (frame["schedule"] == schedule)]
        yield Line(
            label=f"{row} [{schedule}]" if several and first["method"] != "none" else str(row),
            row=str(row),
            schedule=str(schedule),
            method=first["method"],
            task=first["task"],
            accuracy=spread(list(scores.values())) if scores else None,
            seeds=own["seed"].nunique(),
            won=seeds_won(scores, against) if against and scores else None,
            tokens=_only(own, "tokens_fewest"),
            macs=_only(own, "macs_full"),
            speed=_rounds(timed, "speed_ratio"),
            tainted="; ".join(sorted(set(timed["reason"]) - {""})),
            problem="; ".join(sorted(set(own[own["status"] != "done"]["reason"]))),
            fusion=first["fusion"],
            control=control,
            eager=_rounds(timed, "speed_ratio_eager"),
            lost=_lost(own),
        )


def _rounds(timed: pd.DataFrame, metric: str) -> Spread | None:
    ratios = timed[(timed["metric"] == metric) & (timed["repetition"] != "")]["value"]
    return spread(list(ratios)) if len(ratios) else None


def _lost(own: pd.DataFrame) -> tuple[tuple[str, int], ...]:
    """What became of a row's seeds that have no score, and of how many."""
    scored = own["metric"].isin(SCORES.values())
    broken = scored & ~np.isfinite(own["value"])
    stopped = (own["status"] == "failed") & own["reason"].str.contains(DIVERGED)
    fate = own["status"].mask(broken | stopped, "diverged")
    lost = own.assign(fate=fate)[(fate == "diverged") | ~own["status"].eq("done")]
    counts = lost.groupby("fate")["seed"].nunique()
    return tuple((str(what), int(counts[what])) for what in ("diverged", "failed", "skipped") if what in counts)


def _by_seed(cells: pd.DataFrame) -> dict[int, float]:
    last = cells[cells["metric"].isin(SCORES.values()) & np.isfinite(cells["value"])]
    return {int(seed): float(value) for seed, value in zip(last["seed"], last["value"], strict=True)}


def _control(cells: pd.DataFrame, schedule: str, fusion: str) -> str | None:
    """The row of random pruning with the same schedule; with the same fusion too if the study has that.

    Of several such rows (with other settings) the one with the shortest name.
    """
    random = cells[(cells["method"] == CONTROL) & (cells["schedule"] == schedule)]
    same = random[random["fusion"] == fusion]
    chosen = random[random["fusion"] == "none"] if same.empty else same
    return min(chosen["row"].unique(), key=len, default=None)


def _only(cells: pd.DataFrame, metric: str) -> float | None:
    """The value that all seeds share.

    Raises:
        UserError: if they do not.
    """
    values = cells[cells["metric"] == metric]["value"].unique()
    if len(values) > 1:
        raise UserError(f"{cells.iloc[0]['row']}: seeds disagree about {metric}: {sorted(values)}")
    return float(values[0]) if len(values) else None
