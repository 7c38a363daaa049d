"""Tables of studies: out of a record into its folder, onto the terminal, and into MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from suite.errors import UserError
from suite.kinds.training.figures.pareto import draw_pareto
from suite.kinds.training.published import read_scores
from suite.kinds.training.results import read_results
from suite.kinds.training.summary import Line
from suite.kinds.training.table import study_table
from suite.report.layout import Table
from suite.report.render import markdown, put_into, show, write
from suite.study.load import find_study, load_study, study_names, title_of

if TYPE_CHECKING:
    from suite.run.mlflow_writer import Tracker

RESULTS = Path("results")


def results_of(study: str) -> Path:
    """The folder of the results of a study, which is named by its path or its name; its file may be gone.

    Raises:
        UserError: if there is neither a record nor such a study, with the nearest names.
    """
    folder = RESULTS / Path(title_of(study)).name
    if not (folder / "cells.csv").is_file():
        find_study(study)
    return folder


def make_table(title: str, console: Console, into: Path | None = None) -> tuple[list[Line], Table]:
    """Make and show a study's table and first figure from `results/TITLE/cells.csv`; also put it into a document.

    Raises:
        UserError: for a record or published scores that cannot be used, or a document without the table's markers.
    """
    folder = RESULTS / title
    results = read_results(folder)
    lines = list(results.lines)
    asked = {row.label for row in load_study(title).methods} if title in study_names() else set()
    known = asked | {line.row for line in lines} if asked else set()
    made = study_table(folder.name, lines, read_scores(RESULTS / "published/scores.csv", title, known))
    files = write(made, folder)
    pareto = folder / "pareto.png"
    try:
        draw_pareto(results, pareto)
        files.append(pareto.name)
    except UserError as error:
        pareto.unlink(missing_ok=True)  # it would show another record
        console.print(f"{pareto.name} is not drawn: {error}", style="yellow", soft_wrap=True)
    if into is not None:
        put_into(into, title, markdown(made))
    show(made, console)
    console.print(f"Written to {folder}/: {', '.join(files)}, from cells.csv")
    return lines, made


def conclude(tracker: Tracker, lines: Sequence[Line], made: Table, question: str, console: Console) -> None:
    """Give MLflow's parent runs their medians, and the study's run its table and all that its folder holds."""
    from suite.kinds.training.mlflow_views import box_plots, row_metrics, views
    from suite.kinds.training.runner import track
    from suite.run.mlflow_writer import Summary

    summary = Summary(row_metrics(lines), f"{question.strip()}\n\n{markdown(made)}", box_plots(lines), views(lines))
    track("medians", lambda: tracker.conclude(summary, RESULTS / tracker.study), console)


def attach(study: str, folder: Path, console: Console) -> bool:
    """Have what the folder holds in MLflow too, if the study's runs are there; returns whether it is.

    Pages and figures need no store and make none.
    """
    from suite.run.mlflow_store import experiment_id, store_uri

    uri = store_uri()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        return False
    from mlflow.exceptions import MlflowException

    from suite.kinds.training.cells import expand
    from suite.run.mlflow_writer import Tracker

    try:
        experiment_id(uri, folder.name)
        Tracker(folder.name, expand(load_study(study))).attach(folder)
    except (UserError, MlflowException, OSError) as error:  # what it is about is written already
        console.print(f"not put into MLflow: {error}", style="yellow", soft_wrap=True)
        return False
    return True
