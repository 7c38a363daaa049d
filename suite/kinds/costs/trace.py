"""Behind a number of a table of costs: the published figure, and the model whose products were counted."""

from __future__ import annotations

from pathlib import Path

from suite.kinds.costs.answer import read_costs
from suite.kinds.costs.record import RECORD
from suite.kinds.costs.table import COLUMNS, numbered_notes, texts
from suite.report.trace.found import Trace, by_name, look_up

COUNTED = (
    "by torch, each matrix product and convolution of one image, while the deployed model runs without weights; in "
    "linear without the two products of the attention (suite/measure/count.py)"
)


def trace_cost(folder: Path, row: str, column: str) -> Trace:
    """What is behind a number of a table of costs, whose rows are called by the id of the published figure.

    Raises:
        UserError: for a row or a column that is not there, or a table that is none of costs, or was edited.
    """
    rows = {found["id"]: found for found in read_costs(folder)}
    values = look_up("row", row, rows, folder)
    named = look_up("column", column, by_name(COLUMNS), folder)
    text = texts(values, numbered_notes(one["note"] for one in rows.values())).get(named.column.key)
    told = ("where", "method", "backbone", "setting", "name", "value", "unit", "source", "evidence")
    facts = {name: values[name] for name in (*told, "computed_as", "read_as", "note") if values[name]}
    facts |= named.exact(values)
    if values["computed_as"]:
        facts |= {"counted": COUNTED, "again": f"suite run {folder.name}"}
    facts["record"] = str(folder / RECORD)
    return Trace(named.shown(text or "", values), facts)
