"""The command `suite compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import AsJson, print_json

RECORD = "A study, a results folder, or STUDY@COMMIT; with :ROW one row of it."
Record = Annotated[str, typer.Argument(help=RECORD)]


def compare(
    one: Record,
    other: Record,
    html: Annotated[Path | None, typer.Option(help="Also write the comparison to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two records, or two rows, over seeds and images; exit code 1 if a row differs."""
    from rich.console import Console

    from suite.kinds.training.compare import DIFFERENT, compared, comparison_table, environment, side
    from suite.report.render import as_html_file, as_records, show

    with side(one) as first, side(other) as second:
        found, differences = compared(first, second), environment(first, second)
    table = comparison_table(first, second, found, differences)
    if html is not None:
        html.write_text(as_html_file(table), encoding="utf-8")
    if as_json:
        print_json({"rows": as_records(table), "environment": differences})
    else:
        show(table, Console(markup=False))
    raise typer.Exit(any(row.verdict == DIFFERENT for row in found))
