"""A table as markdown, CSV, HTML, LaTeX and for the terminal; each is a function of `layout.Table` alone."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rich import box
from rich import table as rich_table
from rich.console import Console
from rich.measure import Measurement

from suite.errors import UserError
from suite.report.latex import latex
from suite.report.layout import Block, Column, Note, Table
from suite.study import records

LONG = 30  # characters; columns of words with longer texts wrap in HTML
ENCODING = '<meta charset="utf-8">\n'  # before a table in a file: else MLflow's page shows dashes as other characters
CODE = re.compile(r"`([^`]*)`")


def markdown(table: Table) -> str:
    """The short form and its notes. Markdown knows no rule inside a table: a line with a block's name stands there."""
    return _with_notes(table, table.shown("short"), table.notes_of("short"))


def brief_markdown(table: Table) -> str:
    """The columns of `Table.brief`, and what the marks in them mean."""
    columns = [column for column in table.shown("short") if not table.brief or column.key in table.brief]
    shown = " ".join(row.text(column) for row in table.rows() for column in columns)
    return _with_notes(table, columns, [note for note in table.notes_of("short") if note.mark and note.mark in shown])


def _with_notes(table: Table, columns: Sequence[Column], notes: Sequence[Note]) -> str:
    return f"{_piped_table(table, columns)}\n\n" + "".join(f"- {_untagged(str(note))}\n" for note in notes)


def _piped_table(table: Table, columns: Sequence[Column]) -> str:
    from tabulate import tabulate

    body = []
    for block in table.blocks:
        if len(table.blocks) > 1:
            body.append([f"*{_piped(block.name)}*", *[""] * (len(columns) - 1)])
        body += [[_piped(row.text(column)) for column in columns] for row in block.rows]
    return tabulate(
        body,
        [_piped(column.heading) for column in columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[column.align for column in columns],
    )


def as_csv(table: Table) -> str:
    """Every field of every column at full precision; empty where there is no value."""
    file = io.StringIO()
    writer = csv.DictWriter(file, [name for column in table.columns for name in column.fields], lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_records(table))
    return file.getvalue()


def as_records(table: Table) -> list[dict[str, object]]:
    """What the CSV has, row by row, with numbers as numbers; None where there is no value."""
    names = [name for column in table.columns for name in column.fields]
    values = ([value for column in table.columns for value in row.raw(column)] for row in table.rows())
    return [{name: None if value == "" else value for name, value in zip(names, own, strict=True)} for own in values]


def as_html(table: Table) -> str:
    """The long form as a fragment of a page: a table with caption, and a list of its notes."""
    columns, name = table.shown("long"), html.escape(table.name)
    notes = "".join(f"<li>{coded(str(note))}</li>\n" for note in table.notes_of("long"))
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


def show(table: Table, console: Console) -> None:
    """Print the short form and the notes.

    A terminal that is too narrow leaves out optional columns and says which; a pipe or a file has all.
    """
    for part in [replace(table, blocks=(block,)) for block in table.blocks] if table.apart else [table]:
        columns = part.shown("short")
        optional = [column for column in columns if column.optional] if console.is_terminal else []
        excluded: list[str] = []
        drawn = terminal(part, columns)
        while (
            optional and Measurement.get(console, console.options.update(max_width=9999), drawn).minimum > console.width
        ):
            excluded.insert(0, optional[-1].heading)
            columns.remove(optional.pop())
            drawn = terminal(part, columns)
        drawn.title, drawn.title_justify = part.blocks[0].name if table.apart else None, "left"
        if part.blocks and any(part.rows()):
            least = Measurement.get(console, console.options.update(max_width=9999), drawn).minimum
            drawn.width = least if least > console.width else None  # else rich takes words away, column by column
            console.print(drawn, crop=False)
        if excluded:
            hint = f"  Left out on this narrow terminal: {'; '.join(excluded)}."
            console.print(hint, style="dim", highlight=False)
    for note in table.notes_of("short"):
        console.print(f"  {note}", style="dim", highlight=False)


def terminal(table: Table, columns: Sequence[Column]) -> rich_table.Table:
    """Columns of a table, without notes; numbers and words stay whole, words up to `LONG` characters."""
    drawn = rich_table.Table(box=box.SIMPLE, padding=0)
    for column in columns:
        heading, numbers = column.heading.replace(" ", "\n"), column.align == "right"
        texts = [row.text(column) for row in table.rows()]
        words = texts if numbers else [word[:LONG] for text in texts for word in text.split()]
        narrowest = max(map(len, [*column.heading.split(), *words]), default=1)
        drawn.add_column(heading, justify=column.align, no_wrap=numbers, min_width=narrowest, overflow="fold")
    for block in table.blocks:
        for row in block.rows:
            drawn.add_row(*(row.text(column) for column in columns))
        drawn.add_section()
    return drawn


def as_html_file(table: Table) -> str:
    """The same as a file of its own."""
    return ENCODING + as_html(table)


FORMATS: dict[str, Callable[[Table], str]] = {
    "table.md": markdown,
    "table.csv": as_csv,
    "table.tex": latex,
    "table.html": as_html_file,
}


def write(table: Table, folder: Path) -> list[str]:
    """Write every format into a folder whose packages are installed; returns the names of the files."""
    written = []
    for name, form in FORMATS.items():
        with suppress(ModuleNotFoundError):
            records.replace(folder / name, form(table))
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
    records.replace(document, f"{head}{begin}\n{content}{end}{rest.split(end, 1)[1]}")


def coded(text: str) -> str:
    """Text as HTML, with what stands between backticks as code."""
    return CODE.sub(r"<code>\1</code>", html.escape(text, quote=False))


def _piped(text: str) -> str:
    """Text that ends no cell of a markdown table and starts no tag."""
    return _untagged(" ".join(text.split())).replace("|", "\\|")


def _untagged(text: str) -> str:
    """Markdown without tags; between backticks it has none anyway."""
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(text.split("`")))


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
