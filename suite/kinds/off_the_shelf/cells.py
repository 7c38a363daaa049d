"""A study without training becomes cells: the unpruned model, smaller images, and the methods for each schedule."""

from __future__ import annotations

import bisect
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from suite.kinds.off_the_shelf.schema import OffTheShelfStudy, Other
from suite.kinds.training.cells import known_weights, resolved
from suite.kinds.training.schema import Row
from suite.kinds.training.start import file_of, missing
from suite.measure.count import count
from suite.measure.strength import choices
from suite.reduction import registry
from suite.reduction.backbone import create_backbone
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import settings_class
from suite.reduction.schedule import nothing
from suite.reduction.settings import Fusion, MethodSettings
from suite.reduction.size import Size, by
from suite.study import protocol
from suite.study.budget import attempt, meet, shared_backbone
from suite.study.cells import Cell, Identity
from suite.study.configuration import Configuration
from suite.study.protocol import timing_identity
from suite.study.provenance import device_name
from suite.study.schema import Backbone, ScheduleRule

UNPRUNED, SMALLER, OTHERS = "none", "smaller images", "other models"  # what tables call no schedule, and controls
KIND = "off-the-shelf"
Image = tuple[int, int]  # height and width
FAR = 0.1  # of a budget: a row that comes no nearer would be compared with others at another cost
SCORED = {"data", "start", "batch_size", "decoder", "seed"}  # of an identity, what decides scores but no speed
TRIAL = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 6, "num_heads": 2}  # of a model that is tried
TRIAL_PATCHES = 16


def expand(study: OffTheShelfStudy) -> list[Cell]:
    """All cells: the unpruned model, smaller images, other models, by schedule each row under its seeds, then speed.

    A row that a schedule is impossible for has one cell, which says why. What two schedules share stands in both.
    """
    whole, images, reduced = study.backbone.size(), set[Image](), list[Cell]()
    cell_of = functools.partial(_cell, study, study.data.identity())
    for label, rule in study.rules.items():
        for row in study.methods:
            if settings_class(row.method).reduces == "nothing":
                continue
            planned = _planned(study, rule, row, whole)
            counts, macs = ((), 0.0) if isinstance(planned, str) else planned
            images.update(around(study, macs) if study.smaller_images else ())
            several = [{"impossible": planned}] if isinstance(planned, str) else _several(study, row)
            reduced += [cell_of(row, row.label, label, counts, **more) for more in several]
    if study.smaller_images:
        costs = [_macs_unpruned(study, other.backbone) for other in study.models if not _absent(other)]
        images.update(image for macs in costs for image in around(study, macs))
    none = functools.partial(cell_of, Row(method="none"))
    kept = (0,) * whole.depth
    control = [none(f"{by(image)} pixels", SMALLER, kept, image=list(image)) for image in sorted(images)]
    others = [
        none(other.label, OTHERS, (0,) * other.backbone.size().depth, other, **_absent(other)) for other in study.models
    ]
    scored = [*control, *others, *reduced]
    return [none(UNPRUNED, UNPRUNED, kept), *scored, *_timed(study, scored)]


def _timed(study: OffTheShelfStudy, scored: Sequence[Cell]) -> Iterator[Cell]:
    """A cell that times each model but the unpruned one, which is timed beside it; seeds of a row are one model."""
    if study.speed is None:
        return
    how, found = timing_identity(study.speed, device_name(study.speed.device)), set[tuple[str, str]]()
    for cell in scored:
        if "impossible" in cell.identity or (cell.schedule, cell.row) in found:
            continue
        found.add((cell.schedule, cell.row))
        identity = {name: value for name, value in cell.identity.items() if name not in SCORED} | how
        yield replace(cell, identity=json.loads(json.dumps(identity)))


def _absent(other: Other) -> dict[str, str]:
    """Why another model cannot be had, if its weights are not on this machine."""
    here = not missing(other.start, other.backbone.name)
    return {} if here else {"impossible": f"its weights, {other.start}, are not on this machine"}


def _known(other: Other) -> dict[str, Any]:
    start = known_weights(file_of(other.start), other.start_weights)
    return {"backbone": other.backbone.model_dump(), "start": start}


def _several(study: OffTheShelfStudy, row: Row) -> Sequence[dict[str, Any]]:
    """What tells the cells of a row under a schedule apart: its seeds, if it draws."""
    return [{"seed": seed} for seed in study.seeds] if draws(row.method, json.dumps(row.settings)) else [{}]


def different(study: OffTheShelfStudy) -> list[Cell]:
    """All cells, those that schedules share once."""
    return list({cell.cell_id: cell for cell in expand(study)}.values())


