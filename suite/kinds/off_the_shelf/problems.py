"""What is wrong between parts of a study without training that are right on their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from suite.errors import UserError
from suite.kinds.off_the_shelf.cells import OTHERS, SMALLER, UNPRUNED, impossible
from suite.kinds.off_the_shelf.schema import OffTheShelfStudy, name_of
from suite.kinds.training.cells import resolved
from suite.reduction.registry import settings_class
from suite.reduction.size import Size, by
from suite.strict import Place
from suite.strict import problems as wrong
from suite.study.schema import ScheduleRule, plain_name
from suite.tasks.task import task

Problem = tuple[Place, str]


def problems(study: OffTheShelfStudy) -> Iterator[Problem]:
    """Place and message of everything that contradicts something else."""
    yield from _names(study)
    if all(settings_class(row.method).reduces == "nothing" for row in study.methods):
        yield ("methods",), "no method reduces anything; name one, such as tome; the unpruned model is always there"
    try:
        size = study.backbone.size()
    except UserError as error:
        yield ("backbone",), str(error)
        return
    if size.image != (study.data.size, study.data.size):
        message = f"the backbone takes {by(size.image)} pixels; say as much here, or another img_size in its options"
        yield ("data", "size"), message
    yield from _others(study)
    unread = list(_unread(study))
    yield from unread or _impossible(study, size)


def _names(study: OffTheShelfStudy) -> Iterator[Problem]:
    labels = [row.label for row in study.methods]
    reduces = [settings_class(row.method).reduces != "nothing" for row in study.methods]
    several: dict[str, list[Any]] = {"seeds": [*study.seeds], "methods": [*labels], "budgets": [*study.budgets]}
    several |= {"models": [other.label for other in study.models]}
    for key, values in several.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (key, index), f"{value!r} is a duplicate; rows, seeds, budgets and models must be unique"
    taken = (UNPRUNED, SMALLER)
    rows: list[tuple[str, int, str, tuple[str, ...]]] = [
        ("methods", index, label, taken if reduces[index] else ()) for index, label in enumerate(labels)
    ]
    rows += [("models", index, label, (*taken, *labels)) for index, label in enumerate(several["models"])]
    for key, index, label, known in rows:
        if label in known:
            yield (key, index), f"{label!r} is what tables call another row; name it otherwise"
        try:
            plain_name(label)
        except ValueError as error:
            yield (key, index), f"{label!r} is no name of a row, give it one: {error}"
    for index, rule in enumerate(study.schedules):
        if name_of(rule) in (UNPRUNED, SMALLER, OTHERS):
            yield ("schedules", index), f"{name_of(rule)!r} is what tables call no schedule; name it otherwise"
    if len(study.rules) < len(study.budgets) + len(study.schedules):
        yield ("schedules",), "two of them, or one and a budget, have one name; give them names of their own"


def _others(study: OffTheShelfStudy) -> Iterator[Problem]:
    for index, other in enumerate(study.models):
        try:
            other.backbone.size()
        except UserError as error:
            yield ("models", index, "backbone"), str(error)
    if study.models and not study.classes and not study.data.neighbours:
        yield ("models",), "features of other models are not compared, and without a head (classes: 0) nothing else is"


def _unread(study: OffTheShelfStudy) -> Iterator[Problem]:
    for index, row in enumerate(study.methods):
        try:
            task(study.task).check_fusion(row.fusion)
        except ValueError as error:
            yield ("methods", index, "fusion"), str(error)


def _impossible(study: OffTheShelfStudy, size: Size) -> Iterator[Problem]:
    """Settings that are none, rules that fit no backbone of this size, and rows that no schedule is possible for."""
    fits = list[ScheduleRule]()
    for index, rule in enumerate(study.schedules):
        try:
            fits += [rule] if rule.budget or resolved(study.backbone, rule, size.patches, size.depth) else []
        except ValueError as error:
            yield ("schedules", index), str(error)
    rules = [*fits, *[None] * len(study.budgets)]
    for index, row in enumerate(study.methods):
        try:
            settings = settings_class(row.method)(**row.settings)
        except ValidationError as error:
            for inner, message in wrong(error):
                yield ("methods", index, "settings", *inner), f"{message} (method {row.method})"
            continue
        reasons = [impossible(study, rule, settings, row.fusion, size) for rule in rules]
        if reasons and all(reasons):
            yield ("methods", index), f"{row.label}: {reasons[0]}"
