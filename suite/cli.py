"""The command `suite`. Heavy imports stay inside the commands that need them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from suite.errors import UserError

app = typer.Typer(
    help="Reproducible multi-seed studies of token reduction in Vision Transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A path, or a name in studies/.")]


@app.command()
def validate(study: StudyName) -> None:
    """Check a study file without running anything."""
    from suite.study.cells import expand
    from suite.study.load import find_study, load_study

    cells = expand(load_study(study))
    typer.echo(f"{find_study(study)}: valid, {len(cells)} cells")


@app.command(name="list")
def list_() -> None:
    """List the studies in studies/ and the methods they can use."""
    from suite.reduction.registry import modules
    from suite.study.load import FOLDER, study_names

    typer.echo(f"studies in {FOLDER}/: {', '.join(study_names()) or 'none'}")
    typer.echo(f"methods: {', '.join(sorted(modules()))}")


@app.command()
def plan(study: StudyName) -> None:
    """Show a study's cells, and which of them are done."""
    from suite.study.cells import expand
    from suite.study.load import load_study
    from suite.study.record import Record

    record = Record()
    for cell in expand(load_study(study)):
        entry = record.finished(cell) or record.failed(cell)
        seed = cell.identity.get("seed", "-")
        status = entry["status"] if entry else "to run"
        typer.echo(f"{cell.cell_id}  {status:<7}  {cell.kind:<8}  seed {seed:<3}  {cell.row}  [{cell.schedule}]")


@app.command()
def run(study: StudyName) -> None:
    """Run what is not done of a study, then make its table and figure."""
    from rich.console import Console

    from suite.study.load import find_study
    from suite.study.runner import run_study

    console = Console()
    outcome = run_study(study, console)
    title = find_study(study).stem
    console.print(f"{outcome.finished} cells finished, {outcome.failed} failed, {outcome.not_run} not run")
    if outcome.finished:
        _show(title, console)
    if outcome.failed or outcome.not_run:
        typer.echo(f"The same command goes on with what is left: suite run {study}", err=True)
        raise typer.Exit(130 if outcome.not_run and not outcome.failed else 1)


@app.command()
def table(study: StudyName, into: Annotated[Path | None, typer.Option(help="Also put it into this file.")] = None) -> None:
    """Make a study's table and figure again from results/STUDY/cells.csv."""


def _show(title: str, console: object) -> None:
    """Placeholder."""


def main() -> NoReturn:
    """Run the command line; a UserError becomes one message and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
    raise SystemExit(0)
