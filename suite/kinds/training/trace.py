"""Behind a number of a study's table: cells, seed by seed, and the runs that made them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from suite.kinds.training.origins import Origin, compared, origins
from suite.kinds.training.published import read_scores, score_of
from suite.kinds.training.speed_by_batch import of_batch
from suite.kinds.training.summary import Line, read_record, summarise
from suite.kinds.training.table import columns, study_table
from suite.report.render import as_csv
from suite.report.trace.found import Trace, Used, by_name, look_up, with_runs

PUBLISHED = Path("published/scores.csv")


def trace_score(folder: Path, row: str, column: str) -> Trace:
    """What is behind a number of a study's table; see `trace`."""
    frame = read_record(folder)
    lines, scores = summarise(frame), read_scores(folder.parent / PUBLISHED)
    by_row = [line.row for line in lines]
    unique = {line.row: line for line in lines if by_row.count(line.row) == 1}
    line = look_up("row", row, unique | {line.label: line for line in lines}, folder)
    named = look_up("column", column, by_name(columns(lines)), folder)
    key = named.column.key
    origin, published = origins(line, lines)[key], score_of(scores, folder.name, line.row, line.schedule)
    drawn = study_table(folder.name, lines, scores)
    index = next(index for index, one in enumerate(lines) if one is line)
    values = list(csv.DictReader(io.StringIO(as_csv(drawn))))[index]
    text = list(drawn.rows())[index].text(named.column)
    facts = {"row": line.label, "column": column, "made": origin.of(named.column, named.field)}
    facts |= named.exact(values)
    facts |= {"metric": origin.metric} if origin.metric else {}
    cells: tuple[Used, ...] = ()
    if key != "published":
        cells = tuple(_cells(frame, line, lines, origin))
        facts["record"] = f"{folder / 'cells.csv'}"
    doubts = {line.batch: line.timing_warnings} | {one.batch: one.timing_warnings for one in line.further}
    if origin.kind == "speed" and doubts[origin.batch]:
        facts["not to be trusted"] = doubts[origin.batch]
    if published and key in ("published", "difference", "verdict"):
        facts |= {name: value for name, value in published if name not in ("study", "row") and value}
    return with_runs(folder, named.shown(text, values), facts, cells)


def _cells(frame: pd.DataFrame, line: Line, lines: Sequence[Line], origin: Origin) -> Iterator[Used]:
    """The cells behind a number, row by row and seed by seed; a cell without the metric has no values."""
    labels = {(one.row, one.schedule): one.label for one in lines}
    wanted = _wanted(line, lines, origin)
    kind = of_batch(frame, origin.batch) if origin.kind == "speed" else frame[frame["kind"] == origin.kind]
    for (row, schedule, _, cell_id), own in kind.groupby(["row", "schedule", "seed", "cell_id"]):
        if (str(row), str(schedule)) not in wanted:
            continue
        values = own[(own["metric"] == origin.metric) & (own["metric"] != "")].sort_values("repetition")
        if origin.kind == "speed":
            values = values[values["repetition"] != ""]
        first, unit = own.iloc[0], "".join(values["unit"].unique())
        label = labels[str(row), str(schedule)]
        yield Used(str(cell_id), label, first["seed"], first["status"], tuple(values["value"]), unit)


def _wanted(line: Line, lines: Sequence[Line], origin: Origin) -> set[tuple[str, str]]:
    """The rows, each with its schedule, whose cells a number is made of."""
    if origin.rows == "own":
        return {(line.row, line.schedule)}
    if origin.rows == "schedule":
        return {(one.row, one.schedule) for one in lines if one.schedule == line.schedule}
    chosen = [line] if origin.rows == "control" else [line, *compared(lines)]
    return {(row, one.schedule) for one in chosen for row in (one.row, one.control or one.row)}
