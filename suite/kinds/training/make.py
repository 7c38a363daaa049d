"""Tables of studies: out of a record into its folder and onto the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from suite.errors import UserError
from suite.kinds.training.published import check_rows, read_scores
from suite.kinds.training.results import Results, read_results
from suite.kinds.training.summary import Line
from suite.kinds.training.table import study_table
from suite.report.layout import Table
from suite.report.render import FORMATS, markdown, put_into, show, write
from suite.study.load import find_study, load_study, study_names, title_of

RESULTS = Path("results")
NEEDED = "they need: pip install 'cropr-suite[study]'"


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
    scores = RESULTS / "published/scores.csv"
    if title in study_names():
        check_rows(scores, title, {row.label for row in load_study(title).methods} | {line.row for line in lines})
    made = study_table(folder.name, lines, read_scores(scores))
    files = write(made, folder) + _draw(results, folder / "pareto.png", console)
    if into is not None:
        put_into(into, title, markdown(made))
    show(made, console)
    console.print(f"Written to {folder}/: {', '.join(files)}, from cells.csv")
    if missing := FORMATS.keys() - files:
        console.print(f"Not written: {', '.join(sorted(missing))}; {NEEDED}", style="yellow", soft_wrap=True)
    return lines, made


def _draw(results: Results, path: Path, console: Console) -> list[str]:
    """Draw the study's first figure if it can be; returns its name."""
    try:
        from suite.kinds.training.figures.pareto import draw_pareto

        draw_pareto(results, path)
    except (UserError, ModuleNotFoundError) as error:
        path.unlink(missing_ok=True)  # it would show another record
        reason = NEEDED if isinstance(error, ModuleNotFoundError) else error
        console.print(f"{path.name} is not drawn: {reason}", style="yellow", soft_wrap=True)
        return []
    return [path.name]
