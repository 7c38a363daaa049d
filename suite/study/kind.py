"""What a kind of study is: everything that the command line, the page, the trace and the ledger ask of it.

A kind is found by its folder in `suite/kinds/`, or by the entry-point group `cropr_suite.kinds` of another package; its
module defines `KIND`. Importing that module loads nothing heavy: functions import what they need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import plugins
from suite.errors import UserError, suggest
from suite.strict import Strict
from suite.study.records import COMMAND

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console

    from suite.report.layout import Table
    from suite.report.page.facts import Facts
    from suite.report.trace import Used
    from suite.study.published import TableFigure
    from suite.study.sides import Comparison, Side

PACKAGE, GROUP = "suite.kinds", "cropr_suite.kinds"


@dataclass(frozen=True)
class Loaded:
    """A study that was read and checked.

    Attributes:
        path: its file.
        name: that of its folder in `results/`.
        study: what the file says, an instance of its kind's schema.
        kind: its kind.
        changes: what was changed of the file, such as `finetune.epochs=2`.
    """

    path: Path
    name: str
    study: Any
    kind: Kind
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """A figure of a kind of study.

    Attributes:
        title, caption: what readers see with it.
        draw: makes the file (the path given) from the lines of a results folder; raises UserError with the reason where
            the record has nothing to draw.
    """

    title: str
    caption: str
    draw: Callable[[Path, Sequence[Any], Path], None]  # results folder, its lines, file to make


@dataclass(frozen=True)
class Kind:
    """A kind of study.

    Attributes:
        name: what a study says as `kind:`.
        record: the file in `results/NAME/` that table, figures, page and trace are made from; no other kind has one of
            that name.
        command: what writes it; {} is NAME.
        schema: what a study's file may say; None for a kind that has a command of its own instead of a file.
        problems: what is wrong between parts of a study that are right on their own: place in the file, message.
        check: build what the study asks for, without weights; returns what `suite validate` says of it ("51 cells").
        plan: what would run, a mapping for each piece of work, with `status` (done, failed, to run); `suite plan`.
        estimate: what of that is done, and how long the rest will take, in a sentence; `suite plan`.
        timed: time a few steps of what has not run here, with a bar on a console; a table, and the same sentence with
            it; `suite plan --estimate`. None where nothing can be timed so.
        run: run what is not done, on Ray or in this process (the last argument), and export the record to
            `results/NAME/`; returns the exit code. Tables are made by the caller.
        track: write the study's runs into MLflow anew, from its finished cells; None if it has none there.
        publish: have in MLflow what a results folder holds, if the study's runs are there; returns whether it is.
        lines: the rows of the table, with all that is known of each, from the checked record of a results folder.
        table: the table of these lines; the name is that of the results folder.
        facts: what the page says of these lines.
        drawings: figures by name.
        cells: the cells behind a number, for `suite trace`: results folder, lines, line, key of the column, field of
            the CSV or "".
        label: what `suite trace` calls a line.
        missing: a sentence for everything that the study reads and that is not on this machine.
        read: read all that the study reads once, as `run` does before hours are spent on it; UserError names what is
            missing or broken.
        published: the published numbers that the table has, for the ledger, from its rows by column of the CSV; raises
            UserError if the table is not of the numbers as they are published. None if the ledger reads none from it.
        scores: the scores of a results folder, tidy, with columns row, seed and score at least; None if rows have none.
        weights: the file of a row's weights, of study, row, seed and schedule or None; None if it trains nothing.
        compare: what two records or more say of each other; None if there is no such comparison.
    """

    name: str
    record: str
    lines: Callable[[Path], Sequence[Any]]
    table: Callable[[str, Sequence[Any]], Table]
    facts: Callable[[Path, Sequence[Any]], Facts]
    label: Callable[[Any], str]
    cells: Callable[[Path, Sequence[Any], Any, str, str], Sequence[Used]]
    command: str = COMMAND
    drawings: Mapping[str, Drawing] = field(default_factory=dict)
    schema: type[Strict] | None = None
    problems: Callable[[Any], Iterator[tuple[tuple[str | int, ...], str]]] = lambda _study: iter(())
    check: Callable[[Loaded], str] = lambda _loaded: ""
    plan: Callable[[Loaded], Sequence[Mapping[str, Any]]] = lambda _loaded: ()
    estimate: Callable[[Loaded], str] = lambda _loaded: ""
    timed: Callable[[Loaded, Console], tuple[Table, str]] | None = None
    run: Callable[[Loaded, Console, bool], int] | None = None
    track: Callable[[Loaded, Console], None] | None = None
    publish: Callable[[Loaded, Path, Console], bool] = lambda _loaded, _folder, _console: False
    missing: Callable[[Any], Sequence[str]] = lambda _study: ()
    read: Callable[[Loaded, Console], None] = lambda _loaded, _console: None
    published: Callable[[Loaded, Sequence[Mapping[str, Any]]], Iterable[TableFigure]] | None = None
    scores: Callable[[Path], DataFrame] | None = None
    weights: Callable[[Any, str, int, str | None], Path] | None = None
    compare: Callable[[Sequence[Side]], Comparison] | None = None


def kinds() -> dict[str, Kind]:
    """Every kind by its name; heavy imports stay in their functions.

    Raises:
        UserError: if two have one name, or records of one name.
    """
    found: dict[str, Kind] = plugins.every(PACKAGE, GROUP, "KIND")
    origins = {name: f"KIND of {module}" for name, module in plugins.modules(PACKAGE, GROUP).items()}
    named = plugins.by_name((kind.name, kind, origins[name]) for name, kind in found.items())
    plugins.by_name((kind.record, kind, f"the record of {origins[name]}") for name, kind in found.items())
    return named


def kind_of(folder: Path) -> Kind:
    """The kind whose record a results folder has.

    Raises:
        UserError: if it has none.
    """
    if kind := _found_in(folder):
        return kind
    commands = dict.fromkeys(kind.command.format(folder.name) for kind in kinds().values() if kind.command != COMMAND)
    there = [path.name for path in folder.parent.glob("*/") if has_record(path)]
    others = f"; {suggest(folder.name, there)}" if there else ""
    made = " or ".join([COMMAND.format(folder.name), *commands])
    raise UserError(f"{folder} has no record; make it with: {made}{others}")


def has_record(folder: Path) -> bool:
    """Whether a results folder has a record of any kind."""
    return _found_in(folder) is not None


def _found_in(folder: Path) -> Kind | None:
    return next((kind for kind in kinds().values() if (folder / kind.record).is_file()), None)
