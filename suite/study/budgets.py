"""What `suite budget` finds and shows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table

from suite.errors import UserError
from suite.measure.knobs import TOLERANCE, Solution
from suite.reduction.method import UnmetNeed
from suite.reduction.registry import settings_class
from suite.strict import explain
from suite.study.budget import meet
from suite.study.configuration import Configuration
from suite.study.schema import Budget
from suite.terminal import track

Result = TypeVar("Result")


def solve(
    models: Sequence[Configuration], wanted: Budget, multiple_of: int | None, console: Console
) -> dict[str, Solution | str]:
    """By method the setting of its knob that meets the budget or comes nearest, or why there is none.

    Raises:
        UserError: as `meet`, or if no method can have a budget here.
    """
    found: dict[str, Solution | str] = {}
    for model in track(models, "solving", len(models), console):
        found[model.method] = attempt(model, functools.partial(meet, model, wanted, multiple_of))
    check_any(found)
    return found


def show(found: Mapping[str, Solution | str], title: str, console: Console) -> None:
    """Show every method's knob, its schedule and what it uses, under what was asked for."""
    table = Table(box=box.SIMPLE, padding=(0, 1))
    for name in ("method", "knob", "of the unpruned", "off by", "", "patches removed per block"):
        table.add_column(name, justify="right" if name in ("of the unpruned", "off by") else "left")
    for method, solution in found.items():
        table.add_row(*_cells(method, solution))
    console.print(title, highlight=False)
    console.print(table)
    note = "The last column is `removed` of a study's schedule."
    if any(isinstance(solution, Solution) and not solution.meets for solution in found.values()):
        note = (
            f"Nearest: no setting of the method's strength parameter comes within {TOLERANCE:.0%}, this is nearest. "
            f"{note}"
        )
    console.print(note, style="dim", highlight=False)


def as_records(found: Mapping[str, Solution | str]) -> list[dict[str, Any]]:
    """The same for programs: a mapping for each method, with `excluded` where it can have no budget."""
    return [
        {"method": method, "excluded": one}
        if isinstance(one, str)
        else {
            "method": method,
            "knob": one.knob,
            "share": one.share,
            "wanted": one.wanted,
            "meets": one.meets,
            "removed": one.schedule.removed,
        }
        for method, one in found.items()
    ]


def headline(model: Configuration, label: str, multiple_of: int | None) -> str:
    """What was asked for."""
    rounded = f", blocks leave multiples of {multiple_of} tokens" if multiple_of else ""
    return f"{model.backbone.name}: {label} of the unpruned model{rounded}"


def attempt(model: Configuration, solve: Callable[[], Result]) -> Result | str:
    """What `solve` finds, or why the model's method can have no budget on this backbone or with this fusion.

    Raises:
        UserError: for what is wrong however the backbone is.
    """
    try:
        own = settings_class(model.method)(**model.settings)
    except ValidationError as error:
        raise UserError(f"{model.method}: {explain(error)}") from error
    if model.fusion != "none" and not own.can_stash() and own.reduces != "nothing":
        return f"has no {model.fusion} fusion: it {own.verb()} patches"
    try:
        return solve()
    except UserError as error:
        if not isinstance(error.__cause__, UnmetNeed):
            raise
        return str(error.__cause__)
    except ValueError as error:
        return str(error)


def check_any(found: Mapping[str, object]) -> None:
    """Refuse if there is a reason for every method why it has no budget.

    Raises:
        UserError: with the reasons.
    """
    if all(isinstance(one, str) for one in found.values()):
        raise UserError("; ".join(f"{method}: {reason}" for method, reason in found.items()))


def _cells(method: str, solution: Solution | str) -> tuple[str, ...]:
    if isinstance(solution, str):
        return (method, solution, "", "", "", "")
    return (
        method,
        solution.knob,
        f"{solution.share:.4f}",
        f"{100 * (solution.share / solution.wanted - 1):+.2f} %",
        "" if solution.meets else "nearest",
        " ".join(map(str, solution.schedule.removed)),
    )
