"""The command `suite ledger`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli import options
from suite.errors import UserError, suggest

if TYPE_CHECKING:
    from rich.console import Console

    from suite.ledger.lines import Line

TABLE, PAGE = Path("results/ledger.csv"), Path("results/ledger.md")
UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # of click, which some versions of typer have inside


def ledger(
    context: typer.Context,
    entry: Annotated[str, typer.Argument(metavar="[ID]", help="Say all about one number.")] = "",
    paper: Annotated[str, typer.Option(help="Only numbers of this paper, such as cropr.")] = "",
    state: Annotated[str, typer.Option(help="Only those of a state, such as outside.")] = "",
    method: Annotated[str, typer.Option(help="Only numbers of this method, as its source calls it.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Compute all again; fail if anything is stale.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Compute all again and write the ledger.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show each published number, whether it was reproduced here, and what would do it."""
    from suite.terminal import plain

    console = plain()
    if (check or update) and any((entry, paper, state, method, as_json, check and update)):
        raise UserError("--check and --update are about the whole ledger; give one of them and nothing else")
    if check or update:
        lines = _computed(console, context.find_root().command)
        _write(lines) if update else _compare(lines)
    else:
        _show(entry, {"paper": paper, "state": state, "method": method}, as_json)


def check_command(text: str, group: Any) -> None:
    """Parse a command line as `suite` would, without running it; what it names must exist.

    `group` is click's group of all commands, see `context.find_root()`.

    Raises:
        UserError: if `suite` would refuse it.
    """
    from suite.strict import explained

    program, name, *arguments = [*shlex.split(text), "", ""]
    if program != "suite" or name not in group.commands:
        raise UserError(f"{text!r} is no command of suite; {suggest(name, group.commands)}")
    try:
        with explained():
            _check_names(group.commands[name].make_context(name, arguments[:-2]).params)
    except (UsageError, UserError) as error:
        raise UserError(f"{text!r}: {error}") from error


def _check_names(given: dict[str, Any]) -> None:
    from suite.official import layouts
    from suite.reduction.registry import module_of
    from suite.study.load import find_study

    if given.get("study"):
        find_study(given["study"])
    options.schedule_rule(given.get("schedule"))
    for method in [given["method"]] if isinstance(given.get("method"), str) else given.get("method") or []:
        module_of(method)
    if layout := given.get("layout"):
        if layout not in layouts():
            raise UserError(f"there is no layout {layout!r}; {suggest(layout, layouts())}")
        layouts()[layout].options(**options.pairs(given.get("option") or (), "--option", "r=8"))


def _show(entry: str, wanted: dict[str, str], as_json: bool) -> None:
    from suite.ledger.lines import read_lines
    from suite.ledger.table import explanation, noteworthy, terminal, terminal_counts

    lines = read_lines(TABLE)
    if entry:
        by_id = {line.id: line for line in lines}
        if entry not in by_id:
            raise UserError(f"the ledger has no entry {entry!r}; {suggest(entry, by_id)}")
        chosen = [by_id[entry]]
    else:
        chosen = _filtered(lines, wanted)
    if as_json:
        options.print_json([line.model_dump() | {"paper": line.paper} for line in chosen])
        return
    if entry:
        options.say("\n".join(explanation(chosen[0])))
        return
    if detailed := chosen if any(wanted.values()) else noteworthy(chosen):
        options.say(f"{terminal(detailed)}\n")
    options.say(f"{terminal_counts(chosen)}\n\nAll about one: suite ledger ID. All of them: {PAGE}")


def _filtered(lines: Sequence[Line], wanted: dict[str, str]) -> list[Line]:
    """Lines that have what is wanted, written in any case."""
    from suite.ledger.lines import STATES

    chosen = list(lines)
    for name, value in wanted.items():
        known = sorted({str(getattr(line, name)) for line in lines} | (set(STATES) if name == "state" else set()))
        if value and value.lower() not in [each.lower() for each in known]:
            raise UserError(f"no entry of the ledger has the {name} {value!r}; {suggest(value, known)}")
        chosen = [line for line in chosen if value.lower() in ("", getattr(line, name).lower())]
    return chosen


def _write(lines: Sequence[Line]) -> None:
    from suite.ledger.lines import write_lines
    from suite.ledger.table import markdown, terminal_counts
    from suite.study.records import replace

    write_lines(TABLE, lines)
    replace(PAGE, markdown(lines))
    options.say(f"{terminal_counts(lines)}\n\nWritten to {TABLE} and {PAGE}")


def _compare(lines: Sequence[Line]) -> None:
    from suite.ledger.lines import UPDATE, read_lines, stale
    from suite.ledger.table import markdown

    found = stale(read_lines(TABLE), lines)
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != markdown(lines):
        found.append(f"{PAGE} is not the page that the records give")
    for sentence in found:
        options.say(f"stale: {sentence}", err=True)
    if found:
        options.say(f"{len(found)} stale; look at them, then make the ledger again: {UPDATE}", err=True)
        raise typer.Exit(1)
    options.say(f"All {len(lines)} entries are what code and records give.")


def _computed(console: Console, root: Any) -> list[Line]:
    """The ledger as it is now, with every command checked."""
    from suite.ledger.build import compute, read_entries
    from suite.terminal import ManualProgress

    with ManualProgress(console, text="entries") as bar:
        lines = compute(read_entries(), bar.reach)
    first = {line.command: line.id for line in reversed(lines) if line.command}
    for command, name in first.items():
        try:
            check_command(command, root)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    return lines
