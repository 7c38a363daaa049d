"""A table as markdown, CSV, HTML, LaTeX and for the terminal; each is a function of `layout.Table` alone."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rich import box
from rich import table as rich_table
from rich.console import Console

from suite.errors import UserError
from suite.report.latex import latex
from suite.report.layout import Block, Column, Row, Table

LONG = 30  # characters; columns of words with longer texts wrap in HTML
ENCODING = '<meta charset="utf-8">\n'  # before a table in a file: else MLflow's page shows dashes as other characters
CODE = re.compile(r"`([^`]*)`")


def markdown(table: Table) -> str:
    """The short form and its notes. Markdown knows no rule inside a table: a line with a block's name stands there."""
    from tabulate import tabulate

    columns = table.shown("short")
    body = []
    for block in table.blocks:
        if len(table.blocks) > 1:
            body.append([f"*{_piped(block.name)}*", *[""] * (len(columns) - 1)])
        body += [[_piped(row.text(column)) for column in columns] for row in block.rows]
    text = tabulate(
        body,
        [_piped(column.heading) for column in columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[column.align for column in columns],
    )
    return f"{text}\n\n" + "".join(f"- {_untagged(str(note))}\n" for note in table.said("short"))


def as_csv(table: Table) -> str:
    """Every field of every column at full precision; empty where there is no value."""
    columns = [column for column in table.columns if column.fields]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([name for column in columns for name in column.fields])
    for row in table.rows():
        writer.writerow([value for column in columns for value in _raw(row, column)])
    return file.getvalue()


def as_records(table: Table) -> list[dict[str, object]]:
    """What the CSV has, row by row, with numbers as numbers; None where there is no value."""
    columns = [column for column in table.columns if column.fields]
    names = [name for column in columns for name in column.fields]
    values = ([value for column in columns for value in _raw(row, column)] for row in table.rows())
    return [{name: None if value == "" else value for name, value in zip(names, own, strict=True)} for own in values]


def as_html(table: Table) -> str:
    """The long form as a fragment of a page: a table with caption, and a list of its notes."""
    columns, name = table.shown("long"), html.escape(table.name)
    notes = "".join(f"<li>{coded(str(note))}</li>\n" for note in table.said("long"))
    heads = "".join(f'<th scope="col"{_style(column)}>{coded(column.heading)}</th>' for column in columns)
    long = {
        one.key for one in columns if one.align == "left" and any(len(row.text(one)) > LONG for row in table.rows())
    }
    bodies = "".join(_body(block, columns, long, len(table.blocks) > 1) for block in table.blocks)
    return (
        f'<section id="table-{name}">\n<table style="border-collapse: collapse" aria-describedby="notes-{name}">\n'
        f"<caption>{coded(table.caption)}</caption>\n<thead>\n<tr>{heads}</tr>\n</thead>\n{bodies}</table>\n"
        f'<ul id="notes-{name}">\n{notes}</ul>\n</section>\n'
    )


def terminal(table: Table, width: int | None = None) -> rich_table.Table:
    """The short form, without its notes; in so many characters as far as they go, but numbers and words stay whole."""
    columns = fitting(table, width)
    drawn = rich_table.Table(box=box.SIMPLE, padding=0)
    for column in columns:
        heading, numbers = column.heading.replace(" ", "\n"), column.align == "right"
        narrowest = _narrowest(table, column)
        drawn.add_column(heading, justify=column.align, no_wrap=numbers, min_width=narrowest, overflow="fold")
    for block in table.blocks:
        for row in block.rows:
            drawn.add_row(*(row.text(column) for column in columns))
        drawn.add_section()
    return drawn


def fitting(table: Table, width: int | None) -> list[Column]:
    """Columns of the short form, without as many of those that may be spared as it takes for this width."""
    columns = table.shown("short")
    spare = [column for column in columns if column.spare]
    while spare and width is not None and sum(_narrowest(table, one) + 1 for one in columns) >= width:
        columns.remove(spare.pop())
    return columns


def _narrowest(table: Table, column: Column) -> int:
    """How many characters a column needs: for its numbers, or for the longest of its words up to `LONG`."""
    texts = [row.text(column) for row in table.rows()]
    words = texts if column.align == "right" else [word[:LONG] for text in texts for word in text.split()]
    return max(map(len, [*column.heading.split(), *words]), default=1)


def show(table: Table, console: Console, *, apart: bool = False) -> None:
    """Print the short form and the notes; if `apart`, each block is a table of its own below its name."""
    for part in [replace(table, blocks=(block,)) for block in table.blocks] if apart else [table]:
        if any(part.rows()):
            width = console.width if console.is_terminal else None  # a pipe or a file is as wide as need be
            drawn = terminal(part, width)
            drawn.title, drawn.title_justify = part.blocks[0].name if apart else None, "left"
            console.print(drawn, crop=False)
            fits = fitting(part, width)
            if left_out := [column.heading for column in part.shown("short") if column not in fits]:
                console.print(
                    f"  Left out on this narrow terminal: {'; '.join(left_out)}.", style="dim", highlight=False
                )
    for note in table.said("short"):
        console.print(f"  {note}", style="dim", highlight=False)


def _html_file(table: Table) -> str:
    return ENCODING + as_html(table)


FORMATS: dict[str, Callable[[Table], str]] = {
    "table.md": markdown,
    "table.csv": as_csv,
    "table.tex": latex,
    "table.html": _html_file,
}


def write(table: Table, folder: Path) -> list[str]:
    """Write every format into a folder whose packages are installed; returns the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, form in FORMATS.items():
        with suppress(ModuleNotFoundError):
            (folder / name).write_text(form(table), encoding="utf-8")
            written.append(name)
    return written


def put_into(document: Path, study: str, content: str) -> None:
    """Replace what stands between the markers of a study in a document.

    Raises:
        UserError: if the document has no such markers.
    """
    begin, end = f"<!-- table: {study} -->", "<!-- end of table -->"
    text = document.read_text(encoding="utf-8") if document.is_file() else ""
    if begin not in text or end not in text.split(begin, 1)[1]:
        raise UserError(f"{document} has no lines '{begin}' and '{end}' to put the table between")
    head, rest = text.split(begin, 1)
    document.write_text(f"{head}{begin}\n{content}{end}{rest.split(end, 1)[1]}", encoding="utf-8")


def coded(text: str) -> str:
    """Text as HTML, with what stands between backticks as code."""
    return CODE.sub(r"<code>\1</code>", html.escape(text, quote=False))


def _piped(text: str) -> str:
    """Text that ends no cell of a markdown table and starts no tag."""
    return _untagged(" ".join(text.split())).replace("|", "\\|")


def _untagged(text: str) -> str:
    """Markdown without tags; between backticks it has none anyway."""
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(text.split("`")))


def _raw(row: Row, column: Column) -> tuple[object, ...]:
    value = row.values.get(column.key)
    if value is None:
        return ("",) * len(column.fields)
    return value if isinstance(value, tuple) else (value,)


def _style(column: Column) -> str:
    return f' style="text-align: {column.align}; padding: 0.1em 0.5em"'


def _body(block: Block, columns: list[Column], long: set[str], named: bool) -> str:
    """A block; where there are several, a rule and its name stand above. Cells of long columns have that class."""
    lines = ['<tbody style="border-top: 1px solid">']
    if named:
        name = f'<th scope="rowgroup" colspan="{len(columns)}" style="text-align: left; font-style: italic">'
        lines.append(f"<tr>{name}{coded(block.name)}</th></tr>")
    for row in block.rows:
        first, *rest = columns
        kinds = (' class="long"' if column.key in long else "" for column in rest)
        texts = zip(rest, kinds, strict=True)
        cells = "".join(f"<td{kind}{_style(column)}>{coded(row.text(column))}</td>" for column, kind in texts)
        lines.append(f'<tr><th scope="row"{_style(first)}>{coded(row.text(first))}</th>{cells}</tr>')
    return "\n".join([*lines, "</tbody>\n"])
