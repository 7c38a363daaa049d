"""The command `suite run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import Changes, StudyName


def run(
    study: StudyName,
    change: Changes = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="One cell after another in this process, without Ray and MLflow.")
    ] = False,
) -> None:
    """Run what is not done of a study, then make its table and first figure."""
    from rich.console import Console

    from suite.errors import UserError
    from suite.report.make import make_table
    from suite.study.load import RESULTS, load, remember

    console, loaded = Console(markup=False), load(study, change or [])
    if loaded.kind.run is None:
        raise UserError(f"a study of {loaded.kind.name} has a command of its own: suite {loaded.kind.name}")
    code = loaded.kind.run(loaded, console, in_process)
    remember(loaded)
    folder = RESULTS / loaded.name
    try:
        make_table(folder, console)
    except UserError as error:
        if not code:
            raise
        console.print(str(error), soft_wrap=True)
    if not in_process and loaded.kind.publish(loaded, folder, console):
        console.print(f"See the runs in MLflow's page: {_command('ui', study)}", soft_wrap=True)
    if code:
        raise typer.Exit(code)


def _command(*words: str) -> str:
    """How to call this program from here, whether its environment is active or not."""
    program = Path(sys.executable).with_name("suite")
    shown = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program.name
    return " ".join([str(shown), *words])
