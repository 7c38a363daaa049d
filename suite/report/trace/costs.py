"""Behind a number of a table of costs: the published figure, and the formula with the model it was computed of."""

from __future__ import annotations

import csv
from pathlib import Path

from suite.errors import UserError
from suite.report.cost_table import COLUMNS, COUNTS
from suite.report.trace.found import Trace, by_name, look_up

COMPUTED = {"full": COUNTS[::2], "linear": COUNTS[1::2], "off by": ("deviation",), "published": ("value", "unit")}
FORMULA = (
    "a block in which T tokens attend and M enter the MLP, of widths D, Q (queries), K (keys, values), G (gate) and F "
    "(hidden): T D (Q + 2K + G) + T Q D + 2 M D F, or 3 M D F if gated, and in full, not in linear, 2 T T Q; besides, "
    "the patch embedding, the head and what the method adds (suite/measure/cost.py)"
)


def trace_cost(folder: Path, row: str, column: str) -> Trace:
    """What is behind a number of a table of costs, whose rows are called by the id of the published figure."""
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = {found["id"]: found for found in csv.DictReader(file) if "id" in found and "computed_as" in found}
    if not rows:
        raise UserError(f"{folder}/ is neither a study's table nor one of costs; only those can be traced")
    values = look_up("row", row, rows, folder)
    chosen = look_up("column", column, by_name([one for one in COLUMNS if one.heading or one.fields]), folder)
    fields = COMPUTED.get(chosen.heading, chosen.fields)
    shown = ", ".join(f"{field} {values[field] or 'none'}" for field in fields)
    told = ("where", "method", "backbone", "setting", "name", "value", "unit", "source", "evidence")
    facts = {name: values[name] for name in (*told, "computed_as", "read_as", "note") if values[name]}
    if values["computed_as"]:
        facts |= {"formula": FORMULA, "again": f"suite run {folder.name}, which also lets torch count every model"}
    return Trace(shown, facts)
