"""The commands about results: tables, figures, pages, and what is behind a number."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from suite.cli.options import AsJson, StudyName, check_output, complete_results, print_json
from suite.errors import UserError
from suite.terminal import plain

RECORD = "A study, a results folder, or STUDY@COMMIT; with :ROW one row of it."


def table(
    study: StudyName,
    into: Annotated[Path | None, typer.Option(help="Also put it into this file, between the study's markers.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a study's table and first figure again from the record in results/STUDY/."""
    from suite.report.make import make_table
    from suite.report.render import as_records
    from suite.study.load import results_of

    made = make_table(results_of(study), plain(stderr=as_json), into)
    if as_json:
        print_json(as_records(made))


def compare(
    records: Annotated[list[str], typer.Argument(help=RECORD, autocompletion=complete_results)],
    html: Annotated[Path | None, typer.Option(help="Also write the comparison to this file.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Also draw the rows of all records into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two records, or two rows, over seeds and images, or every two of several; exit code 1 if they differ."""
    from contextlib import ExitStack

    from suite.report.layout import Note
    from suite.report.render import as_html_file, as_records, show
    from suite.study.records import replace as write_whole
    from suite.study.sides import environment, kind_of_all, side

    for path in (html, figure):
        check_output(path)
    if figure is not None:
        from suite.report.style import check_figure

        check_figure(figure)
    if len(records) < 2:
        raise UserError(f"{records[0]} is one record; name two or more")
    with ExitStack() as stack:
        sides = [stack.enter_context(side(name)) for name in records]
        kind, differences = kind_of_all(sides), environment(*sides) if len(sides) == 2 else {}
        if kind.compare is None:
            raise UserError(f"records of kind {kind.name} cannot be compared; see their tables: suite table STUDY")
        found = kind.compare(sides)
        if figure is not None:
            found.draw(figure)
    said = (f"{name}: {one or 'not known'} / {other or 'not known'}." for name, (one, other) in differences.items())
    table = replace(found.table, notes=(*found.table.notes, *map(Note, said)))
    if html is not None:
        write_whole(html, as_html_file(table))
    if as_json:
        print_json({"agree": not found.differs, "rows": as_records(table), "environment": differences})
    else:
        show(table, plain())
    raise typer.Exit(found.differs)


def figures(
    study: StudyName,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write vector graphics instead of PNG.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Only the figure of this name, such as maps; repeatable.")
    ] = None,
) -> None:
    """Draw all figures of a study again from results/STUDY/; nothing is trained."""
    from suite.errors import named
    from suite.report.make import draw
    from suite.study.kind import kind_of
    from suite.study.load import find, results_of
    from suite.terminal import track

    console, folder = plain(), results_of(study)
    kind = kind_of(folder)
    if not kind.drawings:
        raise UserError(f"{folder} is of kind {kind.name}, which has no figures; its table: suite table {study}")
    for name in only or ():
        named(name, kind.drawings, "figure")
    names, written = list(dict.fromkeys(only or kind.drawings)), 0
    for drawn in track(
        draw(kind, folder, kind.lines(folder), ".pdf" if pdf else ".png", names), "figures", len(names), console
    ):
        written += drawn.path is not None
        said = f"written to {drawn.path}" if drawn.path else f"not drawn: {drawn.reason}"
        console.print(f"{drawn.name:<16} {said}", soft_wrap=True, highlight=False)
    if not written:
        raise UserError(f"no figure of {study} could be drawn")
    if loaded := find(study):
        kind.publish(loaded, folder, console)


def report(study: StudyName) -> None:
    """Write results/STUDY/report.html: question, answer, table, figures and provenance, on one page without network."""
    from suite.ledger.lines import read_lines
    from suite.report.page.write import page
    from suite.study.kind import kind_of
    from suite.study.load import SUFFIXES, find, load, results_of
    from suite.study.records import replace as write_whole

    console, folder = plain(), results_of(study)
    kind = kind_of(folder)
    loaded, command = (
        load(study) if Path(study).suffix.lower() in SUFFIXES else find(folder.name),
        kind.command.format(folder.name),
    )
    ledger = folder.parent / "ledger.csv"
    numbers = read_lines(ledger) if ledger.is_file() else []
    text = page(kind, folder, console, loaded, [line for line in numbers if line.command == command])
    path = folder / "report.html"
    write_whole(path, text)
    size = len(text.encode()) / 2**20
    console.print(f"Written to {path}: {size:.1f} MiB, opens in any browser", highlight=False, soft_wrap=True)
    if loaded:
        kind.publish(loaded, folder, console)


def trace(
    address: Annotated[
        str,
        typer.Argument(
            metavar="TABLE:ROW:COLUMN",
            help="As the table calls them, such as 'quickstart:cropr:acc. %'.",
            autocompletion=complete_results,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show what is behind a number of a table: runs, seeds, values, commit, versions and machine."""
    from suite.report.trace import trace as find

    console = plain(highlight=False)
    found = find(address)
    if as_json:
        print_json(asdict(found) | {"cells": [cell._asdict() for cell in found.cells]})
        return
    console.print(f"{address} = {found.shown}", style="bold", soft_wrap=True)
    for name, fact in found.facts.items():
        console.print(f"  {name}: {fact}", soft_wrap=True)
    if found.cells:
        table = Table("cell", "row", "seed", "status", "values", box=box.SIMPLE)
        for cell in found.cells:
            numbers = " ".join(f"{value:.6g}" for value in cell.values)
            table.add_row(cell.cell_id, cell.row, cell.seed, cell.status, f"{numbers} {cell.unit}" if numbers else "–")
        console.print(table)
    for run in found.runs:
        made = f"{len(run['cells'])} of {len(found.cells)} cells were made by" if found.cells else "made by"
        console.print(made, soft_wrap=True)
        for name, fact in ({"device": "not recorded"} | run if found.cells else run).items():
            if name != "cells":
                console.print(f"  {name}: {_plain(fact)}", soft_wrap=True)
    if found.unknown:
        console.print(f"provenance.json does not have {', '.join(found.unknown)}; it knows finished cells only")


def _plain(fact: Any) -> str:
    """A fact on one line; versions as NAME VERSION."""
    if isinstance(fact, dict):
        return ", ".join(f"{name} {value}" for name, value in fact.items() if value)
    if isinstance(fact, list):
        return ", ".join(map(str, fact)) or "none"
    return str(fact)
