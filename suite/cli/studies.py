"""The commands about studies. As everywhere in `suite/cli/`, heavy imports stay inside the commands that need them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.options import AsJson, Changes, StudyName, complete_study, print_json, say
from suite.errors import UserError, not_installed
from suite.terminal import Lossy, plain

if TYPE_CHECKING:
    from suite.report.layout import Table
    from suite.study.kind import Loaded


def list_(
    method: Annotated[str | None, typer.Argument(metavar="[METHOD]", help="Show its card instead.")] = None,
    cards: Annotated[Path | None, typer.Option(help="Write the cards of all methods into this page instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the studies in studies/, and what a study can name: kinds, tasks, data sets, methods; or show a method."""
    if method or cards:
        _cards(method, cards)
        return
    from suite.data.dataset import data_sets
    from suite.reduction.registry import modules
    from suite.study.kind import kinds
    from suite.study.load import study_names
    from suite.tasks.task import tasks

    found = {
        "studies": study_names(),
        "kinds of study": sorted(name for name, kind in kinds().items() if kind.schema),
        "tasks": sorted(tasks()),
        "data sets": sorted(data_sets()),
        "methods": sorted(modules()),
    }
    if as_json:
        print_json(found)
        return
    for name, names in found.items():
        say(f"{name}: {', '.join(names) or 'none'}")


def _cards(method: str | None, file: Path | None) -> None:
    """The card of a method, from its docstring and the tables in results/; or those of all into a file."""
    from suite.report.cards import card, page
    from suite.study.records import replace

    if method:
        say(card(method, Path("results")).rstrip())
    if file:
        replace(file, page(Path("results")))


def validate(
    study: StudyName,
    change: Changes = None,
    read: Annotated[bool, typer.Option("--read", help="Also read all data and weights, as run does first.")] = False,
) -> None:
    """Check a study file without running anything."""
    from suite.study.load import check_origin, load

    loaded = load(study, change or [])
    check_origin(loaded)
    say(f"{loaded.path}: valid, {loaded.kind.check(loaded)}")
    for sentence in loaded.kind.missing(loaded.study):
        say(f"missing input: {sentence}")
    if read:
        loaded.kind.read(loaded, plain())


def plan(
    study: StudyName,
    change: Changes = None,
    as_json: AsJson = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Train every row for a few updates, which are not kept, to time them.")
    ] = False,
) -> None:
    """Show what a study runs, cell by cell, what of it is done, and how long the rest will take."""
    from suite.study.load import load

    loaded = load(study, change or [])
    for sentence in loaded.kind.missing(loaded.study):
        say(f"missing input: {sentence}", err=True)
    costs, cost = _timed(loaded) if estimate else (None, loaded.kind.estimate(loaded))
    work = [dict(one) for one in loaded.kind.plan(loaded)]
    if as_json:
        print_json({"cells": work, "rows": _records(costs), "estimate": cost} if costs else work)
        return
    widths = {key: max(len(str(one.get(key, ""))) for one in work) for one in work[:1] for key in one}
    for one in work:
        say("  ".join(str(one.get(key, "")).ljust(width) for key, width in widths.items()).rstrip())
    if costs:
        _show(costs)
    if cost:
        say(cost)


def _timed(loaded: Loaded) -> tuple[Table, str]:
    if loaded.kind.timed is None:
        raise UserError(f"{loaded.name} is a study of kind {loaded.kind.name}, which has no updates to time")
    return loaded.kind.timed(loaded, plain(stderr=True))


def _records(table: Table) -> list[dict[str, object]]:
    from suite.report.render import as_records

    return as_records(table)


def _show(table: Table) -> None:
    from suite.report.render import show

    show(table, plain())


def run(
    study: StudyName,
    change: Changes = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="One cell after another in this process, without Ray and MLflow.")
    ] = False,
) -> None:
    """Run what is not done of a study, then make its table and first figure."""
    from suite.report.make import make_table
    from suite.study.load import RESULTS, check_origin, load, remember

    console = plain(file=Lossy(sys.stdout))
    loaded = load(study, change or [])
    check_origin(loaded)
    if loaded.kind.run is None:
        command = loaded.kind.command.format(loaded.name)
        raise UserError(f"a study of {loaded.kind.name} has a command of its own: {command}")
    code = loaded.kind.run(loaded, console, in_process)
    remember(loaded)
    folder = RESULTS / loaded.name
    try:
        make_table(folder, console)
    except UserError as error:
        if not code:
            raise
        console.print(str(error), soft_wrap=True)
    except ModuleNotFoundError as error:
        console.print(f"No table: {not_installed(error)}; where it is: suite table {loaded.name}", soft_wrap=True)
    if not in_process and loaded.kind.publish(loaded, folder, console):
        console.print(f"See the runs in MLflow's page: {_command('ui', study)}", soft_wrap=True)
    if code:
        raise typer.Exit(code)


def _command(*words: str) -> str:
    """How to call this program from here, whether its environment is active or not."""
    program = Path(sys.executable).with_name("suite")
    shown = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program.name
    return " ".join([str(shown), *words])


def track(study: StudyName, change: Changes = None) -> None:
    """Write a study's MLflow runs anew from its finished cells."""
    from suite.study.load import check_origin, load

    loaded = load(study, change or [])
    check_origin(loaded)
    if loaded.kind.track is None:
        raise UserError(f"{loaded.name} is a study of kind {loaded.kind.name}, which has no runs in MLflow to write")
    loaded.kind.track(loaded, plain())


def weights(
    study: StudyName,
    row: Annotated[str, typer.Argument(metavar="ROW", help="As the table calls it.")],
    seed: Annotated[int, typer.Argument(metavar="SEED")],
    schedule: Annotated[str | None, typer.Option(help="As the table calls it, where a row has several.")] = None,
    change: Changes = None,
) -> None:
    """Print the file of a row's trained weights, which evaluate, load and others take."""
    from suite.study.load import load

    loaded = load(study, change or [])
    if loaded.kind.weights is None:
        raise UserError(f"{loaded.name} is a study of kind {loaded.kind.name}, which trains nothing")
    say(str(loaded.kind.weights(loaded.study, row, seed, schedule)))


def pack(
    study: StudyName,
    file: Annotated[Path | None, typer.Option(help="The file to write; by default STUDY.cells.tar.")] = None,
    change: Changes = None,
) -> None:
    """Put a study's finished cells and base weights into one file, with their digests."""
    from suite.study.load import load
    from suite.study.pack import pack_study

    loaded = load(study, change or [])
    path = file or Path(f"{loaded.name}.cells.tar")
    say(f"Written to {path}: {pack_study(loaded, path)}")


def unpack(file: Annotated[Path, typer.Argument(help="What `suite pack` wrote.")]) -> None:
    """Take finished cells out of such a file; `suite run` then goes on from there."""
    from suite.study.pack import unpack
    from suite.study.store import Record

    new, kept = unpack(file, Record())
    say(f"{new} cells are new here, {kept} were here already")


def ui(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY",
            help="A path, or a name in studies/; without it all experiments.",
            autocompletion=complete_study,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="On 127.0.0.1, reachable from this machine only.")
    ] = 5000,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
) -> None:
    """Show the runs in MLflow's own page, until Ctrl-C."""
    from suite.run.mlflow_ui import serve
    from suite.study.load import title_of

    title = None if study is None else title_of(study)
    serve(title, port, not no_open, plain())
