"""A study becomes cells, each row with a schedule: the study's, or that with which its method meets a budget."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from suite.kinds.training.identity import DataIdentity, Identity
from suite.kinds.training.schema import Base, Row, Study
from suite.measure.timing_options import TimingOptions
from suite.reduction import registry
from suite.reduction.registry import settings_class
from suite.reduction.schedule import Schedule, nothing
from suite.study import protocol
from suite.study.cells import Cell
from suite.study.protocol import timing_identity
from suite.study.provenance import device_name
from suite.study.records import known_digest
from suite.study.schema import Backbone, ScheduleRule
from suite.tasks.recipe import TrainingRecipe

PLACED = {"device", "precision", "threads"}  # parts of the identity itself, not of its recipe


def expand(study: Study) -> list[Cell]:
    """All cells of a study: the base if it has one, then accuracy by schedule, row and seed, then speed."""
    data = DataIdentity(**study.data.identity())
    base = [_base_cell(study, study.base, data)] if study.base else []
    accuracy, speed = [], []
    _, patches, depth = study.backbone.size()
    for rule in study.schedules:
        for row in study.methods:
            counts = schedule_of(study, rule, row, patches, depth).removed
            label = _label(rule, counts)
            accuracy += [_accuracy_cell(study, row, counts, data, seed, label, base) for seed in study.seeds]
            if study.speed:
                speed += _speed_cells(study, study.speed, row, counts, label)
    cells = [*base, *accuracy, *speed]
    return list({cell.cell_id: cell for cell in cells}.values())  # the unpruned model is one under every schedule


def _label(rule: ScheduleRule, counts: tuple[int, ...]) -> str:
    if not any(counts):
        return "none"
    return rule.name or (rule.budget.label if rule.budget else " ".join(map(str, counts)))


def _common(study: Study) -> dict[str, Any]:
    return {
        "protocol": protocol.PROTOCOL,
        "task": study.task,
        "backbone": study.backbone.model_dump(),
        "classes": study.classes,
    }


def _method(row: Row, counts: tuple[int, ...]) -> dict[str, Any]:
    settings = settings_class(row.method)(**row.settings).model_dump(mode="json")
    return registry.identity(row.method) | {"settings": settings, "removed": counts, "fusion": row.fusion}


def _training(recipe: TrainingRecipe) -> dict[str, Any]:
    content = recipe.model_dump(mode="json", exclude={"device", "precision"})
    return {"recipe": content} | recipe.model_dump(mode="json", include=PLACED)


def _places(study: Study, row: Row | None = None) -> dict[str, str]:
    """Where data, weights and a method that is named by its file are on this machine."""
    places = dict(study.data.places)
    places |= {"start": study.start} if study.start else {}
    places |= {"method": Path(row.method)} if row and registry.is_file(row.method) else {}
    return {name: str(path.resolve()) for name, path in places.items()}


def known_weights(path: Path) -> str:
    """How an identity names a file of weights."""
    return f"weights {weights_digest(path)}"


def weights_digest(path: Path) -> str:
    """Identity of a file of weights: a hash of its bytes; "missing" without it."""
    return known_digest(path)[:16] or "missing"


def _base_cell(study: Study, base: Base[Any], data: DataIdentity) -> Cell:
    parts = _common(study) | _training(base.recipe) | {"data": data, "seed": base.seed}
    return Cell(Identity(kind="base", **parts).content(), row="base", schedule="none", places=_places(study))


def _accuracy_cell(
    study: Study, row: Row, counts: tuple[int, ...], data: DataIdentity, seed: int, label: str, base: list[Cell]
) -> Cell:
    start = base[0].cell_id if base else None
    known = start or known_weights(study.start or Path())
    parts = _common(study) | _method(row, counts) | _training(study.finetune)
    parts |= {"data": data, "seed": seed, "start": known}
    return Cell(Identity(kind="accuracy", **parts).content(), row.label, label, start, _places(study, row))


def _speed_cells(study: Study, options: TimingOptions, row: Row, counts: tuple[int, ...], label: str) -> list[Cell]:
    parts, device = _common(study) | _method(row, counts), device_name(options.device)
    sized = [parts | timing_identity(options.at(size), device) for size in options.batch_size]
    places = {name: path for name, path in _places(study, row).items() if name == "method"}
    return [Cell(Identity(**one).content(), row.label, label, places=places) for one in sized]


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
    return meet(model, rule.budget, rule.multiple_of).choice.schedule


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
