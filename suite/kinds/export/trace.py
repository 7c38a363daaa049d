"""Behind a number of the matrix of `suite export`: its lines of the record, and the run that made them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from suite.kinds.export.record import MODEL, RECORD, Line, model_of, read_findings
from suite.kinds.export.table import COLUMNS, SHORT, export_table, label
from suite.report.render import as_csv
from suite.report.trace.found import Trace, by_name, look_up, runs_of

HOW = "the least of the ways below, or drawn if patches are drawn, which are then given to eager torch"


def trace_export(folder: Path, row: str, column: str) -> Trace:
    """What is behind a number of the matrix; a row is called TASK BACKBONE METHOD [+ FUSION].

    Raises:
        UserError: for a row or a column that is not there, or a record that cannot be used.
    """
    lines: dict[str, list[Line]] = {}
    for line in read_findings(folder):
        lines.setdefault(f"{line['task']} {line['backbone']} {label(line)}", []).append(line)
    own = look_up("row", row, lines, folder)
    columns = by_name([one for one in COLUMNS if one.key not in (*MODEL, "label")])
    named = look_up("column", column, columns, folder)
    chosen, table = named.column, export_table(folder.name, own)
    (values,), (shown,) = csv.DictReader(io.StringIO(as_csv(table))), table.rows()
    ways = [line for line in own if line["path"] == _path(chosen.key)]
    facts = {name: own[0][name] for name in MODEL} | {"record": str(folder / RECORD)} | named.exact(values)
    if ways:
        facts |= {name: value for name, value in ways[0].items() if value}
    else:
        facts |= {"made": HOW} | {line["path"]: line[chosen.key] for line in own if line[chosen.key]}

    def mine(run: dict[str, Any]) -> dict[str, Any] | None:
        models = [model for model in run["models"] if tuple(model) == model_of(own[0])]
        return {name: fact for name, fact in run.items() if name != "models"} | {"cells": models} if models else None

    return Trace(named.shown(shown.text(chosen), values), facts, runs=runs_of(folder, mine, "suite export"))


def _path(key: str) -> str:
    """The way that a column is of; empty if it is of all."""
    return next((path for path, short in SHORT.items() if key.startswith((path, f"{short.lower()}_"))), "")
