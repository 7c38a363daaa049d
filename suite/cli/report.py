"""The command `suite report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


def report(study: Annotated[str, typer.Argument(metavar="STUDY", help="A path, or a name in studies/.")]) -> None:
    """Write results/STUDY/report.html: question, answer, table, figures and provenance, on one page without network."""
    from rich.console import Console

    from suite.cli.app import _loaded
    from suite.kinds.training.make import results_of
    from suite.kinds.training.track import publish
    from suite.report.page.write import costs_page, speed_page
    from suite.study.load import is_of_costs, is_of_speed

    console = Console(markup=False)
    folder = results_of(study)
    if is_of_costs(study):
        page, scored = costs_page(study, folder), False
    elif is_of_speed(study):
        page, scored = speed_page(study, folder), False
    else:
        page, scored = _scored(study, folder, console), True
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    console.print(
        f"Written to {path}: {len(page.encode()) / 2**20:.1f} MiB, opens in any browser",
        highlight=False,
        soft_wrap=True,
    )
    if scored:
        publish(_loaded(study), folder, console)


def _scored(study: str, folder: Path, console: Console) -> str:
    """The page of a study with cells; figures that are missing or of another record are drawn first."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from suite.kinds.training.figures.draw import figures_of
    from suite.kinds.training.results import read_results
    from suite.report.page.write import draw_outdated, outdated, study_page

    results = read_results(folder)
    undrawn: dict[str, str] = {}
    columns = (TextColumn("figures"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=sum(outdated(folder, name) for name in figures_of(study)))
        for drawn in draw_outdated(study, results):
            bar.advance(task)
            if drawn.path is None:
                undrawn[drawn.name] = drawn.reason
    return study_page(study, results, undrawn)
