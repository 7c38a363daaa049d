"""The command `suite table`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import AsJson, StudyName, print_json


def table(
    study: StudyName,
    into: Annotated[Path | None, typer.Option(help="Also put it into this file, between the study's markers.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a study's table and first figure again from the record in results/STUDY/."""
    from rich.console import Console

    from suite.report.make import make_table
    from suite.report.render import as_records
    from suite.study.load import results_of

    made = make_table(results_of(study), Console(markup=False, stderr=as_json), into)
    if as_json:
        print_json(as_records(made))
