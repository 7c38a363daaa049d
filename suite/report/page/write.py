"""The page: what it holds, put into its template. The same record makes the same bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from suite.errors import UserError
from suite.kinds.costs.answer import answer_of_costs, read_costs
from suite.kinds.costs.record import lines
from suite.kinds.costs.table import cost_table
from suite.kinds.speed.answer import answer_of_speed
from suite.kinds.speed.figure import draw_speeds
from suite.kinds.speed.lines import summarise
from suite.kinds.speed.rounds import asked_for, read_rounds
from suite.kinds.speed.table import speed_table
from suite.kinds.training.answer import answer
from suite.kinds.training.cells import expand
from suite.kinds.training.figures.draw import Drawn, draw_study, figures_of
from suite.kinds.training.published import read_scores
from suite.kinds.training.results import Results
from suite.kinds.training.table import study_table
from suite.ledger.lines import Line as LedgerLine
from suite.ledger.lines import read_lines
from suite.report.page.captions import CAPTIONS, Caption
from suite.report.page.origin import read_origin
from suite.report.render import as_html, coded
from suite.report.style import drawn_from
from suite.study.cells import Cell
from suite.study.load import find_study, load_costs, load_speed, load_study
from suite.study.records import digest_of

ENLARGED = 0.7  # CSS pixels of a figure's pixel: letters are then as large as those of the text


@dataclass(frozen=True)
class Figure:
    """A figure inside the page: `image` is its file in base64, `width` and `height` are in CSS pixels."""

    name: str
    caption: Caption
    image: str
    width: int
    height: int


def outdated(folder: Path, name: str) -> bool:
    """Whether a figure is missing, or drawn from records that are not those beside it: its digests tell."""
    said = drawn_from(folder / f"{name}.png")
    now = {record: digest_of(folder / record) for record in said if (folder / record).is_file()}
    return not said or said != now


def draw_outdated(study: str, results: Results) -> Iterator[Drawn]:
    """Draw the figures that are missing or of another record; what cannot be drawn says why."""
    names = [name for name in figures_of(study) if outdated(results.folder, name)]
    yield from draw_study(study, results, ".png", names)


def study_page(study: str, results: Results, undrawn: dict[str, str]) -> str:
    """The page of a study with cells, out of its file and its results folder.

    Args:
        study: the study's file, by path or name.
        results: what its folder holds.
        undrawn: by figure, why it could not be drawn.

    Raises:
        UserError: for a study or a provenance that cannot be read, or a ledger that is damaged.
    """
    name, loaded = results.folder.name, load_study(study)
    scores = read_scores(results.folder.parent / "published/scores.csv")
    table = study_table(name, results.lines, scores)
    cells, asked = set(results.frame["cell_id"]), expand(loaded)
    ids = {cell.cell_id for cell in asked}
    about = [row for row in loaded.methods if row.label in loaded.focus]
    return _render(
        study,
        results.folder,
        "cells",
        question=loaded.question,
        answer=answer(results.lines, table, about, _missing(asked, results)),
        table=_boxed(as_html(table)),
        figures=_figures(results.folder, [figure for figure in figures_of(study) if figure not in undrawn]),
        undrawn={CAPTIONS[figure].title: reason for figure, reason in undrawn.items()},
        ledger=_ledger(results.folder.parent, name),
        origin=read_origin(results.folder, cells),
        drifted=(len(ids - cells), len(cells - ids), len(ids)),
    )


def _missing(asked: Sequence[Cell], results: Results) -> int:
    """How many seeds of rows were never tried, also where data, recipe or code have changed since the record."""
    trained = results.frame[results.frame["kind"] == "accuracy"]
    tried = set(zip(trained["row"], trained["schedule"], trained["seed"], strict=True))
    wanted = {(cell.row, cell.schedule, str(cell.identity["seed"])) for cell in asked if cell.kind == "accuracy"}
    return len(wanted - tried)


def costs_page(study: str, folder: Path) -> str:
    """The page of a study of costs, out of its file and the record in its results folder.

    Raises:
        UserError: if it has no such record yet.
    """
    loaded, rows = load_costs(study), read_costs(folder)
    return _render(
        study,
        folder,
        "costs",
        question=loaded.question,
        answer=answer_of_costs(rows, loaded.tolerance),
        table=_boxed(as_html(cost_table(folder.name, lines(folder)))),
        origin=read_origin(folder),
    )


def speed_page(study: str, folder: Path) -> str:
    """The page of a study of speed, out of its file and the rounds in its results folder.

    Its picture is drawn first where it is missing or of other rounds.

    Raises:
        UserError: if nothing is measured yet, or the record or the published figures cannot be read.
    """
    loaded = load_speed(study)
    rounds, _ = asked_for(loaded, read_rounds(folder))
    if not rounds:
        raise UserError(f"{folder}/rounds.csv has nothing that {study} asks for; make it with: suite run {folder.name}")
    lines, undrawn = summarise(loaded, rounds), {}
    if outdated(folder, "speed"):
        try:
            draw_speeds(lines, folder / "speed.png")
        except UserError as error:
            undrawn[CAPTIONS["speed"].title] = str(error)
    return _render(
        study,
        folder,
        "speed",
        question=loaded.question,
        answer=answer_of_speed(loaded, lines),
        table=_boxed(as_html(speed_table(folder.name, loaded, lines))),
        figures=_figures(folder, [] if undrawn else ["speed"]),
        undrawn=undrawn,
        ledger=_ledger(folder.parent, folder.name),
        origin=read_origin(folder),
    )


def _render(study: str, folder: Path, kind: Literal["cells", "costs", "speed"], **parts: Any) -> str:
    """Put parts into the template; those that only a study with cells has may be left out."""
    environment = Environment(
        loader=PackageLoader("suite.report.page", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["coded"] = lambda text: Markup(coded(text))  # noqa: S704 - `coded` escapes
    file = find_study(study)
    text = file.read_text(encoding="utf-8")
    given: dict[str, Any] = {"figures": [], "undrawn": {}, "ledger": [], "drifted": (0, 0, 0)}
    given |= {"name": folder.name, "kind": kind, "file": file.name, "text": text}
    return environment.get_template("page.html").render(given | parts)


def _boxed(tables: str) -> Markup:
    """Tables of ours, each in a box of its own in which it scrolls where the page is narrow."""
    box = '<div class="scroll" role="region" aria-label="table" tabindex="0">\n<table'
    return Markup(tables.replace("<table", box).replace("</table>", "</table>\n</div>"))  # noqa: S704 - ours, escaped


def _figures(folder: Path, names: Sequence[str]) -> list[Figure]:
    """Those of the figures that the folder has."""
    found = []
    for name in names:
        path = folder / f"{name}.png"
        if path.is_file():
            content = path.read_bytes()
            with Image.open(io.BytesIO(content)) as image:
                width, height = (round(ENLARGED * side) for side in image.size)
            found.append(Figure(name, CAPTIONS[name], base64.b64encode(content).decode(), width, height))
    return found


def _ledger(results: Path, name: str) -> list[LedgerLine]:
    """The ledger's lines that this study answers: they name it as their command."""
    path = results / "ledger.csv"
    return [line for line in read_lines(path) if line.command == f"suite run {name}"] if path.is_file() else []
