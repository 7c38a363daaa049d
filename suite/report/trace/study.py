"""Behind a number of a study's table: cells, seed by seed, and the runs that made them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from suite.report.batches import of_batch
from suite.report.checks import SCORES
from suite.report.scores import read_scores, score_of
from suite.report.study_table import columns, further_key, study_table
from suite.report.summary import Line, read_record, summarise
from suite.report.trace.found import Trace, Used, by_name, look_up, with_runs

PUBLISHED = Path("published/scores.csv")
TEST = "Wilcoxon's signed-rank test of paired seeds, two-sided and exact"


class Origin(NamedTuple):
    """What a column is made of: cells of a kind and one of their metrics, of the row alone or of others too."""

    kind: Literal["accuracy", "speed"]
    metric: str
    how: str
    rows: Literal["own", "control", "schedule"] = "own"
    batch: int | None = None  # of speed cells; None where the record says none


def trace_score(folder: Path, row: str, column: str) -> Trace:
    """What is behind a number of a study's table; see `trace`."""
    frame = read_record(folder)
    lines, scores = summarise(frame), read_scores(folder.parent / PUBLISHED)
    by_row = [line.row for line in lines]
    unique = {line.row: line for line in lines if by_row.count(line.row) == 1}
    line = look_up("row", row, unique | {line.label: line for line in lines}, folder)
    made = origins(line)
    chosen = look_up("column", column, by_name([one for one in columns(lines) if one.key in made]), folder)
    origin, published = made[chosen.key], score_of(scores, folder.name, line.row, line.schedule)
    measured = chosen.key != "published"
    cells = tuple(_cells(frame, line, lines, origin)) if measured else ()
    drawn = study_table(folder.name, lines, scores)
    text = next(own.text(chosen) for own, one in zip(drawn.rows(), lines, strict=True) if one is line)
    facts = {"row": line.label, "column": chosen.heading, "made": origin.how, "metric": origin.metric}
    if measured:
        facts["record"] = f"{folder / 'cells.csv'}"
    doubts = {line.batch: line.tainted} | {one.batch: one.tainted for one in line.further}
    if origin.kind == "speed" and doubts[origin.batch]:
        facts["not to be trusted"] = doubts[origin.batch]
    if published and chosen.key in ("published", "difference", "verdict"):
        facts |= {name: value for name, value in published._asdict().items() if name not in ("study", "row") and value}
    return with_runs(folder, text, facts, cells)


def origins(line: Line) -> dict[str, Origin]:
    """What each column of a line of a study's table is made of, by its key."""
    score, rounds = SCORES[line.task], "median over the rounds"
    return {
        "score": Origin("accuracy", score, "median over the seeds"),
        "interval": Origin("accuracy", score, "bootstrap of the median over the seeds"),
        "quartiles": Origin("accuracy", score, "first and third quartile over the seeds"),
        "middle": Origin("accuracy", score, "inter-quartile mean: the mean of the middle half of the seeds"),
        "seeds": Origin("accuracy", score, "cells with a score, of all that were tried"),
        "won": Origin(
            "accuracy", score, "seeds in which the row is above its control, of those that both have", "control"
        ),
        "gap": Origin("accuracy", score, "median over the seeds that both have of the row less its control", "control"),
        "gap interval": Origin("accuracy", score, "bootstrap of that median", "control"),
        "improvement": Origin("accuracy", score, "share of all pairs of runs in which the row's is above", "control"),
        "improvement interval": Origin("accuracy", score, "bootstrap of that share over seeds", "control"),
        "p": Origin("accuracy", score, f"{TEST}, corrected for all rows of the study after Holm", "control"),
        "smallest p": Origin("accuracy", score, "what p is at least with these seeds and that many rows", "control"),
        "group": Origin("accuracy", score, f"{TEST} of every two rows of the schedule", "schedule"),
        "published": Origin("accuracy", score, "printed by the source"),
        "difference": Origin("accuracy", score, "median over the seeds less the published score"),
        "verdict": Origin("accuracy", score, "the published score beside the interval of the median"),
        "tokens": Origin("accuracy", "tokens_fewest", "the same in every seed"),
        "macs": Origin("accuracy", "macs_full", "the same in every seed; 1 GMAC is 1e9"),
        "speed": Origin("speed", "speed_ratio", rounds, batch=line.batch),
        "eager": Origin("speed", "speed_ratio_eager", rounds, batch=line.batch),
    } | {further_key(one.batch): Origin("speed", "speed_ratio", rounds, batch=one.batch) for one in line.further}


def _cells(frame: pd.DataFrame, line: Line, lines: Sequence[Line], origin: Origin) -> Iterator[Used]:
    """The cells behind a number, row by row and seed by seed; a cell without the metric has no values."""
    others = [one.row for one in lines if one.schedule == line.schedule]
    wanted = {"own": [line.row], "control": [line.row, line.control or line.row], "schedule": others}
    kind = of_batch(frame, origin.batch) if origin.kind == "speed" else frame[frame["kind"] == origin.kind]
    same = (kind["schedule"] == line.schedule) & kind["row"].isin(wanted[origin.rows])
    for (row, _, cell_id), own in kind[same].groupby(["row", "seed", "cell_id"]):
        values = own[own["metric"] == origin.metric].sort_values("repetition")
        if origin.kind == "speed":
            values = values[values["repetition"] != ""]
        first, unit = own.iloc[0], "".join(values["unit"].unique())
        yield Used(str(cell_id), str(row), first["seed"], first["status"], tuple(values["value"]), unit)
