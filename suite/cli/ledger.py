"""The command `suite ledger`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.errors import UserError, suggest

if TYPE_CHECKING:
    from rich.console import Console

    from suite.ledger.lines import Line

TABLE, PAGE = Path("results/ledger.csv"), Path("results/ledger.md")


def ledger(
    context: typer.Context,
    entry: Annotated[str, typer.Argument(metavar="[ID]", help="Say all about one number.")] = "",
    paper: Annotated[str, typer.Option(help="Only numbers of this paper, such as cropr.")] = "",
    state: Annotated[str, typer.Option(help="Only those of a state, such as outside.")] = "",
    method: Annotated[str, typer.Option(help="Only numbers of this method, as its source calls it.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Compute all again; fail if anything is stale.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Compute all again and write the ledger.")] = False,
) -> None:
    """Show each published number, whether it was reproduced here, and what would do it."""
    from rich.console import Console

    console = Console(markup=False)
    if (check or update) and any((entry, paper, state, method, check and update)):
        raise UserError("--check and --update are about the whole ledger; give one of them and nothing else")
    root = context.find_root().command
    if update:
        _update(console, root)
    elif check:
        _check(console, root)
    else:
        _show(console, entry, {"paper": paper, "state": state, "method": method})


def _show(console: Console, entry: str, wanted: dict[str, str]) -> None:
    from suite.ledger.lines import read_lines
    from suite.ledger.table import explanation, noteworthy, terminal, terminal_counts

    lines = read_lines(TABLE)
    if entry:
        found = [line for line in lines if line.id == entry]
        if not found:
            raise UserError(f"the ledger has no entry {entry!r}; {suggest(entry, [line.id for line in lines])}")
        for said in explanation(found[0]):
            console.print(said, soft_wrap=True, highlight=False)
        return
    chosen = _filtered(lines, wanted)
    detailed = chosen if any(wanted.values()) else noteworthy(chosen)
    if detailed:
        console.print(terminal(detailed, narrow=console.is_terminal), crop=False)
    console.print(terminal_counts(chosen), crop=False)
    console.print(f"All about one: suite ledger ID. All of them: {PAGE}", highlight=False)


def _filtered(lines: Sequence[Line], wanted: dict[str, str]) -> list[Line]:
    """Lines that have what is wanted, written in any case.

    Raises:
        UserError: for a filter that no line has.
    """
    from suite.ledger.lines import STATES

    chosen = list(lines)
    for name, value in wanted.items():
        known = sorted({str(getattr(line, name)) for line in lines} | (set(STATES) if name == "state" else set()))
        if value and value.lower() not in [each.lower() for each in known]:
            raise UserError(f"no entry of the ledger has the {name} {value!r}; {suggest(value, known)}")
        chosen = [line for line in chosen if value.lower() in ("", getattr(line, name).lower())]
    return chosen


def _update(console: Console, root: Any) -> None:
    from suite.ledger.lines import write_lines
    from suite.ledger.table import markdown, terminal_counts

    lines = _computed(console, root)
    write_lines(TABLE, lines)
    PAGE.write_text(markdown(lines), encoding="utf-8")
    console.print(terminal_counts(lines), crop=False)
    console.print(f"Written to {TABLE} and {PAGE}")


def _check(console: Console, root: Any) -> None:
    from suite.ledger.lines import UPDATE, read_lines, stale
    from suite.ledger.table import markdown

    committed = read_lines(TABLE)
    lines = _computed(console, root)
    said = stale(committed, lines)
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != markdown(lines):
        said.append(f"{PAGE} is not the page that the records give")
    for sentence in said:
        typer.echo(f"stale: {sentence}", err=True)
    if said:
        typer.echo(f"{len(said)} stale; look at them, then make the ledger again: {UPDATE}", err=True)
        raise typer.Exit(1)
    console.print(f"All {len(lines)} entries are what code and records give.")


def _computed(console: Console, root: Any) -> list[Line]:
    """The ledger as it is now, with every command checked."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from suite.ledger.build import compute, read_entries
    from suite.ledger.command_lines import check_command

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("entries", total=None)
        lines = compute(read_entries(), lambda done, of: bar.update(task, completed=done, total=of))
        task = bar.add_task("commands", total=None)
        commands = _first_with(lines)
        for done, (command, name) in enumerate(commands.items(), 1):
            try:
                check_command(command, root)
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
            bar.update(task, completed=done, total=len(commands))
    return lines


def _first_with(lines: Iterable[Line]) -> dict[str, str]:
    """Each command, and the id of the first entry that has it."""
    found: dict[str, str] = {}
    for line in lines:
        if line.command:
            found.setdefault(line.command, line.id)
    return found
