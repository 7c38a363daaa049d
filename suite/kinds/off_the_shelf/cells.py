"""A study without training becomes cells: the unpruned model, and for each schedule the methods and smaller images."""

from __future__ import annotations

import bisect
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from suite.kinds.off_the_shelf.schema import OffTheShelfStudy
from suite.kinds.training.cells import known_weights, resolved, schedule_of
from suite.kinds.training.schema import Row
from suite.kinds.training.start import file_of
from suite.measure.count import count
from suite.measure.strength import choices
from suite.reduction import registry
from suite.reduction.backbone import create_backbone
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import settings_class
from suite.reduction.schedule import nothing
from suite.reduction.settings import Fusion, MethodSettings
from suite.reduction.size import Size
from suite.study import protocol
from suite.study.budget import attempt
from suite.study.cells import Cell, Identity
from suite.study.configuration import Configuration
from suite.study.schema import Backbone, ScheduleRule

UNPRUNED, SMALLER = "none", "smaller image"  # rows that every study has
KIND = "off-the-shelf"
FAR = 0.1  # of a budget: a row that comes no nearer would be compared with others at another cost
TRIAL = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 6, "num_heads": 2}  # of a model that is tried
TRIAL_PATCHES = 16


def expand(study: OffTheShelfStudy) -> list[Cell]:
    """All cells: the unpruned model first, then by schedule each row under its seeds, and smaller images.

    A row that a schedule is impossible for has one cell, which says why. What two schedules share stands in both.
    """
    whole = study.backbone.size()
    cells = [_cell(study, Row(method="none"), UNPRUNED, "none", (0,) * whole.depth)]
    for label, rule in study.rules.items():
        reduced = [row for row in study.methods if settings_class(row.method).reduces != "nothing"]
        why_not, counts = dict[str, str](), dict[str, tuple[int, ...]]()
        for row in reduced:
            counts[row.label], why_not[row.label] = _counts(study, rule, row, whole)
        possible = [row for row in reduced if not why_not[row.label]]
        for row in reduced:
            several: list[dict[str, Any]] = [{}]
            if reason := why_not[row.label]:
                several = [{"impossible": reason}]
            elif draws(row.method, json.dumps(row.settings)):
                several = [{"seed": seed} for seed in study.seeds]
            cells += [_cell(study, row, row.label, label, counts[row.label], **more) for more in several]
        convention = rule.budget.convention if rule.budget else "full"
        most = limit(study, rule, possible, counts) if study.smaller_images and possible else 0.0
        if image := smaller_image(study, most, convention):
            cells.append(_cell(study, Row(method="none"), SMALLER, label, (0,) * whole.depth, image=list(image)))
    return cells


def different(study: OffTheShelfStudy) -> list[Cell]:
    """All cells, those that schedules share once."""
    return list({cell.cell_id: cell for cell in expand(study)}.values())


def _counts(study: OffTheShelfStudy, rule: ScheduleRule, row: Row, whole: Size) -> tuple[tuple[int, ...], str]:
    """Patches that a row removes by a rule, or none and why it cannot."""
    if why_not := impossible(study, rule, settings_of(row), row.fusion, whole):
        return (), why_not
    convention = rule.budget.convention if rule.budget else "full"

    def solved() -> tuple[tuple[int, ...], float]:
        removed = schedule_of(study, rule, row, whole.patches, whole.depth).removed
        return removed, _macs_of(study, row, removed, convention)

    if isinstance(found := attempt(_reduced(study, row), solved), str):
        return (), found
    counts, needed = found
    if rule.budget and rule.budget.macs:
        nearest = needed / _macs_whole(study, convention)
        if abs(nearest - rule.budget.macs) > FAR * rule.budget.macs:
            return (), f"its schedule that is nearest to {rule.budget.macs:g} of the MACs needs {nearest:.3g}"
    return counts, ""


def settings_of(row: Row) -> MethodSettings:
    """The settings of a row's method."""
    return settings_class(row.method)(**row.settings)


def impossible(
    study: OffTheShelfStudy, rule: ScheduleRule | None, settings: MethodSettings, fusion: Fusion, size: Size
) -> str:
    """Why a method cannot have a schedule; empty if it can. A budget, or None, has no counts yet."""
    try:
        counts = nothing(size.patches, size.depth)
        if rule is not None and rule.budget is None:
            counts = resolved(study.backbone, rule, size.patches, size.depth)
        settings.check(counts, fusion)
    except ValueError as error:
        return str(error)
    return ""


