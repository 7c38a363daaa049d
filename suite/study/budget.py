"""Budgets: the schedule at which a method uses a share of what the unpruned model does, by its strength parameter."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from suite.errors import UserError
from suite.measure.count import count
from suite.measure.strength import TOLERANCE, Choice, Strengths, choices
from suite.measure.tokens import expected_tokens
from suite.reduction.attention import TimmModule
from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel
from suite.reduction.registry import settings_class
from suite.reduction.schedule import in_multiples
from suite.strict import explained
from suite.study.configuration import Configuration
from suite.study.schema import Budget, ScheduleRule
from suite.tasks.task import ReadOut

Result = TypeVar("Result")


@dataclass(frozen=True)
class Solution:
    """A setting of a strength parameter, and what it uses and the budget, both as shares of the unpruned model's."""

    choice: Choice
    share: float
    wanted: float

    @property
    def meets(self) -> bool:
        """Whether it is within one percent of the budget."""
        return abs(self.share / self.wanted - 1) <= TOLERANCE


def used(budget: Budget, model: ReducedModel, read_out: ReadOut) -> float:
    """What a deployed model uses of what the budget is about."""
    if budget.macs is not None:
        return float(getattr(count(model, read_out).macs, budget.convention))
    tokens = expected_tokens(model)
    return (sum(tokens.attention) + sum(tokens.mlp)) / 2 / len(tokens.mlp)


def meet(model: Configuration, budget: Budget, multiple_of: int | None = None) -> Solution:
    """The schedule at which a method meets a budget, or comes nearest to it.

    With `multiple_of`, among the schedules in such multiples of tokens.

    UserError for whatever of the configuration cannot be; ValueError for a backbone that the strength parameter does
    not fit.
    """
    return _met(model.model_dump_json(), budget, multiple_of)


@functools.cache
def _met(model: str, budget: Budget, multiple_of: int | None) -> Solution:
    alike = budget.model_copy(update={"macs": budget.macs and 1.0, "tokens": budget.tokens and 1.0})
    strengths = _strengths(model, alike, multiple_of)
    number = strengths.nearest(budget.share)
    return Solution(strengths.choices[number], strengths.cost(number), budget.share)


@functools.lru_cache(maxsize=32)
def _strengths(model: str, budget: Budget, multiple_of: int | None) -> Strengths:
    """Shared by budgets of one sort, because costs are dear."""
    return strengths_of(Configuration.model_validate_json(model), budget, multiple_of)


def strengths_of(model: Configuration, budget: Budget, multiple_of: int | None) -> Strengths:
    """All settings of a method's strength parameter, with what each uses of what the budget is about; as `meet`."""
    backbone, read_out = shared_backbone(model), model.read_out
    settings = settings_class(model.method)(**model.settings)
    rows, columns = backbone.patch_embed.grid_size
    rounded = (
        functools.partial(in_multiples, prefix=backbone.num_prefix_tokens, of=multiple_of) if multiple_of else None
    )
    found = choices(settings, model.fusion, rows * columns, len(backbone.blocks), rounded)
    whole = _whole(model.unpruned().model_dump_json(), budget)

    @functools.cache
    def cost(number: int) -> float:
        rule = ScheduleRule(removed=found[number].schedule.removed)
        chosen = model.model_copy(update={"schedule": rule})
        return used(budget, chosen.build(backbone=backbone), read_out) / whole

    return Strengths(found, cost)


def shared_backbone(model: Configuration) -> TimmModule:
    """A configuration's backbone without weights, which models of all methods share, because to build it is dear."""
    return _backbone(model.unpruned().model_dump_json())


@functools.lru_cache(maxsize=4)
def _backbone(unpruned: str) -> TimmModule:
    return Configuration.model_validate_json(unpruned).build_backbone()


@functools.cache
def _whole(unpruned: str, budget: Budget) -> float:
    model = Configuration.model_validate_json(unpruned)
    return used(budget, model.build(backbone=shared_backbone(model)), model.read_out)


def attempt(model: Configuration, solve: Callable[[], Result]) -> Result | str:
    """What `solve` finds, or why the model's method can have no budget on this backbone or with this fusion.

    UserError for what is wrong however the backbone is.
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
