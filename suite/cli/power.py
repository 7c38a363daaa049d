"""The command `suite power`: how many seeds a claim needs."""

from __future__ import annotations

from typing import Annotated

import typer

STEPS = (3, 5, 6, 8, 10, 12, 15, 20, 30, 50, 100)


def power(
    gap: Annotated[float, typer.Option(help="The difference of two methods that shall be found.")],
    sd: Annotated[float, typer.Option(help="Standard deviation, over seeds, of that difference within a seed.")],
    alpha: Annotated[float, typer.Option(help="p must be below this.")] = 0.05,
    power: Annotated[float, typer.Option(help="The share of studies that shall find it.")] = 0.8,
    comparisons: Annotated[int, typer.Option(help="Methods compared with the control, which p is corrected for.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation.")] = 0,
) -> None:
    """Tell how many seeds a paired comparison needs, by simulating the exact test that tables are made with."""
    import numpy as np
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from suite.report.statistics.power import fewest_seeds, seeds_needed, simulated_power, t_power
    from suite.report.statistics.significance import smallest_p

    console, generator = Console(markup=False), np.random.default_rng(seed)
    with console.status("simulating studies"):
        needed, reached = seeds_needed(gap, sd, generator, alpha, power, comparisons)
        possible = fewest_seeds(alpha, comparisons)
        table = Table("seeds", "smallest p", "power", "power of a t-test", box=box.SIMPLE)
        for seeds in sorted({possible, needed, *(step for step in STEPS if step < 2 * needed)}):
            can = seeds >= possible
            found = reached if seeds == needed else simulated_power(seeds, gap, sd, generator, alpha, comparisons)
            table.add_row(
                f"{seeds}{' *' if seeds == needed else ''}",
                f"{smallest_p(seeds, comparisons):.3g}",
                f"{found:.2f}" if can else "none",
                f"{t_power(seeds, gap, sd, alpha, comparisons):.2f}",
            )
    console.print(table)
    console.print(
        f"* {needed} seeds find a gap of {gap:g} (standard deviation {sd:g}) in {100 * power:g} % of studies or more.\n"
        f"With fewer than {possible} seeds p < {alpha:g} is impossible, whatever the scores.\n"
        f"Power: of Wilcoxon's signed-rank test, exact, two-sided, p times {comparisons} for Holm's correction; "
        "simulated with normal differences. The t-test's: by the noncentral t distribution."
    )
