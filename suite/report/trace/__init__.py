"""Where a number of a table comes from: its runs, their values, and the code and machine that made them."""

from __future__ import annotations

from pathlib import Path

from suite.errors import UserError, suggest
from suite.kinds.costs.trace import trace_cost
from suite.kinds.speed.trace import trace_speed
from suite.kinds.training.trace import trace_score
from suite.report.trace.found import Trace

KINDS = {
    "cells.csv": trace_score,
    "rounds.csv": trace_speed,
}  # by the record beside the table


def trace(address: str, results: Path = Path("results")) -> Trace:
    """What is behind the number at TABLE:ROW:COLUMN.

    A table is a folder in `results`; rows and columns are called as the table calls them, or as its CSV does, which has
    more digits. Where both have a name it is the table's.

    Raises:
        UserError: for an address that does not exist, naming the nearest that do.
    """
    table, _, rest = address.partition(":")
    row, colon, column = rest.rpartition(":")
    if not colon:
        raise UserError(f"{address!r} is no address; write TABLE:ROW:COLUMN, such as 'quickstart:cropr:seeds'")
    names = [file.parent.name for file in results.glob("*/table.csv")]
    if not names:
        raise UserError(f"{results}/ has no tables here, in {Path.cwd()}; make one with: suite run STUDY")
    if table not in names:
        raise UserError(f"{results}/ has no table {table!r}; {suggest(table, names)}")
    folder = results / table
    find = next((find for record, find in KINDS.items() if (folder / record).is_file()), trace_cost)
    return find(folder, row.strip(), column.strip())
