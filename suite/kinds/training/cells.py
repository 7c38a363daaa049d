"""A study becomes cells."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from suite.kinds.training.identity import DataIdentity, Identity
from suite.kinds.training.row_schedule import schedule_of
from suite.kinds.training.schema import Base, Row, Study
from suite.measure.timing_options import TimingOptions
from suite.reduction import registry
from suite.reduction.registry import settings_class
from suite.study import protocol
from suite.study.cells import Cell
from suite.study.protocol import timing_identity
from suite.study.provenance import device_name
from suite.study.schema import ScheduleRule
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
    """How tables call a schedule."""
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
    """How a cell trains."""
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
    if not path.is_file():
        return "missing"
    facts = path.stat()
    return _read_digest(path.resolve(), facts.st_size, facts.st_mtime_ns)


@functools.lru_cache
def _read_digest(path: Path, _size: int, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


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
    """A cell for each batch size."""
    parts, device = _common(study) | _method(row, counts), device_name(options.device)
    sized = [parts | timing_identity(options.at(size), device) for size in options.batch_size]
    places = {name: path for name, path in _places(study, row).items() if name == "method"}
    return [Cell(Identity(**one).content(), row.label, label, places=places) for one in sized]