def _cell(study: OffTheShelfStudy, row: Row, name: str, schedule: str, removed: tuple[int, ...], **more: Any) -> Cell:
    """`more`: what else decides the result, such as a seed."""
    start = file_of(study.start)
    settings = settings_of(row).model_dump(mode="json")
    identity: Identity = {
        "kind": KIND,
        "protocol": protocol.PROTOCOL,
        "task": study.task,
        "classes": study.classes,
        "backbone": study.backbone.model_dump(),
        "data": study.data.identity(),
        "start": known_weights(start, study.start_weights),
        **registry.identity(row.method),
        "settings": settings,
        "removed": list(removed),
        "fusion": row.fusion,
        **{name: getattr(study, name) for name in ("batch_size", "device", "threads")},
        **more,
    }
    places = {name: str(place.resolve()) for name, place in (study.data.places | {"start": start}).items()}
    places |= {"method": str(Path(row.method).resolve())} if registry.is_file(row.method) else {}
    return Cell(json.loads(json.dumps(identity)), name, schedule, places=places)


@functools.cache
def draws(method: str, settings: str) -> bool:
    """Whether outputs of a method depend on the random generator: a tiny model under it is run with two seeds.

    A method that the tiny model cannot have is taken to draw. `settings`: as JSON.
    """
    said = json.loads(settings)
    with torch.random.fork_rng(devices=()), torch.inference_mode():
        try:
            own = settings_class(method)(**said)
            several = choices(own, "none", TRIAL_PATCHES, int(TRIAL["depth"]))
            backbone = create_backbone("vit_tiny_patch16_224", TRIAL, 4).eval()
            model = reduce(backbone, method, several[len(several) // 2].schedule.removed, said).deploy()
        except ValueError:
            return True
        return not torch.equal(_seeded(model, 1), _seeded(model, 2))


def _seeded(model: ReducedModel, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    found: torch.Tensor = model(torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16))
    return found


def limit(study: OffTheShelfStudy, rule: ScheduleRule, rows: list[Row], counts: dict[str, tuple[int, ...]]) -> float:
    """Multiply-accumulates that smaller images may need: the budget, or what the cheapest row needs."""
    if rule.budget and rule.budget.macs:
        return rule.budget.macs * _macs_whole(study, rule.budget.convention)
    return min(_macs_of(study, row, counts[row.label]) for row in rows)


def _macs_whole(study: OffTheShelfStudy, convention: str) -> float:
    whole = Configuration(backbone=study.backbone, classes=study.classes)
    return _macs(whole.model_dump_json(exclude_defaults=True), convention)


def _macs_of(study: OffTheShelfStudy, row: Row, removed: tuple[int, ...], convention: str = "full") -> float:
    reduced = _reduced(study, row).model_copy(update={"schedule": ScheduleRule(removed=removed)})
    return _macs(reduced.model_dump_json(exclude_defaults=True), convention)


def _reduced(study: OffTheShelfStudy, row: Row) -> Configuration:
    return Configuration(
        backbone=study.backbone,
        method=row.method,
        settings=row.settings,
        fusion=row.fusion,
        task=study.task,
        classes=study.classes,
    )


@functools.cache
def _macs(configuration: str, convention: str = "full") -> float:
    return float(getattr(count(Configuration.model_validate_json(configuration).build()).macs, convention))


def smaller_image(study: OffTheShelfStudy, most: float, convention: str = "full") -> tuple[int, int] | None:
    """Height and width of the largest image, in whole patches and of nearly the same shape, that costs at most so much.

    None if even one row of patches costs more.
    """
    sizes = list(_sizes(study.backbone))
    costs = functools.partial(_macs_at, study, convention)
    found = bisect.bisect_right(sizes, most, key=costs)
    return sizes[found - 1] if found else None


def _sizes(backbone: Backbone) -> Iterator[tuple[int, int]]:
    """From one row of patches to one less than all."""
    size = backbone.size()
    (rows, columns), (height, width) = size.grid, size.patch
    yield from ((row * height, max(1, round(row * columns / rows)) * width) for row in range(1, rows))


def _macs_at(study: OffTheShelfStudy, convention: str, image: tuple[int, int]) -> float:
    resized = at_size(study.backbone, image)
    return _macs(
        Configuration(backbone=resized, classes=study.classes).model_dump_json(exclude_defaults=True), convention
    )


def at_size(backbone: Backbone, image: tuple[int, int]) -> Backbone:
    """The same backbone for another height and width."""
    return backbone.model_copy(update={"options": backbone.options | {"img_size": list(image)}})
