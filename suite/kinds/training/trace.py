"""Behind a number of a study's table: cells, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from suite.kinds.training.checks import SPEED
from suite.kinds.training.columns import ALL_COMPARED, ALL_OF_SCHEDULE, CONTROL_TOO, EAGER, columns
from suite.kinds.training.line import Line
from suite.kinds.training.row_cells import of_batch
from suite.kinds.training.summary import read_record
from suite.report.trace import Used


def cells(folder: Path, lines: Sequence[Line], line: Line, key: str, field: str) -> list[Used]:
    """The cells behind a number, row by row and seed by seed; a cell without the metric has no values."""
    if key == "published":
        return []
    metric = next(column.metric for column in columns(lines) if column.key == key)
    frame = read_record(folder)
    if metric not in (SPEED, EAGER):
        return list(_cells(frame[frame["kind"] == "accuracy"], line, lines, key, metric))
    batch = next((int(word) for word in key.split() if word.isdigit()), line.speeds[0].batch)
    timed = of_batch(frame, batch)
    return list(_cells(timed[timed["repetition"] != ""], line, lines, key, metric))


def _cells(frame: pd.DataFrame, line: Line, lines: Sequence[Line], key: str, metric: str) -> Iterator[Used]:
    labels = {(one.row, one.schedule): one.label for one in lines}
    wanted = _wanted(line, lines, key)
    for (row, schedule, _, cell_id), own in frame.groupby(["row", "schedule", "seed", "cell_id"]):
        if (row, schedule) in wanted:
            values = own[(own["metric"] == metric) & (own["metric"] != "")].sort_values("repetition")
            first, unit = own.iloc[0], "".join(values["unit"].unique())
            name = labels[str(row), str(schedule)]
            yield Used(str(cell_id), name, first["seed"], first["status"], tuple(values["value"]), unit)


def _wanted(line: Line, lines: Sequence[Line], key: str) -> set[tuple[str, str]]:
    """The rows, each with its schedule, whose cells a number is made of."""
    if key in ALL_OF_SCHEDULE:
        return {(one.row, one.schedule) for one in lines if one.schedule == line.schedule}
    compared = [one for one in lines if one.p is not None] if key in ALL_COMPARED else []
    control = [line, *compared] if key in (*CONTROL_TOO, *ALL_COMPARED) else []
    own = {(line.row, line.schedule)}
    return own | {(row, one.schedule) for one in control for row in (one.row, one.versus.control or one.row)}
