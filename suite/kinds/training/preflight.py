"""What a study reads from this machine's disk: whether it is there and in order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from suite.errors import UserError
from suite.kinds.training.schema import Study
from suite.study.cells import Cell
from suite.terminal import ManualProgress

USUAL = ("cpu", "float32", False)  # device, precision and compiler that every machine has: the processor, without one


def missing(study: Study) -> list[str]:
    """A sentence for everything that the study reads and that is not on this machine."""
    sentences = [sentence] if (sentence := study.data.missing()) else []
    if study.start is not None and not study.start.is_file():
        sentences.append(
            f"start: there is no {_shown(study.start)}; put the weights there (a file of torch or safetensors for "
            f"{study.backbone.name}), or name the file that has them"
        )
    return sentences


def check_here(study: Study) -> None:
    """Refuse a study whose data or weights are not on this machine.

    Raises:
        UserError: naming each.
    """
    if sentences := missing(study):
        raise UserError("\n".join(sentences))


def check_devices(cells: Sequence[Cell], *, here: bool = False) -> None:
    """Refuse cells for what this machine has not, before anything is read; `here`: no cluster runs them.

    Raises:
        UserError: naming each.
    """
    if sentences := lacking(cells, here=here):
        raise UserError("\n".join(sentences))


def lacking(cells: Sequence[Cell], *, here: bool = False) -> list[str]:
    """A sentence for everything that cells compute with and this machine lacks: a GPU, a precision, a compiler.

    A cluster is asked for its GPUs when it is connected to; a speed cell that lacks something there fails by itself.
    """
    speeds = [cell.identity for cell in cells if cell.kind == "speed"]
    devices = {cell.identity["device"] for cell in cells}
    unusual = {(one["device"], one["precision"], one["speed"]["compile"]) for one in speeds} - {USUAL}
    if (os.environ.get("RAY_ADDRESS") and not here) or (devices <= {"cpu"} and not unusual):
        return []
    import torch

    sentences = []
    if "cuda" in devices and not torch.cuda.is_available():
        does = (
            "trains" if any(cell.kind != "speed" and cell.identity["device"] == "cuda" for cell in cells) else "times"
        )
        sentences.append(
            f"this study {does} on cuda, and torch finds no CUDA device here; run it where there is one, or set "
            "RAY_ADDRESS to a cluster that has one"
        )
        unusual = {way for way in unusual if way[0] != "cuda"}
    return sentences + [f"speed: {why}" for way in sorted(unusual) if (why := _cannot_time(*way))]


def _cannot_time(device: str, precision: str, compiled: bool) -> str:
    """Why speed cannot be measured so; empty if it can."""
    import torch

    from suite.measure.device import check_compiler, check_precision

    try:
        check_precision(precision, torch.device(device))
        if compiled:
            check_compiler(torch.device(device))
    except UserError as error:
        return str(error)
    return ""


def check_inputs(study: Study, console: Console) -> None:
    """Read all that a study reads once, with a progress bar, before hours are spent on it.

    Raises:
        UserError: naming what is missing or broken.
    """
    check_here(study)
    if study.start is not None:
        from suite.reduction.backbone import fitted, on_meta
        from suite.reduction.checkpoints import Checkpoint

        model = on_meta(study.backbone.name, study.backbone.options, study.classes)
        fitted(model, Checkpoint.read(study.start)).check_fit(model)
    with ManualProgress(console, text="reading the data") as bar:
        study.data.check(bar.reach)


def _shown(path: Path) -> str:
    return f"{path} in {Path.cwd()}" if not path.is_absolute() else str(path)
