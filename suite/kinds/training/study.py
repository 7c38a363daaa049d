"""What the kind `training` answers of a study: what is wrong, what is missing, which cells there are."""

from __future__ import annotations

from suite.errors import UserError
from suite.kinds.training.cells import expand
from suite.kinds.training.preflight import lacking
from suite.kinds.training.preflight import missing as not_on_disk
from suite.kinds.training.schema import Study
from suite.study.cells import Cell
from suite.study.kind import Loaded
from suite.study.load import refusal
from suite.study.store import Record, last_line


def check(loaded: Loaded) -> str:
    """Let timm build the study's backbone, without its weights; returns how many cells there are.

    Raises:
        UserError: if timm does not know the model or an option, its blocks are not supported, or the task cannot read
            it.
    """
    check_backbone(loaded)
    return f"{len(expand(loaded.study))} cells"


def check_backbone(loaded: Loaded) -> None:
    """Let timm build the study's backbone, without its weights.

    Raises:
        UserError: as `check`.
    """
    from suite.reduction.backbone import on_meta, sizes

    study: Study = loaded.study
    backbone = study.backbone
    try:
        model = on_meta(backbone.name, backbone.options, study.classes)
        study.goal.check_backbone(model)
    except (UserError, TypeError, ValueError) as error:
        raise refusal(loaded.path, ("backbone",), error) from error
    found, stated = sizes(model), backbone.stated_size()
    if stated not in (None, found):
        message = f"side, patches, depth are {found} in timm, {stated} in the options"
        raise refusal(loaded.path, ("backbone",), message)


def missing(study: Study) -> list[str]:
    """A sentence for everything that the study needs and that is not on this machine."""
    return [*not_on_disk(study), *lacking(expand(study))]


def plan(loaded: Loaded) -> list[dict[str, str]]:
    """Every cell, with what the store of finished cells says of it."""
    record = Record()
    return [_planned(cell, record) for cell in expand(loaded.study)]


def _planned(cell: Cell, record: Record) -> dict[str, str]:
    entry = record.finished(cell) or record.failed(cell)
    return {
        "cell_id": cell.cell_id,
        "status": entry["status"] if entry else "to run",
        "kind": cell.kind,
        "variant": cell.variant,
        "row": cell.row,
        "schedule": cell.schedule,
        "reason": last_line(entry) if entry else "",
    }