def _planned(study: OffTheShelfStudy, rule: ScheduleRule, row: Row, whole: Size) -> tuple[tuple[int, ...], float] | str:
    """Patches that a row removes by a rule, and the multiply-accumulates that it needs; or why it cannot."""
    if why_not := impossible(study, rule, settings_of(row), row.fusion, whole):
        return why_not
    model = _reduced(study, row)
    if rule.budget is None:
        removed = resolved(study.backbone, rule, whole.patches, whole.depth).removed
        return attempt(model, lambda: (removed, _macs_of(study, row, removed)))
    budget, multiple_of = rule.budget, rule.multiple_of
    if isinstance(found := attempt(model, lambda: meet(model, budget, multiple_of)), str):
        return found
    if abs(found.share - found.wanted) > FAR * found.wanted:
        return f"its schedule that is nearest to {budget.label} needs {found.share:.3g}"
    removed = found.choice.schedule.removed
    by_macs = budget.macs is not None and budget.convention == "full"
    return removed, found.share * _macs_unpruned(study, study.backbone) if by_macs else _macs_of(study, row, removed)


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


def _cell(
    study: OffTheShelfStudy,
    data: dict[str, Any],
    row: Row,
    name: str,
    schedule: str,
    removed: tuple[int, ...],
    other: Other | None = None,
    **more: Any,
) -> Cell:
    """`data`: its identity; `other`: a model instead of the study's; `more`: what else decides results, as a seed."""
    start = file_of(study.start)
    settings = settings_of(row).model_dump(mode="json")
    identity: Identity = {
        "kind": KIND,
        "protocol": protocol.PROTOCOL,
        "task": study.task,
        "classes": study.classes,
        "backbone": study.backbone.model_dump(),
        "data": data,
        "start": known_weights(start, study.start_weights),
        **registry.identity(row.method),
        "settings": settings,
        "removed": list(removed),
        "fusion": row.fusion,
        **{name: getattr(study, name) for name in ("batch_size", "device", "threads")},
        **({"decoder": known_weights(study.decoder)} if study.decoder else {}),
        **more,
    }
    files = study.data.places | {"start": start} | ({"decoder": study.decoder} if study.decoder else {})
    if other:
        identity["other"] = _known(other)
        files["other"] = file_of(other.start)
    places = {name: str(place.resolve()) for name, place in files.items()}
    places |= {"method": str(Path(row.method).resolve())} if registry.is_file(row.method) else {}
    return Cell(json.loads(json.dumps(identity)), name, schedule, places=places)


@functools.cache
def draws(method: str, settings: str) -> bool:
    """Whether outputs of a method depend on the random generator: a tiny model under it is run with two seeds.

    A method that the tiny model cannot have, or that fails on it, is taken to draw. `settings`: as JSON.
    """
    said = json.loads(settings)
    with torch.random.fork_rng(devices=()), torch.inference_mode():
        try:
            own = settings_class(method)(**said)
            several = choices(own, "none", TRIAL_PATCHES, int(TRIAL["depth"]))
            backbone = create_backbone("vit_tiny_patch16_224", TRIAL, 4).eval()
            model = reduce(backbone, method, several[len(several) // 2].schedule.removed, said).deploy()
            return not torch.equal(_seeded(model, 1), _seeded(model, 2))
        except Exception:  # which its cells will say
            return True


def _seeded(model: ReducedModel, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    found: torch.Tensor = model(torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16))
    return found


def _macs_unpruned(study: OffTheShelfStudy, backbone: Backbone) -> float:
    return _macs(Configuration(backbone=backbone, classes=study.classes).model_dump_json(exclude_defaults=True))


def _macs_of(study: OffTheShelfStudy, row: Row, removed: tuple[int, ...]) -> float:
    reduced = _reduced(study, row).model_copy(update={"schedule": ScheduleRule(removed=removed)})
    return _macs(reduced.model_dump_json(exclude_defaults=True))


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
def _macs(configuration: str) -> float:
    model = Configuration.model_validate_json(configuration)
    return float(count(model.build(backbone=shared_backbone(model))).macs.full)


def around(study: OffTheShelfStudy, macs: float) -> list[Image]:
    """The two smaller images, in whole patches and of nearly the same shape, whose costs are next to so many MACs.

    One where the next larger image is that of the unpruned model, and none where one row of patches costs more.
    """
    sizes = list(_sizes(study.backbone))
    found = bisect.bisect_right(sizes, macs, key=functools.partial(_macs_at, study))
    return sizes[found - 1 : found + 1] if found else []


def _sizes(backbone: Backbone) -> Iterator[Image]:
    """From one row of patches to one less than all."""
    size = backbone.size()
    (rows, columns), (height, width) = size.grid, size.patch
    yield from ((row * height, max(1, round(row * columns / rows)) * width) for row in range(1, rows))


def _macs_at(study: OffTheShelfStudy, image: Image) -> float:
    return _macs_unpruned(study, at_size(study.backbone, image))


def at_size(backbone: Backbone, image: Image) -> Backbone:
    """The same backbone for another height and width."""
    return backbone.model_copy(update={"options": backbone.options | {"img_size": list(image)}})
