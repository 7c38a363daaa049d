"""What the kind `training` answers of a study: its cells, and what it reads or needs that is not in order here."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console

from suite.errors import UserError
from suite.kinds.training import start
from suite.kinds.training.cells import expand
from suite.kinds.training.schema import Study
from suite.measure import numerics
from suite.study.cells import Cell
from suite.study.entry import last_line
from suite.study.kind import Loaded
from suite.study.load import refusal
from suite.study.store import Record
from suite.terminal import ManualProgress

USUAL = ("speed", "cpu", "float32", False)  # what every machine can: on the processor, without a compiler


def check(loaded: Loaded) -> str:
    """Let timm build the study's backbone, without its weights; returns how many cells there are.

    Raises:
        UserError: if timm does not know the model or an option, its blocks are not supported, or the task cannot read
            it.
    """
    check_backbone(loaded)
    return f"{len(expand(loaded.study))} cells"


def check_backbone(loaded: Loaded) -> None:
    """Let timm build the study's backbone, without its weights."""
    from suite.reduction.backbone import on_meta, sizes

    study: Study = loaded.study
    backbone = study.backbone
    try:
        model = on_meta(backbone.name, backbone.options, study.classes)
        study.goal.check_backbone(model)
    except (UserError, TypeError, ValueError) as error:
        raise refusal(loaded, ("backbone",), error) from error
    found, stated = sizes(model), backbone.stated_size()
    if stated not in (None, found):
        message = f"timm builds it for {found}; the options say {stated}"
        raise refusal(loaded, ("backbone",), message)


def missing(study: Study) -> list[str]:
    """A sentence for everything that the study needs and that is not on this machine."""
    return [*not_here(study), *lacking(expand(study))]


def plan(loaded: Loaded) -> list[dict[str, str]]:
    """Every cell, with what the store of finished cells says of it."""
    record, found = Record(), []
    for cell in expand(loaded.study):
        entry = record.finished(cell) or record.failed(cell)
        status, reason = (entry["status"], last_line(entry)) if entry else ("to run", "")
        about = {name: getattr(cell, name) for name in ("kind", "variant", "row", "schedule")}
        found.append({"cell_id": cell.cell_id, "status": status, **about, "reason": reason})
    return found


def not_here(study: Study) -> list[str]:
    """A sentence for everything that the study reads and that is not on this machine."""
    sentences = [sentence] if (sentence := study.data.missing()) else []
    if study.start is not None:
        sentences += filter(None, [start.missing(study.start, study.backbone.name)])
    return sentences


def refuse(sentences: Sequence[str]) -> None:
    """Raise a UserError with all of them, if there are any."""
    if sentences:
        raise UserError("\n".join(sentences))


def lacking(cells: Sequence[Cell], *, here: bool = False) -> list[str]:
    """A sentence for everything that cells compute with and this machine lacks: a GPU, a precision, a compiler.

    A cluster is asked for its GPUs when it is connected to; a speed cell that lacks something there fails by itself.
    `here`: no cluster runs them.
    """
    speeds = [cell.identity for cell in cells if cell.kind == "speed"]
    devices = {cell.device for cell in cells}
    unusual = {("speed", one["device"], one["precision"], one["speed"]["compile"]) for one in speeds} - {USUAL}
    compiled = [cell for cell in cells if cell.identity.get("recipe", {}).get("compile")]
    unusual |= {("training", cell.device, "float32", True) for cell in compiled}
    if os.environ.get("RAY_ADDRESS") and not here:
        return []
    levels = {cell.identity["numerics"] for cell in cells if "numerics" in cell.identity}
    sentences = [why for level in sorted(levels) if (why := numerics.missing(level))]
    if devices <= {"cpu"} and not unusual:
        return sentences
    import torch

    if "cuda" in devices and not torch.cuda.is_available():
        trains = any(cell.kind != "speed" and cell.device == "cuda" for cell in cells)
        sentences.append(
            f"this study {'trains' if trains else 'times'} on cuda, and torch finds no CUDA device here; run it where "
            "there is one, or set RAY_ADDRESS to a cluster that has one"
        )
        unusual = {way for way in unusual if way[1] != "cuda"}
    elif (wanted := max(cell.gpus for cell in cells)) > (found := torch.cuda.device_count()) > 0:
        sentences.append(
            f"this study trains one model on {wanted} GPUs, and torch finds {found} here; lower processes (and raise "
            "accumulate as much, which is the same training), or set RAY_ADDRESS to a cluster that has as many"
        )
    return sentences + [f"{what}: {why}" for what, *way in sorted(unusual) if (why := _cannot(*way))]


def _cannot(device: str, precision: str, compiled: bool) -> str:
    """Why this machine does not compute so; empty if it does."""
    import torch

    from suite.measure.device import check_compiler, check_precision

    try:
        check_precision(precision, torch.device(device))
        if compiled:
            check_compiler(torch.device(device))
    except UserError as error:
        return str(error)
    return ""


def read(loaded: Loaded, console: Console) -> None:
    """Read all that a study reads once, see `check_inputs`."""
    check_inputs(loaded.study, console)


def check_inputs(study: Study, console: Console) -> None:
    """Read all that a study reads once, with a progress bar, before hours are spent on it.

    Raises:
        UserError: naming what is missing or broken.
    """
    refuse(not_here(study))
    if study.start is not None:
        from suite.reduction.backbone import fitted, on_meta
        from suite.reduction.checkpoints import Checkpoint

        model = on_meta(study.backbone.name, study.backbone.options, study.classes)
        checkpoint = Checkpoint.read(start.file_of(study.start), study.start_weights)
        if checkpoint.said:
            console.print(f"start: {checkpoint.said}", soft_wrap=True, highlight=False)
        fitted(model, checkpoint).check_fit(model)
    with ManualProgress(console, text="reading the data") as bar:
        found = study.data.check(bar.reach)
    for line in found or ():
        console.print(f"data: {line}", soft_wrap=True, highlight=False)
