"""A study becomes cells: the smallest pieces of work that are run, recorded and found again.

A cell's id hashes all that decides its result, before anything runs. Two studies that ask for the same cell share it.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from suite.data.recipe import Ade20k
from suite.kinds.training.schema import Base, Row, Study
from suite.measure.timing_options import TimingOptions
from suite.reduction.registry import settings_class
from suite.study.load import size_of
from suite.study.protocol import PROTOCOL, timing_identity
from suite.study.provenance import device_name
from suite.study.row_schedule import schedule_of
from suite.tasks.recipe import TrainingRecipe

Kind = Literal["base", "accuracy", "speed"]
WHERE_AND_WHETHER = {"folder", "allow_empty_classes"}  # of data: they decide no result


@dataclass(frozen=True)
class Cell:
    """One piece of work.

    Attributes:
        identity: all that decides the result; `cell_id` is its hash.
        row, schedule: the labels under which the study shows it.
        start: id of the base cell whose weights it starts from, if any.
        places: where on this machine `folder` (of data) and `start` (a file of weights) are, for those it needs; the
            identity has their digests instead.
    """

    identity: dict[str, Any]
    row: str
    schedule: str
    start: str | None = None
    places: dict[str, str] = field(default_factory=dict)

    @functools.cached_property
    def cell_id(self) -> str:
        canonical = json.dumps(self.identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def kind(self) -> Kind:
        kind: Kind = self.identity["kind"]
        return kind

    @property
    def threads(self) -> int:
        """Processor threads the cell computes with."""
        return int(self.identity["threads"])

    @property
    def variant(self) -> str:
        """What tells it from its row's other cells of its kind: a seed or a batch size; empty without either."""
        if "speed" in self.identity:
            return f"batch {self.identity['speed']['batch_size']}"
        return f"seed {self.identity['seed']}" if "seed" in self.identity else ""

    @property
    def steps(self) -> int:
        """How many steps of progress the cell reports: epochs, or 1 for a speed cell."""
        return 1 if self.kind == "speed" else int(self.identity["recipe"]["epochs"])


def expand(study: Study) -> list[Cell]:
    """All cells of a study: the base if it has one, then accuracy by schedule, row and seed, then speed."""
    shared = _data(study)
    base = [_base_cell(study, study.base, shared)] if study.base else []
    accuracy, speed = [], []
    _, patches, depth = size_of(study.backbone)
    for rule in study.schedules:
        for row in study.methods:
            counts = schedule_of(study, rule, row, patches, depth).removed
            name = rule.name or (rule.budget.label if rule.budget else " ".join(map(str, counts)))
            label = name if any(counts) else "none"
            identity = _common(study, "accuracy") | _method(row, counts) | shared | _training(study.finetune)
            accuracy += [_accuracy_cell(study, row, identity | {"seed": seed}, label, base) for seed in study.seeds]
            if study.speed:
                speed += _speed_cells(study, study.speed, row, counts, label)
    cells = [*base, *accuracy, *speed]
    return list({cell.cell_id: cell for cell in cells}.values())  # the unpruned model is one under every schedule


def _common(study: Study, kind: Kind) -> dict[str, Any]:
    return {
        "kind": kind,
        "protocol": PROTOCOL,
        "task": study.task,
        "backbone": study.backbone.model_dump(mode="json"),
        "classes": study.classes,
        "device": "cpu",
        "precision": "float32",
    }


def _method(row: Row, counts: tuple[int, ...]) -> dict[str, Any]:
    settings = settings_class(row.method)
    return {
        "method": row.method,
        "version": settings.version,
        "settings": settings(**row.settings).model_dump(mode="json"),
        "removed": list(counts),
        "fusion": row.fusion,
    }


def _data(study: Study) -> dict[str, Any]:
    """What cells train on; where it lies is not part of it. A folder's files are listed for the digest, once."""
    return {
        "data": {"recipe": study.data.model_dump(mode="json", exclude=WHERE_AND_WHETHER), "digest": study.data.digest()}
    }


def _training(recipe: TrainingRecipe) -> dict[str, Any]:
    """How a cell trains; device and precision have places of their own in an identity."""
    where = {"device", "precision"}
    how = {"recipe": recipe.model_dump(mode="json", exclude=where), "threads": recipe.threads}
    return how | recipe.model_dump(mode="json", include=where)


def _places(study: Study) -> dict[str, str]:
    folder = {"folder": study.data.folder} if isinstance(study.data, Ade20k) else {}
    start = {"start": study.start} if study.start else {}
    return {name: str(path.resolve()) for name, path in (folder | start).items()}


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


def _base_cell(study: Study, base: Base, data: dict[str, Any]) -> Cell:
    identity = _common(study, "base") | data | _training(base.recipe) | {"seed": base.seed}
    return Cell(identity, row="base", schedule="none", places=_places(study))


def _accuracy_cell(study: Study, row: Row, identity: dict[str, Any], label: str, base: list[Cell]) -> Cell:
    start = base[0].cell_id if base else None
    known = start or known_weights(study.start or Path())
    return Cell(identity | {"start": known}, row.label, label, start, _places(study))


def _speed_cells(study: Study, options: TimingOptions, row: Row, counts: tuple[int, ...], label: str) -> list[Cell]:
    """A cell for each batch size."""
    shared, device = _common(study, "speed") | _method(row, counts), device_name(options.device)
    return [Cell(shared | timing_identity(options.at(size), device), row.label, label) for size in options.batch_size]
