"""A study's budget: a schedule for each of its rows, on the row's own knob."""

from __future__ import annotations

import functools

from suite.measure.cost import account, total
from suite.measure.tokens import expected_ledger
from suite.reduction.budget import Solution, solve
from suite.reduction.model import ReducedModel
from suite.reduction.registry import settings_class
from suite.reduction.schedule import Schedule
from suite.study.configuration import Configuration, build, build_backbone
from suite.study.schema import Budget, ScheduleRule


def used(budget: Budget, model: ReducedModel, dense: bool) -> float:
    """What a deployed model uses of what the budget is about."""
    if budget.macs is not None:
        return float(getattr(total(account(model, dense)), budget.convention))
    ledger = expected_ledger(model)
    return (sum(ledger.attention) + sum(ledger.mlp)) / 2 / len(ledger.mlp)


@functools.cache
def _met(model: str, budget: Budget) -> Solution:
    return _meet(Configuration.model_validate_json(model), budget)


def meet(model: Configuration, budget: Budget) -> Solution:
    """The schedule at which a method meets a budget, or comes nearest to it.

    Raises:
        UserError: for whatever of the configuration cannot be.
        ValueError: for a backbone that the knob does not fit.
    """
    return _met(model.model_dump_json(), budget)


def _meet(model: Configuration, budget: Budget) -> Solution:
    backbone, dense = build_backbone(model), model.task == "segmentation"
    rows, columns = backbone.patch_embed.grid_size
    whole = used(budget, build(model.unpruned(), backbone), dense)

    def cost(counts: Schedule) -> float:
        chosen = model.model_copy(update={"schedule": ScheduleRule(removed=counts.removed)})
        return used(budget, build(chosen, backbone), dense) / whole

    settings = settings_class(model.method)(**model.settings)
    return solve(settings, model.fusion, rows * columns, len(backbone.blocks), budget.share, cost)
