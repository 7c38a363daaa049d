"""The command `suite figures`."""

from __future__ import annotations

from typing import Annotated

import typer

from suite.errors import UserError


def figures(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A path, or a name in studies/.")],
    pdf: Annotated[bool, typer.Option("--pdf", help="Write vector graphics instead of PNG.")] = False,
) -> None:
    """Draw all figures of a study again from results/STUDY/; nothing is trained."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from suite.report.figures.study import draw_study, figures_of
    from suite.report.recorded import read_results
    from suite.tables import results_of

    console = Console(markup=False)
    results = read_results(results_of(study))
    written = 0
    columns = (TextColumn("figures"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(figures_of(study)))
        for drawn in draw_study(study, results, ".pdf" if pdf else ".png"):
            bar.advance(task)
            written += drawn.path is not None
            said = f"written to {drawn.path}" if drawn.path else f"not drawn: {drawn.reason}"
            console.print(f"{drawn.name:<16} {said}", soft_wrap=True, highlight=False)
    if not written:
        raise UserError(f"no figure of {study} could be drawn")
