"""What is wrong between parts of a study that are right on their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from suite.errors import UserError, suggest
from suite.kinds.training.cells import resolved, schedule_of
from suite.kinds.training.schema import Row, Study
from suite.reduction.registry import settings_class
from suite.reduction.schedule import Schedule, common_rate
from suite.reduction.size import Size, by
from suite.strict import Place
from suite.strict import problems as wrong
from suite.study.cells import LENGTH
from suite.study.schema import ScheduleRule, alike, plain_name

Problem = tuple[Place, str]
CHANNELS = 3  # of all images; grey ones are read with three that are equal
NEARLY = "by white space or capitals only; name one of them otherwise"


def problems(study: Study) -> Iterator[Problem]:
    """Place and message of everything that contradicts something else."""
    yield from _names(study)
    yield from _recipes(study)
    yield from _lengths(study)
    if study.track_scores and study.data.places:
        message = f"scores are looked at on images in memory, and those of {study.data.recipe} are files; leave it out"
        yield ("track_scores",), message
    if study.goal.target not in study.data.targets:
        offers = ", ".join(study.data.targets)
        yield ("data", "recipe"), f"{study.task} needs {study.goal.target}, {study.data.recipe} offers {offers}"
        return
    try:
        size = study.backbone.size()
    except UserError as error:
        yield ("backbone",), str(error)
        return
    yield from _wrong_channels(study)
    yield from _wrong_size(study, size)
    yield from _impossible_schedules(study, size.patches, size.depth)


def _names(study: Study) -> Iterator[Problem]:
    for key in ("seeds", "methods", "focus"):
        values = [row.label for row in study.methods] if key == "methods" else getattr(study, key)
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (key, index), f"{value!r} is a duplicate; row names and seeds must be unique"
            elif key == "methods" and (other := _nearly(value, values[:index])):
                yield (key, index), f"{value!r} differs from {other!r} {NEARLY}"
    reduced = [row.label for row in study.methods if settings_class(row.method).reduces != "nothing"]
    yield from _files(study)
    yield from _labels(study, reduced)
    for index, name in enumerate(study.focus):
        if name not in reduced:
            yield ("focus", index), f"no reduced row is called {name!r}; {suggest(name, reduced)}"


def _files(study: Study) -> Iterator[Problem]:
    """A row without a name is called as its method's file is."""
    for index, row in enumerate(study.methods):
        try:
            plain_name(row.label)
        except ValueError as error:
            yield ("methods", index), f"{row.label!r} is no name of a row, give it one: {error}"


def _labels(study: Study, reduced: Collection[str]) -> Iterator[Problem]:
    """Tables call a reduced row by its schedule too where there are several, an unpruned one as it is."""
    several = [f"{row} [{rule.name}]" for row in reduced for rule in study.schedules if len(study.schedules) > 1]
    for index, row in enumerate(study.methods):
        if row.label not in reduced and row.label in several:
            yield ("methods", index), f"{row.label!r} is what tables call another row; name it otherwise"


def _nearly(name: str, others: Sequence[str]) -> str:
    return next((other for other in others if alike(other) == alike(name)), "")


def _recipes(study: Study) -> Iterator[Problem]:
    recipes = {("finetune",): study.finetune} | ({("base", "recipe"): study.base.recipe} if study.base else {})
    count = study.data.count("train")
    for place, recipe in recipes.items():
        if count is not None and (recipe.images or 0) > count:
            yield (*place, "images"), f"{recipe.images} images to train on, but the data have only {count}"
        if place[0] == "base" and recipe.method_learning_rate is not None:
            yield (*place, "method_learning_rate"), "a base has no method whose parameters could learn at it"
        try:
            study.goal.check_recipe(recipe, study.data)
        except ValueError as error:
            yield place, str(error)


