"""What a study found, one line per row, out of its tidy record alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from suite.errors import UserError
from suite.kinds.training.checks import MEASURED, OWN_RATE, check_record, scores
from suite.kinds.training.focus import focus_of
from suite.kinds.training.line import Line, Versus
from suite.kinds.training.row_cells import failed_seeds, marks, named_seeds, on_one_device, speeds_of, training_of
from suite.reduction.registry import reduces_nothing
from suite.report.statistics.aggregates import inter_quartile_mean, spread
from suite.report.statistics.comparisons import compare
from suite.report.statistics.groups import letters, tied_groups
from suite.report.statistics.intervals import mean
from suite.report.statistics.significance import correct
from suite.study.cells import shown
from suite.study.exported import COLUMNS
from suite.study.records import read, runs

CONTROL = "random"
Seeds = dict[int, float]


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


def lines_of(folder: Path) -> list[Line]:
    """The lines of a results folder."""
    frame = read_record(folder)
    if frame["metric"].isin(MEASURED).any():
        devices = {cell: run["device"] for run in runs(folder) if "device" in run for cell in run.get("cells", ())}
        frame = on_one_device(frame, devices)
    return summarise(frame, focus_of(folder).rows)


def summarise(frame: pd.DataFrame, focus: Collection[str] = ()) -> list[Line]:
    """One line per row and schedule, in blocks: the unpruned model, then each control with what is compared with it.

    The control comes first in its block, the others by rising score. `focus` are rows whose comparisons are the
    family that p and intervals are corrected for; without them all comparisons are.

    Raises:
        UserError: if the record has no accuracy cells, or seeds of a row disagree about its cost.
    """
    cells = frame[frame["kind"] == "accuracy"]
    if cells.empty:
        raise UserError("the record has no accuracy cells yet; resume with: suite run")
    unpruned = cells["method"].map(reduces_nothing)
    several = [cells[unpruned == which]["schedule"].nunique() > 1 for which in (False, True)]
    rows = cells.groupby(["row", "schedule"])
    lines = [_line(frame, str(row), str(schedule), own, several) for (row, schedule), own in rows]
    return sorted(_over_all_rows(lines, cells, focus), key=_place)


def _place(line: Line) -> tuple[object, ...]:
    return (
        not line.unpruned,
        (line.epochs or 0, line.schedule),
        (not line.block, len(line.block), line.block),
        line.row != line.block,
        line.score.median if line.score else -math.inf,
        line.row,
    )


def _line(frame: pd.DataFrame, row: str, schedule: str, own: pd.DataFrame, several: Sequence[bool]) -> Line:
    """A line of a row, whose accuracy cells are `own`, without what takes all rows into account.

    `several`: whether reduced and unpruned rows have several schedules.
    """
    first, scores = own.iloc[0], _by_seed(own)
    column = np.array([scores[seed] for seed in sorted(scores)])
    unpruned = reduces_nothing(first["method"])
    control, others = ("", {}) if unpruned else _control(frame, schedule, first["fusion"])
    versus = Versus() if unpruned or first["method"] == CONTROL else _versus(own, scores, control, others)
    return Line(
        label=f"{row} [{shown(schedule)}]" if several[unpruned] else row,
        row=row,
        schedule=schedule,
        method=first["method"],
        task=first["task"],
        score=spread(list(scores.values())) if scores else None,
        interval=mean(column.tolist()),
        iqm=inter_quartile_mean(column) if scores else None,
        seeds=own["seed"].nunique(),
        failed=failed_seeds(own),
        own_rate=_only(own, OWN_RATE),
        tokens=_only(own, "tokens_fewest"),
        macs=_only(own, "macs_full"),
        speeds=speeds_of(frame, row, schedule),
        training=training_of(own),
        problem="; ".join(sorted(set(own[own["status"] != "done"]["reason"]))),
        marks=(*marks(own, len(scores)), *filter(None, [versus.mark])),
        same_start=len(scores) > 1 and frame[frame["kind"] == "base"]["seed"].nunique() < 2,
        block=control,
        versus=versus,
    )


def _versus(own: pd.DataFrame, scores: Seeds, control: str, others: Seeds) -> Versus:
    """A row, whose accuracy cells are `own`, against random pruning, or why it is not compared.

    A seed that was tried and has no score did not beat the control.
    """
    if not control:
        return Versus(reason=f"the study has no {CONTROL} pruning with its schedule and its fusion, or none")
    tried = {*map(int, own[own["status"] != "skipped"]["seed"])}
    shared = scores.keys() & others.keys()
    won = sum(scores[seed] > others[seed] for seed in shared), len(tried & others.keys())
    if not shared:
        reason = "none of its seeds has a score"
        if scores:
            both = f"no seed of both it and {control} has a score"
            reason = both if others else f"{control} has no seed with a score"
        return Versus(control if won[1] else "", reason, won if won[1] else None)
    paired, lacking = f"compared in {len(shared)} of {len(scores)} seeds", scores.keys() - others.keys()
    mark = f"{paired}: {control} lacks {named_seeds(lacking)}" if lacking else ""
    return Versus(control, "", won, compare(scores, others), mark)


def _over_all_rows(lines: Sequence[Line], cells: pd.DataFrame, focus: Collection[str]) -> list[Line]:
    """Lines with p and intervals corrected for the comparisons of the family, and letters of groups."""
    found = {line.label: line.comparison for line in lines if line.comparison}
    family = {line.label for line in lines if line.label in found and (not focus or line.row in focus)}
    tested = {label: one.p for label, one in found.items() if label in family and one.p is not None}
    ps = dict(zip(tested, correct([*tested.values()]), strict=True))
    gaps = {label: mean(one.differences, len(tested) if label in tested else 1) for label, one in found.items()}
    groups = _groups(lines, cells)
    return [
        replace(
            line,
            in_focus=line.label in family,
            gap=gaps.get(line.label),
            p=ps.get(line.label),
            gain=_gain(line, lines),
            group=groups.get(line.label, ""),
        )
        for line in lines
    ]


def _gain(line: Line, lines: Sequence[Line]) -> float | None:
    shorter = [one for one in lines if one.row == line.row and one.epochs and one.epochs < (line.epochs or 0)]
    last = max(shorter, key=lambda one: one.epochs or 0, default=None)
    if not (last and last.epochs and line.epochs and last.score and line.score):
        return None
    return (line.score.median - last.score.median) / math.log2(line.epochs / last.epochs)


def _groups(lines: Sequence[Line], cells: pd.DataFrame) -> dict[str, str]:
    """Letters of groups by label, apart for each schedule; neither unpruned nor with single seeds."""
    found: dict[str, str] = {}
    for schedule in schedules(lines):
        scores = scores_of(cells, schedule)
        labels = {line.row: line.label for line in lines if line.schedule == schedule}
        if any(len(own) > 1 for own in scores.values()):
            found |= {labels[row]: marks for row, marks in letters(tied_groups(scores)).items()}
    return found


def schedules(lines: Sequence[Line]) -> list[str]:
    """Those of the reduced rows; where there are several, labels of these and blocks name them."""
    found = {line.schedule: line.epochs or 0 for line in lines if not line.unpruned}
    return sorted(found, key=lambda schedule: (found[schedule], schedule))


def scores_of(cells: pd.DataFrame, schedule: str) -> dict[str, Seeds]:
    """Scores by seed of each reduced row of a schedule, of accuracy cells."""
    rows = cells[(cells["schedule"] == schedule) & ~cells["method"].map(reduces_nothing)]
    return {str(row): _by_seed(own) for row, own in rows.groupby("row")}


def _by_seed(cells: pd.DataFrame) -> Seeds:
    """Scores of the last epoch; a run that diverged has none."""
    last = cells[cells["metric"].isin(scores()) & cells["value"].map(math.isfinite)]
    return {int(seed): float(value) for seed, value in zip(last["seed"], last["value"], strict=True)}


def _control(frame: pd.DataFrame, schedule: str, fusion: str) -> tuple[str, Seeds]:
    """Random pruning with the same schedule, its row and scores; with the same fusion too if the study has that.

    Of several such rows (with other settings) the one with the shortest name.
    """
    own = (frame["kind"] == "accuracy") & (frame["method"] == CONTROL) & (frame["schedule"] == schedule)
    random = frame[own]
    same = random[random["fusion"] == fusion]
    chosen = random[random["fusion"] == "none"] if same.empty else same
    row = min(chosen["row"], key=len, default="")
    return row, _by_seed(chosen[chosen["row"] == row])


def _only(cells: pd.DataFrame, metric: str) -> float | None:
    """The value that all seeds share."""
    values = cells[cells["metric"] == metric]["value"].unique()
    if len(values) > 1:
        raise UserError(f"{cells.iloc[0]['row']}: seeds disagree about {metric}: {sorted(values)}")
    return float(values[0]) if len(values) else None
