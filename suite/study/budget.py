"""A study's budget: a schedule for each of its rows, by its method's strength parameter."""

from __future__ import annotations

import functools

from suite.measure.count import count
from suite.measure.knobs import Cost, Rounded, Solution, as_it_is, solve
from suite.measure.tokens import expected_tokens
from suite.reduction.blocks import TimmModule
from suite.reduction.model import ReducedModel
from suite.reduction.registry import settings_class
from suite.reduction.schedule import Schedule, in_multiples
from suite.study.configuration import Configuration
from suite.study.schema import Budget, ScheduleRule
from suite.tasks.task import ReadOut


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
def _met(model: str, budget: Budget, multiple_of: int | None) -> Solution:
    return _meet(Configuration.model_validate_json(model), budget, multiple_of)


def _meet(model: Configuration, budget: Budget, multiple_of: int | None) -> Solution:
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
