"""Behind a number of the matrix of `suite export`: its line of the CSV, and the run that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from suite.report.export import FIELDS, MODEL, Line, model_of, read_csv
from suite.report.layout import MISSING
from suite.report.trace.found import Trace, look_up, runs_of


def trace_export(folder: Path, row: str, column: str) -> Trace:
    """What is behind a number of the matrix; a row is called TASK BACKBONE METHOD [+ FUSION], PATH.

    Columns are those of its CSV.

    Raises:
        UserError: for a row or a column that is not there, or a table that cannot be read.
    """
    line = look_up("row", row, {_name(line): line for line in read_csv(folder / "table.csv")}, folder)
    measured = {name: name for name in FIELDS if name not in (*MODEL, "path")}
    field = look_up("column", column, measured, folder)
    facts = {name: value for name, value in line.items() if value and name != field}
    facts["record"] = str(folder / "table.csv")

    def own(run: dict[str, Any]) -> dict[str, Any] | None:
        mine = [model for model in run["models"] if tuple(model) == model_of(line)]
        return {name: fact for name, fact in run.items() if name != "models"} | {"cells": mine} if mine else None

    return Trace(line[field] or MISSING, facts, runs=runs_of(folder, own))


def _name(line: Line) -> str:
    fusion = "" if line["fusion"] == "none" else f" + {line['fusion']}"
    return f"{line['task']} {line['backbone']} {line['method']}{fusion}, {line['path']}"
