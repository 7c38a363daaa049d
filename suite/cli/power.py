"""The command `suite power`: how many seeds a claim needs."""

from __future__ import annotations

from typing import Annotated

import typer

from suite.cli.options import AsJson, print_json

STEPS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50, 100)


def power(
    gap: Annotated[float, typer.Option(help="The difference of two methods that shall be found.")],
    sd: Annotated[float, typer.Option(help="Standard deviation, over seeds, of that difference within a seed.")],
    alpha: Annotated[float, typer.Option(help="p must be below this.")] = 0.05,
    power: Annotated[float, typer.Option(help="The share of studies that shall find it.")] = 0.8,
    comparisons: Annotated[int, typer.Option(help="Methods compared with the control, which p is corrected for.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Tell how many seeds a comparison needs: the power of the paired t-test that tables are made with."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from suite.report.statistics.power import seeds_needed, t_power

    needed = seeds_needed(gap, sd, alpha, power, comparisons)
    found = {
        seeds: t_power(seeds, gap, sd, alpha, comparisons)
        for seeds in sorted({needed, *(step for step in STEPS if step < 2 * needed)})
    }
    if as_json:
        print_json({"needed": needed, "power": found})
        return
    table = Table("seeds", "power", box=box.SIMPLE)
    for seeds, reached in found.items():
        table.add_row(f"{seeds}{' *' if seeds == needed else ''}", f"{reached:.2f}")
    console = Console(markup=False)
    console.print(table)
    console.print(
        f"* {needed} seeds find a gap of {gap:g} (standard deviation {sd:g}) in {100 * power:g} % of studies or more.\n"
        f"Power of the paired t-test, two-sided, p times {comparisons} for Holm's correction, where differences are "
        "normal: by the noncentral t distribution."
    )
