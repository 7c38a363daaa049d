"""The page of a study: what it holds, put into its template. The same record makes the same bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image
from rich.console import Console

from suite.report.make import draw
from suite.report.page.origin import read_origin
from suite.report.render import as_html, coded
from suite.report.style import drawn_from
from suite.study.kind import Drawing, Kind, Loaded
from suite.study.load import words_of
from suite.study.records import digest_of
from suite.terminal import track

ENLARGED = 0.7  # CSS pixels of a figure's pixel: letters are then as large as those of the text


@dataclass(frozen=True)
class Figure:
    """A figure inside the page: `image` is its file in base64, `width` and `height` are in CSS pixels."""

    name: str
    drawing: Drawing
    image: str
    width: int
    height: int


def page(
    kind: Kind, folder: Path, console: Console, loaded: Loaded | None = None, published: Sequence[Any] = ()
) -> str:
    """The page of a results folder; outdated figures are drawn first.

    Args:
        kind: of its record.
        folder: where the results are.
        console: where the bar of the figures is shown.
        loaded: the study; None where a command makes the record and there is no file.
        published: lines of the ledger that the study answers.

    Raises:
        UserError: for a record or a provenance that cannot be read.
    """
    lines = kind.lines(folder)
    names = [name for name in kind.drawings if is_outdated(folder / f"{name}.png")]
    drawn = track(draw(kind, folder, lines, ".png", names), "figures", len(names), console)
    undrawn = {kind.drawings[one.name].title: one.reason for one in drawn if one.path is None}
    table = kind.table(folder.name, lines)
    first = next(column.heading for column in table.shown("short")[1:])
    environment = Environment(
        loader=PackageLoader("suite.report.page", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["coded"] = lambda text: Markup(coded(text))  # noqa: S704 - `coded` escapes
    return environment.get_template("page.html").render(
        name=folder.name,
        study=loaded,
        text=loaded.path.read_text(encoding="utf-8") if loaded else "",
        words=words_of(loaded) if loaded else "",
        facts=kind.facts(folder, lines),
        table=_boxed(as_html(table)),
        address=f"{folder.name}:{kind.label(lines[0])}:{first}",
        figures=[_figure(folder, name, own) for name, own in kind.drawings.items() if own.title not in undrawn],
        undrawn=undrawn,
        published=published,
        origin=read_origin(folder, kind),
    )


def is_outdated(figure: Path) -> bool:
    """Whether a figure is missing, or drawn from records that are not those beside it: its digests tell."""
    said = drawn_from(figure)
    now = {record: digest_of(path) for record in said if (path := figure.with_name(record)).is_file()}
    return not said or said != now


def _boxed(tables: str) -> Markup:
    """Tables of ours, each in a box of its own in which it scrolls where the page is narrow."""
    box = '<div class="scroll" role="region" aria-label="table" tabindex="0">\n<table'
    return Markup(tables.replace("<table", box).replace("</table>", "</table>\n</div>"))  # noqa: S704 - ours, escaped


def _figure(folder: Path, name: str, drawing: Drawing) -> Figure:
    content = (folder / f"{name}.png").read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        width, height = (round(ENLARGED * side) for side in image.size)
    return Figure(name, drawing, base64.b64encode(content).decode(), width, height)
