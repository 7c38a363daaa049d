"""One method on one model's weights as they are, on a folder of images: `suite evaluate --method`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from rich.console import Console

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
import timm
from timm.data import constants

from suite.data.classes import BY_NUMBER, BY_TEXT
from suite.data.dataset import Normalisation
from suite.errors import UserError, named
from suite.host import cores
from suite.kinds.off_the_shelf import models
from suite.kinds.off_the_shelf.cells import expand
from suite.kinds.off_the_shelf.execute import run_cell
from suite.kinds.off_the_shelf.problems import problems
from suite.kinds.off_the_shelf.record import Line, lines_of, rows_of
from suite.kinds.off_the_shelf.run import check_inputs, missing
from suite.kinds.off_the_shelf.schema import OffTheShelfStudy
from suite.kinds.off_the_shelf.table import table
from suite.kinds.training import start as starts
from suite.kinds.training.study import refuse
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.hugging_face import as_timm
from suite.reduction.settings import FUSIONS
from suite.report.render import show as show_table
from suite.strict import explained
from suite.study.cells import Job
from suite.study.entry import Entry
from suite.study.schema import Backbone, ScheduleRule
from suite.terminal import ManualProgress


def pictures(source: Path, classes: str | None, labels: bool) -> dict[str, Any]:
    """What a study says of images in a folder; `classes` is an order of them, or a file of their names."""
    order = {"order" if classes in (BY_TEXT, BY_NUMBER) else "classes": classes} if classes else {}
    return {"recipe": "images", "source": source, "labels": labels, **order}


def modelled(
    start: Path, weights: str | None, backbone: tuple[str, dict[str, Any]], data: Mapping[str, Any]
) -> dict[str, Any]:
    """What a study says of a model and of images, prepared as timm does for it.

    Args:
        start: a file of weights, or `timm/MODEL.TAG`.
        weights: which of several in the file.
        backbone: timm's name, with a tag or without, which may be empty where `start` says it; and its options.
        data: see `pictures`.

    Raises:
        UserError: for what cannot be, or is not on this machine.
    """
    name, tag = _named(start, backbone[0])
    refuse(list(filter(None, [starts.missing(start, name)])))
    how = timm.get_pretrained_cfg(tag) or timm.get_pretrained_cfg(name)
    with explained():
        known = Backbone(name=name, options=backbone[1])
        said: dict[str, Any] = {"size": known.size().image[0]}
    classes = _classes(starts.file_of(start), weights)
    if not classes and data.get("labels", True):
        raise UserError(f"{start} has no head that would say a class; add --no-labels, and features are compared")
    said |= {} if how is None else {"crop": how.crop_pct, "normalisation": _normalisation(tag, how)}
    return {
        "question": "",
        "kind": "off-the-shelf",
        "data": said | dict(data),
        "backbone": {"name": name, "options": backbone[1]},
        "classes": classes,
        "start": start,
        "start_weights": weights,
        "threads": cores(),
    }


def study_of(
    about: Mapping[str, Any], method: tuple[str, dict[str, Any], str], rule: ScheduleRule | None
) -> OffTheShelfStudy:
    """What is compared, as a study would say it.

    Args:
        about: what `modelled` says.
        method: its name, settings and fusion.
        rule: how much it removes.

    Raises:
        UserError: for what cannot be.
    """
    row = {"method": method[0], "settings": method[1], "fusion": named(method[2], FUSIONS, "fusion")}
    rules = [rule or ScheduleRule(constant=0, blocks=(0,))]
    with explained():
        study = OffTheShelfStudy.model_validate({**about, "schedules": rules, "methods": [row]})
    if wrong := [message for _, message in problems(study)]:
        raise UserError("\n".join(wrong))
    return study


def on(study: OffTheShelfStudy, batch_size: int, device: str) -> OffTheShelfStudy:
    """The same on a device, so many images at a time."""
    with explained():
        return OffTheShelfStudy.model_validate(dict(study) | {"batch_size": batch_size, "device": device})


def show(study: OffTheShelfStudy, console: Console) -> None:
    """Compare, and show the table."""
    show_table(table("evaluate", compare(study, console)), console)


def _named(start: Path, backbone: str) -> tuple[str, str]:
    """The name of the model, and that with its tag where one is known."""
    tag = backbone or (start.name if start.parts[:-1] == ("timm",) else "")
    name = tag.partition(".")[0]
    if not name:
        raise UserError(
            f"{start} does not say which model it is of; add --backbone with timm's name, such as vit_small_patch16_224"
        )
    return name, tag


def _normalisation(tag: str, how: Any) -> Normalisation:
    """By name, of what timm knows of a model; UserError for one that is prepared for in another way than here."""
    known: dict[tuple[Any, ...], Normalisation] = {
        (constants.IMAGENET_DEFAULT_MEAN, constants.IMAGENET_DEFAULT_STD): "imagenet",
        (constants.IMAGENET_INCEPTION_MEAN, constants.IMAGENET_INCEPTION_STD): "inception",
    }
    found, way = (tuple(how.mean), tuple(how.std)), (how.crop_mode, how.interpolation)
    if found not in known or way != ("center", "bicubic"):
        raise UserError(
            f"timm prepares images for {tag} by mean {found[0]}, deviation {found[1]}, crop {way[0]} and {way[1]} "
            "interpolation; here images are normalised as ImageNet's or Inception's, resized by bicubic interpolation "
            "and cut in the middle"
        )
    return known[found]


def _classes(file: Path, which: str | None) -> int:
    """Outputs of the head in a file; 0 without one."""
    found = Checkpoint.read(file, which).weights
    weights = {name.removeprefix(models.BACKBONE): x for name, x in found.items()}
    head = as_timm(weights).get("head.weight")
    return 0 if head is None else int(head.shape[0])


def compare(study: OffTheShelfStudy, console: Console) -> list[Line]:
    """The unpruned model, the method, and smaller images, with a bar; nothing is written.

    Raises:
        UserError: if images or weights do not fit, or the method cannot be had.
    """
    refuse(missing(study))
    cells = expand(study)
    check_inputs(study, cells, console)
    entries: dict[str, Entry] = {}
    with ManualProgress(console, len(cells), text="models") as bar:
        for number, cell in enumerate(cells):
            progress = functools.partial(_reach, bar, number, len(cells))
            try:
                result = run_cell(Job(cell.identity, None, progress, cell.places))
            except FloatingPointError as error:
                raise UserError(f"{cell.row}: {error}") from error
            if result["status"] != "done":
                raise UserError(f"{cell.row}: {result['reason']}")
            entries[cell.cell_id] = cast(Entry, result)
            progress(1)
    return lines_of(rows_of(cells, entries, study.data.groups_of(study.data.labelled())))


def _reach(bar: ManualProgress, done: int, total: int, part: float) -> None:
    bar.reach(done + part, total)
