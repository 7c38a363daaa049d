"""What a study found, one line per row, out of its tidy record alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from suite.errors import UserError
from suite.kinds.training.checks import SCORES, check_record
from suite.kinds.training.failed_seeds import lost_seeds, marks, named_seeds
from suite.kinds.training.speed_by_batch import Speed, speeds_of
from suite.report.statistics import (
    ALPHA,
    Comparison,
    Interval,
    Spread,
    compare,
    correct,
    inter_quartile_mean,
    interval,
    letters,
    median,
    seeds_won,
    smallest_p,
    spread,
    tied_groups,
)
from suite.seeds import seed_for
from suite.study.records import read
from suite.study.store import COLUMNS

CONTROL = "random"
Seeds = dict[int, float]


@dataclass(frozen=True)
class Line:
    """One row of the study's table.

    Attributes:
        label: how tables and figures call it: the row, and the schedule where the study has several.
        row, schedule, method, task: as in the record.
        accuracy: of the last epoch, percent, over seeds; mIoU for segmentation. None if no seed finished.
        seeds: how many seeds were tried, failed ones included.
        won: seeds in which it beat random pruning, of those tried in which random pruning has a score; None without a
            control.
        tokens: the fewest tokens, prefix included, that any block computes.
        macs: multiply-accumulates per image, all matrix products counted.
        speed: images per second over those of the unpruned model; None if not measured.
        timing_warnings: why the speed is not to be trusted; empty if nothing speaks against it.
        problem: why a seed failed or was skipped; empty if none did.
        interval: of the median accuracy, at level 0.95, by the bootstrap over seeds; None with one seed.
        control: the row of random pruning that it is compared with; empty without one.
        no_control: why it is not compared; empty if it is, and for what needs no control.
        comparison: with the control, seed by seed, in percentage points; p is not corrected there.
        p: of that comparison after Holm's correction for all comparisons of the study; None with one seed.
        smallest_p: the smallest that `p` can be with these seeds and that many comparisons; None where p is.
        group: letters; reduced rows of the same schedule that share one are not told apart.
        marks: what else must be said about it: seeds that are missing, a spread or a test that there cannot be.
        block: the row of random pruning whose block it stands in: its control, and itself for that control; empty for
            the unpruned model and where there is none.
        eager: as `speed`, against the unpruned model with timm's eager attention.
        lost: seeds without a score by what became of them: diverged, failed or skipped. A seed diverged if its training
            was stopped because numbers were not finite (`tasks.guard.TrainingFailed`), or if its score is not finite.
        batch: the study's largest batch size, which `speed`, `eager` and `timing_warnings` are of; None if not known.
        further: speeds with the study's other batch sizes.
        middle: inter-quartile mean of the scores that `accuracy` is of.
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
    timing_warnings: str
    problem: str
    interval: Interval | None = None
    control: str = ""
    no_control: str = ""
    comparison: Comparison | None = None
    p: float | None = None
    smallest_p: float | None = None
    group: str = ""
    marks: tuple[str, ...] = ()
    block: str = ""
    eager: Spread | None = None
    lost: tuple[tuple[str, int], ...] = ()
    batch: int | None = None
    further: tuple[Speed, ...] = ()
    middle: float | None = None

    @property
    def below_random(self) -> bool:
        """Whether it failed to beat random pruning in some seed."""
        return self.won is not None and self.won[0] < self.won[1]

    @property
    def testable(self) -> bool:
        """Whether its seeds could show a difference from random pruning at all, at p < 0.05."""
        return self.smallest_p is not None and self.smallest_p < ALPHA


def read_record(folder: Path) -> pd.DataFrame:
    """Read `cells.csv` of a results folder.

    Raises:
        UserError: if it is missing, was changed after it was written, or is not a tidy record (see `checks`).
    """
    path = folder / "cells.csv"
    frame = read(path, COLUMNS)
    check_record(frame, path)
    frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    return frame


