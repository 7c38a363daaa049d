"""What is wrong between the parts of a study of speed that are right on their own."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from suite.errors import UserError, suggest
from suite.kinds.speed.published import read_published
from suite.kinds.speed.schema import SpeedBackbone, SpeedRow, SpeedStudy
from suite.measure.timing_options import UNPRUNED
from suite.reduction.registry import settings_class
from suite.strict import Place, explain
from suite.study.published import match
from suite.study.schema import alike
from suite.tasks.task import task

Problem = tuple[Place, str]


def problems(study: SpeedStudy) -> Iterator[Problem]:
    """Place and sentence of everything that contradicts something else: names, schedules, published figures."""
    if study.devices.cpu is None and study.devices.cuda is None:
        yield ("devices",), "name how to measure on at least one type of device: cpu or cuda"
    yield from _twice([one.name for one in study.backbones], ("backbones",))
    for index, one in enumerate(study.backbones):
        yield from _of_backbone(one, ("backbones", index))
    yield from _of_published(study)


def _of_backbone(one: SpeedBackbone, place: Place) -> Iterator[Problem]:
    names = [row.name for row in one.rows]
    yield from _twice([UNPRUNED, *names], (*place, "rows"), first=-1)
    try:
        size = one.backbone.size()
    except UserError as error:
        yield (*place, "backbone"), str(error)
        return
    for index, row in enumerate(one.rows):
        here = (*place, "rows", index)
        yield from _compared(one, row, here)
        try:
            settings = settings_class(row.method)(**row.settings)
            settings.check(row.schedule.resolve(size.patches, size.depth), row.fusion)
            task(one.task).check_fusion(row.fusion)
        except ValidationError as error:
            yield (*here, "settings"), f"method {row.method}: {explain(error)}"
        except ValueError as error:
            yield here, f"{row.name}: {error}"


def _compared(one: SpeedBackbone, row: SpeedRow, place: Place) -> Iterator[Problem]:
    """A ratio of two rows says something about their methods only if all else is the same."""
    if not row.compare_to:
        return
    others = {other.name: other for other in one.rows if other is not row}
    other = others.get(row.compare_to)
    if other is None:
        yield (
            (*place, "compare_to"),
            f"{one.name} has no other row {row.compare_to!r}; {suggest(row.compare_to, others)}",
        )
    elif (other.schedule, other.fusion) != (row.schedule, row.fusion):
        yield (*place, "compare_to"), f"{other.name} has another schedule or fusion, so their ratio compares no methods"


def _of_published(study: SpeedStudy) -> Iterator[Problem]:
    try:
        figures = read_published(study.published)
    except UserError as error:
        yield ("published",), str(error)
        return
    yield from match(_patterns(study), figures, study.published)[1]


def _patterns(study: SpeedStudy) -> Iterator[tuple[Place, str]]:
    for index, one in enumerate(study.backbones):
        if one.published:
            yield ("backbones", index, "published"), one.published
        for number, row in enumerate(one.rows):
            if row.published:
                yield ("backbones", index, "rows", number, "published"), row.published
    for index, left in enumerate(study.excluded):
        for number, pattern in enumerate(left.published):
            yield ("excluded", index, "published", number), pattern


def _twice(names: list[str], place: Place, first: int = 0) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if other := next((other for other in names[:index] if alike(other) == alike(name)), ""):
            message = f"{name!r} is there twice; every one needs a name of its own"
            nearly = f"{name!r} differs from {other!r} by white space or capitals only; name one of them otherwise"
            yield (*place, index + first), message if name == other else nearly
