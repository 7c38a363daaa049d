"""A study becomes cells, each row with a schedule: the study's, or that with which its method meets a budget."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from suite.kinds.training.identity import DataIdentity, Identity
from suite.kinds.training.schema import Row, Study
from suite.kinds.training.start import file_of
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


def expand(study: Study) -> list[Cell]:
    """All cells of a study: its bases if it trains them, then accuracy by schedule, row and seed, then speed."""
    common = {"protocol": protocol.PROTOCOL, "task": study.task, "classes": study.classes}
    common |= {"backbone": study.backbone.model_dump()}
    data = {"data": DataIdentity(**study.data.identity())}
    weights = file_of(study.start) if study.start else None
    places = dict(study.data.places) | ({"start": weights} if weights else {})
    bases, accuracy, speed = dict[int, Cell](), list[Cell](), list[Cell]()
    for seed in study.seeds if study.base else ():
        assert study.base is not None
        own = 0 if study.base.shared else seed
        identity = Identity(kind="base", **common, **data, **_training(study, study.base.recipe), seed=own)
        bases[seed] = Cell(identity.content(), "base", "none", None, _resolved(places), study.how)
    whole = study.backbone.size()
    patches, depth = whole.patches, whole.depth
    for rule, (length, recipe), row in itertools.product(study.schedules, study.finetunings.items(), study.methods):
        trained = common | data | _training(study, recipe)
        counts = schedule_of(study, rule, row, patches, depth).removed
        settings = settings_class(row.method)(**row.settings).model_dump(mode="json")
        method = registry.identity(row.method) | {"settings": settings, "removed": counts, "fusion": row.fusion}
        label, code = _label(rule, counts, length), {"method": Path(row.method)} if registry.is_file(row.method) else {}
        for seed in study.seeds:
            start = bases[seed].cell_id if bases else None
            begun = {"start": start or known_weights(weights or Path(), study.start_weights), "seed": seed}
            begun |= {"track_scores": True} if study.track_scores else {}
            identity = Identity(kind="accuracy", **trained, **method, **begun)
            here = _resolved(places | code)
            accuracy.append(Cell(identity.content(), row.label, label, start, here, study.how))
        if timing := study.speed:
            for size in timing.batch_size:
                timed = common | method | timing_identity(timing.at(size), device_name(timing.device))
                speed.append(Cell(Identity(**timed).content(), row.label, label, places=_resolved(code)))
    cells = [*bases.values(), *accuracy, *speed]
    return list({cell.cell_id: cell for cell in cells}.values())  # the unpruned model is one under every schedule


def _label(rule: ScheduleRule, counts: tuple[int, ...], length: str) -> str:
    if not any(counts):
        return length or "none"
    removed = rule.name or (rule.budget.label if rule.budget else " ".join(map(str, counts)))
    return f"{removed}, {length}" if length else removed


def _training(study: Study, recipe: TrainingRecipe) -> dict[str, Any]:
    placed = recipe.model_dump(mode="json", include={"device", "precision", "threads"})  # of the identity itself
    fixed = {} if study.numerics == "native" else {"numerics": study.numerics}
    unsaid = {key for key in recipe.LATER if getattr(recipe, key) == type(recipe).model_fields[key].default}
    return {"recipe": recipe.model_dump(mode="json", exclude={"device", "precision"} | unsaid)} | placed | fixed


def _resolved(places: Mapping[str, Path]) -> dict[str, str]:
    """Where data, weights and a method that is named by its file are on this machine."""
    return {name: str(path.resolve()) for name, path in places.items()}


def known_weights(path: Path, which: str | None = None) -> str:
    """How an identity names a file of weights: by a hash of its bytes, and `which` of them; "missing" without it."""
    return f"weights {known_digest(path)[:16] or 'missing'}" + (f" {which}" if which else "")


def which_weights(known: str) -> str | None:
    """The name of weights in what `known_weights` says."""
    return " ".join(known.split(" ")[2:]) or None


class Modelled(Protocol):
    """What of a study decides the schedule of a row."""

    @property
    def backbone(self) -> Backbone: ...

    @property
    def task(self) -> str: ...

    @property
    def classes(self) -> int: ...


def schedule_of(study: Modelled, rule: ScheduleRule, row: Row, patches: int, depth: int) -> Schedule:
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
