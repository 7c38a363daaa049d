"""The schedule of a row: the study's, or the one with which its method meets the study's budget."""

from __future__ import annotations

import functools

from suite.kinds.training.schema import Row, Study
from suite.reduction.registry import settings_class
from suite.reduction.schedule import Schedule, nothing
from suite.study.schema import Backbone, ScheduleRule


def schedule_of(study: Study, rule: ScheduleRule, row: Row, patches: int, depth: int) -> Schedule:
    """Patches that a row removes in each block, on a backbone of so many patches and blocks.

    Raises:
        ValueError: if the rule is impossible there, or the row's settings are.
    """
    if settings_class(row.method).reduces == "nothing":
        return nothing(patches, depth)
    if rule.budget is None:
        return resolved(study.backbone, rule, patches, depth)
    from suite.study.budget import meet  # which imports torch
    from suite.study.configuration import Configuration

    model = Configuration(
        backbone=study.backbone,
        method=row.method,
        settings=row.settings,
        fusion=row.fusion,
        task=study.task,
        classes=study.classes,
    )
    return meet(model, rule.budget, rule.multiple_of).schedule


def resolved(backbone: Backbone, rule: ScheduleRule, patches: int, depth: int) -> Schedule:
    """Patches that a rule other than a budget removes; asks timm for the prefix tokens if the rule counts them.

    Raises:
        ValueError: if the rule is impossible there.
    """
    return rule.resolve(patches, depth, _prefix(backbone.model_dump_json()) if rule.multiple_of else None)


@functools.cache
def _prefix(backbone: str) -> int:
    from suite.reduction.backbone import on_meta  # which imports torch

    wanted = Backbone.model_validate_json(backbone)
    return int(on_meta(wanted.name, wanted.options, classes=1).num_prefix_tokens)
