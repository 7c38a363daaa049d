"""The command `suite trace`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli.options import AsJson, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from suite.report.trace import Used


def trace(
    address: Annotated[
        str,
        typer.Argument(metavar="TABLE:ROW:COLUMN", help="As the table calls them, such as 'quickstart:cropr:acc. %'."),
    ],
    as_json: AsJson = False,
) -> None:
    """Show what is behind a number of a table: runs, seeds, values, commit, versions and machine."""
    from rich.console import Console

    from suite.report.trace import trace as find

    console = Console(markup=False, highlight=False)
    found = find(address)
    if as_json:
        print_json(asdict(found) | {"cells": [cell._asdict() for cell in found.cells]})
        return
    console.print(f"{address} = {found.shown}", style="bold", soft_wrap=True)
    for name, fact in found.facts.items():
        console.print(f"  {name}: {fact}", soft_wrap=True)
    if found.cells:
        console.print(_cells(found.cells))
    for run in found.runs:
        made = f"{len(run['cells'])} of {len(found.cells)} cells were made by" if found.cells else "made by"
        console.print(made, soft_wrap=True)
        for name, fact in ({"device": "not recorded"} | run if found.cells else run).items():
            if name != "cells":
                console.print(f"  {name}: {_plain(fact)}", soft_wrap=True)
    if found.unknown:
        console.print(f"provenance.json does not have {', '.join(found.unknown)}; it knows finished cells only")


def _cells(cells: tuple[Used, ...]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table("cell", "row", "seed", "status", "values", box=box.SIMPLE)
    for cell in cells:
        numbers = " ".join(f"{value:.6g}" for value in cell.values)
        table.add_row(cell.cell_id, cell.row, cell.seed, cell.status, f"{numbers} {cell.unit}" if numbers else "–")
    return table


def _plain(fact: Any) -> str:
    """A fact on one line; versions as NAME VERSION."""
    if isinstance(fact, dict):
        return ", ".join(f"{name} {value}" for name, value in fact.items() if value)
    if isinstance(fact, list):
        return ", ".join(map(str, fact)) or "none"
    return str(fact)
