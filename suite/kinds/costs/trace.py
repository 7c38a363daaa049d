"""Behind a number of a table of costs: the published figure, and the formula with the model it was computed of."""

from __future__ import annotations

from pathlib import Path

from suite.kinds.costs.answer import read_costs
from suite.kinds.costs.table import COLUMNS, numbered_notes, texts
from suite.report.trace.found import Trace, by_name, look_up

FORMULA = (
    "a block in which T tokens attend and M enter the MLP, of widths D, Q (queries), K (keys, values), G (gate) and F "
    "(hidden): T D (Q + 2K + G) + T Q D + 2 M D F, or 3 M D F if gated, and in full, not in linear, 2 T T Q; besides, "
    "the patch embedding, the head and what the method adds (suite/measure/cost.py)"
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
    told = ("where", "method", "backbone", "setting", "metric", "value", "unit", "source", "evidence")
    facts = {name: values[name] for name in (*told, "computed_as", "read_as", "note") if values[name]}
    facts |= named.exact(values)
    if values["computed_as"]:
        facts |= {"formula": FORMULA, "again": f"suite run {folder.name}, which also lets torch count every model"}
    facts["record"] = str(folder / "table.csv")
    return Trace(named.shown(text or "", values), facts)