def summarise(frame: pd.DataFrame) -> list[Line]:
    """One line per row and schedule, in blocks: the unpruned model, then each control with what is compared with it.

    The control comes first in its block, the others by rising accuracy.

    Intervals are drawn from generators seeded by row and schedule: the same record makes the same lines.

    Raises:
        UserError: if the record has no accuracy cells, or seeds of a row disagree about its cost.
    """
    cells = frame[frame["kind"] == "accuracy"]
    lines = _with_groups(_with_corrected_p(list(_lines(frame))), cells)
    if not lines:
        raise UserError("the record has no accuracy cells yet; go on with suite run")
    return sorted(
        lines,
        key=lambda line: (
            line.method != "none",
            line.schedule,
            (not line.block, len(line.block), line.block),
            line.row != line.block,
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
        largest, *further = speeds_of(frame, str(row), str(schedule))
        line = Line(
            label=f"{row} [{schedule}]" if several and first["method"] != "none" else str(row),
            row=str(row),
            schedule=str(schedule),
            method=first["method"],
            task=first["task"],
            accuracy=spread(list(scores.values())) if scores else None,
            seeds=own["seed"].nunique(),
            won=None,
            tokens=_only(own, "tokens_fewest"),
            macs=_only(own, "macs_full"),
            speed=largest.fused,
            timing_warnings=largest.timing_warnings,
            problem="; ".join(sorted(set(own[own["status"] != "done"]["reason"]))),
            marks=tuple(marks(own, len(scores))),
            block="" if first["method"] == "none" else _control(cells, str(schedule), first["fusion"])[0],
            eager=largest.eager,
            batch=largest.batch,
            further=tuple(further),
            lost=lost_seeds(own),
        )
        generator = np.random.default_rng(seed_for("statistics", line.row, line.schedule))
        if scores:
            column = np.array([scores[seed] for seed in sorted(scores)])[:, None]
            between = interval(column, median, generator)
            line = replace(line, interval=between, middle=inter_quartile_mean(column))
        if first["method"] not in ("none", CONTROL):
            tried = {*map(int, own[own["status"] != "skipped"]["seed"])}
            line = _compared(line, scores, tried, *_control(cells, line.schedule, first["fusion"]), generator)
        yield line


def _compared(
    line: Line, scores: Seeds, tried: set[int], row: str, control: Seeds, generator: np.random.Generator
) -> Line:
    """A line with its comparison with the control's row, or with the reason why it has none.

    A seed that was tried and has no score did not beat the control.
    """
    lacking = sorted(scores.keys() - control.keys())
    if not row:
        lacks = f"the study has no {CONTROL} pruning with the schedule {line.schedule} and this row's fusion, or none"
        return replace(line, no_control=lacks)
    won = seeds_won(scores, control)[0], len(tried & control.keys())
    if not scores.keys() & control.keys():
        whose = f"{row} has no seed with a score" if not control else f"no seed of both it and {row} has a score"
        none = replace(line, no_control=whose if scores else "none of its seeds has a score")
        return replace(none, control=row, won=won) if won[1] else none
    compared = replace(line, control=row, comparison=compare(scores, control, generator), won=won)
    if not lacking:
        return compared
    mark = f"compared in {len(scores) - len(lacking)} of {len(scores)} seeds: {row} lacks {named_seeds(lacking)}"
    return replace(compared, marks=(*line.marks, mark))


def _with_corrected_p(lines: list[Line]) -> list[Line]:
    """Lines with p corrected for all comparisons with a control that could be tested, and the least it can be so."""
    tested = [line.comparison for line in lines if line.comparison and line.comparison.p is not None]
    ps = iter(correct([comparison.p for comparison in tested if comparison.p is not None]))
    least = iter(correct([smallest_p(comparison.n) for comparison in tested]))
    return [
        replace(line, p=next(ps), smallest_p=next(least)) if line.comparison and line.comparison.p is not None else line
        for line in lines
    ]


def _with_groups(lines: Sequence[Line], cells: pd.DataFrame) -> list[Line]:
    """Lines with the letters of their groups, apart for each schedule; neither unpruned nor with single seeds."""
    found: dict[tuple[str, str], str] = {}
    for schedule in sorted({line.schedule for line in lines if line.method != "none"}):
        rows = cells[(cells["schedule"] == schedule) & (cells["method"] != "none")]
        scores = {str(row): _by_seed(own) for row, own in rows.groupby("row")}
        if any(len(own) > 1 for own in scores.values()):
            found |= {(row, schedule): marks for row, marks in letters(tied_groups(scores)).items()}
    return [replace(line, group=found.get((line.row, line.schedule), "")) for line in lines]


def _by_seed(cells: pd.DataFrame) -> Seeds:
    """Scores of the last epoch; a run that diverged has none."""
    last = cells[cells["metric"].isin(SCORES.values()) & cells["value"].map(math.isfinite)]
    return {int(seed): float(value) for seed, value in zip(last["seed"], last["value"], strict=True)}


def _control(cells: pd.DataFrame, schedule: str, fusion: str) -> tuple[str, Seeds]:
    """Random pruning with the same schedule, its row and scores; with the same fusion too if the study has that.

    Of several such rows (with other settings) the one with the shortest name.
    """
    random = cells[(cells["method"] == CONTROL) & (cells["schedule"] == schedule)]
    same = random[random["fusion"] == fusion]
    chosen = random[random["fusion"] == "none"] if same.empty else same
    row = min(chosen["row"], key=len, default="")
    return row, _by_seed(chosen[chosen["row"] == row])


def _only(cells: pd.DataFrame, metric: str) -> float | None:
    """The value that all seeds share.

    Raises:
        UserError: if they do not.
    """
    values = cells[cells["metric"] == metric]["value"].unique()
    if len(values) > 1:
        raise UserError(f"{cells.iloc[0]['row']}: seeds disagree about {metric}: {sorted(values)}")
    return float(values[0]) if len(values) else None
