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

    from suite.kinds.training.figures.draw import draw_study, figures_of
    from suite.kinds.training.make import results_of
    from suite.kinds.training.results import read_results
    from suite.study.load import is_of_costs, is_of_speed

    console, folder = Console(markup=False), results_of(study)
    if is_of_costs(study):
        raise UserError(f"{study} is a study of costs and has no figures; its table: suite table {study}")
    if is_of_speed(study):
        raise UserError(f"{study} is a study of speed; its one figure comes with its table: suite table {study}")
    results = read_results(folder)
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
