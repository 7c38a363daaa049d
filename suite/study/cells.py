"""A study becomes cells: the smallest pieces of work that are run, recorded and found again.

A cell's id hashes all that decides its result, before anything runs. Two studies that ask for the same cell share it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from suite.reduction.registry import settings_class
from suite.reduction.schedule import nothing
from suite.study.load import size_of
from suite.study.schema import Row, Study

PROTOCOL = 1  # raise it when training, evaluation or measurement computes something else than before
Kind = Literal["base", "accuracy", "speed"]


@dataclass(frozen=True)
class Cell:
    """One piece of work.

    Attributes:
        identity: all that decides the result; `cell_id` is its hash.
        row, schedule: the labels under which the study shows it.
        start: id of the base cell whose weights it starts from, if any.
    """

    identity: dict[str, Any]
    row: str
    schedule: str
    start: str | None = None

    @property
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
    def steps(self) -> int:
        """How many steps of progress the cell reports: epochs, or 1 for a speed cell."""
        return 1 if self.kind == "speed" else int(self.identity["recipe"]["epochs"])


def expand(study: Study) -> list[Cell]:
    """All cells of a study: the base, then accuracy by schedule, row and seed, then speed."""
    base = _base_cell(study)
    accuracy, speed = [], []
    _, patches, depth = size_of(study.backbone)
    for rule in study.schedules:
        schedule = rule.resolve(patches, depth)
        for row in study.methods:
            removes = settings_class(row.method).reduces != "nothing"
            counts = (schedule if removes else nothing(schedule.patches, schedule.depth)).removed
            label = (rule.name or " ".join(map(str, counts))) if removes else "none"
            accuracy += [_accuracy_cell(study, row, counts, label, seed, base.cell_id) for seed in study.seeds]
            if study.speed:
                speed.append(_speed_cell(study, row, counts, label))
    cells = [base, *accuracy, *speed]
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
    return {"recipe": study.data.model_dump(mode="json"), "digest": study.data.digest()}


def _base_cell(study: Study) -> Cell:
    identity = _common(study, "base") | {
        "data": _data(study),
        "recipe": study.base.recipe.model_dump(mode="json"),
        "threads": study.base.recipe.threads,
        "seed": study.base.seed,
    }
    return Cell(identity, row="base", schedule="none")


def _accuracy_cell(study: Study, row: Row, counts: tuple[int, ...], label: str, seed: int, base: str) -> Cell:
    identity = (
        _common(study, "accuracy")
        | _method(row, counts)
        | {
            "data": _data(study),
            "start": base,
            "recipe": study.finetune.model_dump(mode="json"),
            "threads": study.finetune.threads,
            "seed": seed,
        }
    )
    return Cell(identity, row.label, label, start=base)


def _speed_cell(study: Study, row: Row, counts: tuple[int, ...], label: str) -> Cell:
    assert study.speed is not None
    speed = study.speed.model_dump(mode="json")
    identity = _common(study, "speed") | _method(row, counts) | {"speed": speed, "threads": study.speed.threads}
    return Cell(identity, row.label, label)
