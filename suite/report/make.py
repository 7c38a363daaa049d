"""Tables, figures and pages of a results folder, whatever the kind of its study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from suite.errors import UserError, not_installed
from suite.report.layout import Table
from suite.report.render import FORMATS, brief_markdown, put_into, show, write
from suite.report.trace import made_unknown
from suite.study.kind import Kind, kind_of

EXTRAS = "pip install 'cropr-suite[study,segmentation]'"


class Drawn(NamedTuple):
    """A figure that was asked for: its file, or why it could not be drawn."""

    name: str
    path: Path | None
    reason: str = ""


def make_table(folder: Path, console: Console, into: Path | None = None) -> Table:
    """Make and show the table of a results folder, and its first figure; also put the table into a document.

    Raises:
        UserError: for a record that cannot be used, or a document without the table's markers.
    """
    kind = kind_of(folder)
    lines = kind.lines(folder)
    table = kind.table(folder.name, lines)
    files, figures = [*write(table, folder)], [*kind.drawings][:1]
    for drawn in draw(kind, folder, lines, ".png", figures):
        if drawn.path:
            files.append(drawn.path.name)
        else:
            console.print(f"{drawn.name}.png is not drawn: {drawn.reason}", style="yellow", soft_wrap=True)
    if into is not None:
        put_into(into, folder.name, brief_markdown(table))
    show(table, console)
    console.print(f"Written to {folder}/: {', '.join(files)}, from {kind.record}", soft_wrap=True)
    if unknown := made_unknown(folder):
        console.print(f"{unknown}: how it was made cannot be repeated for sure", style="yellow", soft_wrap=True)
    if missing := FORMATS.keys() - files:
        console.print(f"Not written: {', '.join(sorted(missing))}; get what they need with: {EXTRAS}", soft_wrap=True)
    wanted = sorted({*FORMATS, *(f"{name}.png" for name in figures)} - {*files})
    if outdated := [name for name in wanted if (folder / name).is_file()]:
        cure = f"when all is installed make them with: suite table {folder.name}"
        console.print(f"Outdated: {', '.join(outdated)}, of an earlier run; {cure}", style="yellow", soft_wrap=True)
    return table


def draw(kind: Kind, folder: Path, lines: Sequence[Any], suffix: str, names: Sequence[str]) -> Iterator[Drawn]:
    """Draw figures of a results folder; the file of one that cannot be drawn is removed: it showed another record."""
    for name in names:
        path = folder / f"{name}{suffix}"
        try:
            kind.drawings[name].draw(folder, lines, path)
            yield Drawn(name, path)
        except UserError as error:
            path.unlink(missing_ok=True)
            yield Drawn(name, None, str(error))
        except ModuleNotFoundError as error:
            yield Drawn(name, None, not_installed(error))