def _lengths(study: Study) -> Iterator[Problem]:
    for index, epochs in enumerate(study.lengths):
        if epochs in study.lengths[:index]:
            yield ("lengths", index), f"{epochs} is a duplicate"
        if epochs <= study.finetune.warmup_epochs:
            yield (
                ("lengths", index),
                f"{epochs} epochs are no more than the {study.finetune.warmup_epochs} of the warm-up",
            )
    for index, rule in enumerate(study.schedules):
        if LENGTH.search(rule.name or ""):
            yield ("schedules", index, "name"), f"{rule.name!r} reads as one of several lengths; name it otherwise"
    if study.lengths and (study.speed or len(study.schedules) > 1):
        yield ("lengths",), "a study of several lengths has one schedule and no speed; make another study of these"


def _wrong_channels(study: Study) -> Iterator[Problem]:
    found = study.backbone.options.get("in_chans", CHANNELS)
    if found != CHANNELS:
        message = f"the backbone takes {found} channels, and all images have {CHANNELS}; leave it out"
        yield ("backbone", "options", "in_chans"), message


def _wrong_size(study: Study, size: Size) -> Iterator[Problem]:
    """The backbone's height and width are those of the images, which some tasks pad to whole patches."""
    side, wanted = study.data.side, (study.data.side, study.data.side)
    if study.goal.whole_patches:
        wanted = (-(-side // size.patch[0]) * size.patch[0], -(-side // size.patch[1]) * size.patch[1])
    if size.image != wanted:
        padded = "" if wanted == (side, side) else f", {by(wanted)} in whole patches"
        message = f"the backbone takes {by(size.image)} pixels, data.{study.data.SIDE} is {by((side, side))}{padded}"
        yield ("backbone", "options", "img_size"), message


def _impossible_schedules(study: Study, patches: int, depth: int) -> Iterator[Problem]:
    names, seen = [rule.name for rule in study.schedules], list[Schedule]()
    for index, rule in enumerate(study.schedules):
        if len(names) > 1 and (rule.name is None or rule.name in names[:index]):
            yield ("schedules", index), "with several schedules each needs a name of its own"
        elif other := _nearly(rule.name or "", [name or "" for name in names[:index]]):
            yield ("schedules", index, "name"), f"{rule.name!r} differs from {other!r} {NEARLY}"
        if rule.budget is not None:
            yield from _impossible_rows(study, rule, patches, depth)
            continue
        try:
            counts = resolved(study.backbone, rule, patches, depth)
            if study.finetune.curriculum == "official":
                common_rate(counts.removed)
        except ValueError as error:
            yield ("schedules", index), str(error)
            continue
        if counts in seen:
            yield ("schedules", index), f"the same counts as an earlier schedule: {list(counts.removed)}"
        seen.append(counts)
        yield from _impossible_rows(study, rule, patches, depth)


def _impossible_rows(study: Study, rule: ScheduleRule, patches: int, depth: int) -> Iterator[Problem]:
    seen: dict[Any, str] = {}
    for index, row in enumerate(study.methods):
        try:
            study.goal.check_fusion(row.fusion)
        except ValueError as error:
            yield ("methods", index, "fusion"), str(error)
            continue
        try:
            settings = _settings(study, rule, row, patches, depth)
        except ValidationError as error:
            for place, message in wrong(error):
                yield ("methods", index, "settings", *place), f"{message} (method {row.method})"
        except ValueError as error:
            yield ("methods", index), f"{row.label}: {error}"
        else:
            first = seen.setdefault((row.method, row.fusion, repr(settings)), row.label)
            if first != row.label:
                yield ("methods", index), f"{row.label!r} is the same as {first!r}: one method with the same settings"


def _settings(study: Study, rule: ScheduleRule, row: Row, patches: int, depth: int) -> object:
    """A row's settings, if its method, its schedule, the curriculum and the task allow them."""
    settings = settings_class(row.method)(**row.settings)
    schedule = schedule_of(study, rule, row, patches, depth)
    settings.check(schedule, row.fusion)
    if settings.has_fixed_counts and study.finetune.curriculum != "none" and any(schedule.removed):
        raise ValueError(f"{row.method} has weights for one number of tokens; use curriculum: none")
    if rule.budget is not None and study.finetune.curriculum == "official" and any(schedule.removed):
        common_rate(schedule.removed)
    study.goal.check_method(settings, schedule.patches)
    return settings
