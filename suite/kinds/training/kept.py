"""Weights of trained rows, with all that is needed to use them: what `suite weights` names and `load` reads."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path

from suite.data.dataset import DataSet
from suite.errors import UserError, named
from suite.kinds.training.cells import expand
from suite.kinds.training.identity import Identity
from suite.kinds.training.schema import Study
from suite.reduction.model import ReducedModel
from suite.reduction.weights_file import TRAINED
from suite.study.store import Record


def keep(
    model: ReducedModel, identity: Identity, data: DataSet, path: Path, epoch: int, places: Mapping[str, str]
) -> None:
    """Write a model's weights as it is deployed, in safetensors, beside and renamed.

    `epoch`, from 1: after which it is. `places`: where a method that is named by its file is, as `method`; the path
    from the weights to it is written.
    """
    from safetensors.torch import save_file

    deployed = copy.deepcopy(model).cpu().deploy()
    how = data.cropping
    known = {
        "task": identity.task,
        "backbone": identity.backbone.model_dump(),
        "outputs": identity.classes,
        "method": identity.method,
        "settings": identity.settings,
        "removed": identity.removed,
        "fusion": identity.fusion,
        "classes": data.class_names(identity.goal.target),
        "normalisation": how.normalisation if how else "inception",
        "crop": how.crop if how else 1.0,
        "epoch": epoch,
    }
    if identity.code:
        known |= {"code": identity.code, "file": os.path.relpath(places["method"], path.parent.resolve())}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".writing")
    tensors = {name: tensor.clone().contiguous() for name, tensor in deployed.state_dict().items()}
    save_file(tensors, beside, {TRAINED: json.dumps(known)})
    beside.replace(path)


def find(study: Study, row: str, seed: int, schedule: str | None) -> Path:
    """The file of the weights of a row under a seed.

    Raises:
        UserError: if there is no such row, seed or schedule, or its weights were not kept.
    """
    cells = [cell for cell in expand(study) if cell.kind == "accuracy"]
    named(row, {cell.row: cell for cell in cells}, "row")
    named(str(seed), {str(one): one for one in study.seeds}, "seed")
    here = [cell for cell in cells if cell.row == row and cell.identity["seed"] == seed]
    schedules = {cell.schedule: cell for cell in here}
    if schedule is None and len(schedules) > 1:
        raise UserError(f"{row} has several schedules; add --schedule with one of: {'; '.join(schedules)}")
    cell = named(schedule, schedules, "schedule") if schedule is not None else here[0]
    path = Record().kept_file(cell.cell_id)
    if not path.is_file():
        raise UserError(
            f"the weights of {row}, seed {seed}, were not kept: {path} is not there; say `keep: last` or `keep: best` "
            f"in the study, delete {Record().cell_file(cell.cell_id)} if it is there, and run the study"
        )
    return path
