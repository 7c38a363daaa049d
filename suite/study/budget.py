"""Budgets: a schedule for each row of a study, by its method's strength parameter; and what `suite budget` shows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table

from suite.errors import UserError
from suite.measure.count import count
from suite.measure.knobs import TOLERANCE, Cost, Rounded, Solution, as_it_is, solve
from suite.measure.tokens import expected_tokens
from suite.reduction.blocks import TimmModule
from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel
from suite.reduction.registry import settings_class
from suite.reduction.schedule import Schedule, in_multiples
from suite.strict import explained
from suite.study.configuration import Configuration
from suite.study.schema import Budget, ScheduleRule
from suite.tasks.task import ReadOut
from suite.terminal import track

Result = TypeVar("Result")


def used(budget: Budget, model: ReducedModel, read_out: ReadOut) -> float:
    """What a deployed model uses of what the budget is about."""
    if budget.macs is not None:
        return float(getattr(count(model, read_out).macs, budget.convention))
    tokens = expected_tokens(model)
    return (sum(tokens.attention) + sum(tokens.mlp)) / 2 / len(tokens.mlp)


def meet(model: Configuration, budget: Budget, multiple_of: int | None = None) -> Solution:
    """The schedule at which a method meets a budget, or comes nearest to it.

    With `multiple_of`, among the schedules in such multiples of tokens.

    Raises:
        UserError: for whatever of the configuration cannot be.
        ValueError: for a backbone that the knob does not fit.
    """
    return _met(model.model_dump_json(), budget, multiple_of)


@functools.cache
def _met(said: str, budget: Budget, multiple_of: int | None) -> Solution:
    model = Configuration.model_validate_json(said)
    backbone, settings = model.build_backbone(), settings_class(model.method)(**model.settings)
    rows, columns = backbone.patch_embed.grid_size
    rounded = rounding(multiple_of, backbone.num_prefix_tokens)
    cost = cost_of(model, budget, backbone)
    return solve(settings, model.fusion, rows * columns, len(backbone.blocks), budget.share, cost, rounded)


def cost_of(model: Configuration, budget: Budget, backbone: TimmModule) -> Cost:
    """What a schedule makes of a model, as a share of the unpruned one, of what the budget is about.

    `backbone` is the configuration's own.
    """
    read_out, whole = model.read_out, _whole(model.unpruned().model_dump_json(), budget)

    def cost(counts: Schedule) -> float:
        chosen = model.model_copy(update={"schedule": ScheduleRule(removed=counts.removed)})
        return used(budget, chosen.build(backbone=backbone), read_out) / whole

    return cost


@functools.cache
def _whole(unpruned: str, budget: Budget) -> float:
    model = Configuration.model_validate_json(unpruned)
    return used(budget, model.build(), model.read_out)


def rounding(multiple_of: int | None, prefix: int) -> Rounded:
    """What is made of the schedules of a knob."""
    return functools.partial(in_multiples, prefix=prefix, of=multiple_of) if multiple_of else as_it_is


def show_budget(
    models: Sequence[Configuration], wanted: Budget, multiple_of: int | None, console: Console
) -> list[dict[str, Any]]:
    """Solve for every method, show its knob, its schedule and what it uses, and return the same for programs."""
    found: dict[str, Solution | str] = {}
    for model in track(models, "solving", len(models), console):
        found[model.method] = attempt(model, functools.partial(meet, model, wanted, multiple_of))
    check_any(found)
    table = Table(box=box.SIMPLE, padding=(0, 1))
    for name in ("method", "knob", "of the unpruned", "off by", "", "patches removed per block"):
        table.add_column(name, justify="right" if name in ("of the unpruned", "off by") else "left")
    for method, solution in found.items():
        table.add_row(*_cells(method, solution))
    console.print(headline(models[0], wanted.label, multiple_of), highlight=False)
    console.print(table)
    note = "The last column is `removed` of a study's schedule."
    if any(isinstance(solution, Solution) and not solution.meets for solution in found.values()):
        note = (
            f"Nearest: no setting of the method's strength parameter comes within {TOLERANCE:.0%}, this is nearest. "
            f"{note}"
        )
    console.print(note, style="dim", highlight=False)
    return [{"method": method, **_as_mapping(solution)} for method, solution in found.items()]


def _as_mapping(found: Solution | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"excluded": found}
    names = ("knob", "share", "wanted", "meets")
    return {"removed": found.schedule.removed} | {name: getattr(found, name) for name in names}


def headline(model: Configuration, label: str, multiple_of: int | None) -> str:
    """What was asked for."""
    rounded = f", blocks leave multiples of {multiple_of} tokens" if multiple_of else ""
    return f"{model.backbone.name}: {label} of the unpruned model{rounded}"


def attempt(model: Configuration, solve: Callable[[], Result]) -> Result | str:
    """What `solve` finds, or why the model's method can have no budget on this backbone or with this fusion.

    Raises:
        UserError: for what is wrong however the backbone is.
    """
    with explained(model.method):
        own = settings_class(model.method)(**model.settings)
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
