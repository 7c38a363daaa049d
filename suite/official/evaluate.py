"""Accuracy, tokens and MACs of an official checkpoint on a folder of images: the command `suite evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from suite.data.classes import BY_NUMBER, BY_TEXT, CHOICE, Order
from suite.data.labelled import NAMED, Labelled, read_and_known
from suite.data.preparation import Prepared, for_evaluation
from suite.data.sources import open_images
from suite.errors import UserError
from suite.measure.accuracy import Accuracy, accuracy
from suite.measure.count import Macs, count
from suite.measure.tokens import TokenCounts, check_tokens
from suite.official import Released
from suite.reduction.attention import TimmModule
from suite.reduction.model import ReducedModel
from suite.terminal import ManualProgress, track


@dataclass(frozen=True)
class Evaluation:
    """Accuracy over a folder, and the tokens and multiply-accumulates of one image."""

    accuracy: Accuracy
    tokens: TokenCounts
    macs: Macs


def evaluate(
    released: Released, data: Path, batch_size: int, device: str, console: Console, order: Order | None = None
) -> Evaluation:
    """Evaluate a released classification model, with progress bars; every image that is not known to be whole is
    read once before.

    Args:
        released: see `official.resolve`.
        data: one folder for each class, or a folder whose `val` is that.
        batch_size: images at a time.
        device: a torch device.
        console: where it is said what is read and what is left out, and bars are shown, if it is a terminal.
        order: of the classes, see `suite.data.classes.ordered`.

    Raises:
        UserError: if the model is not for classification, or the folder does not fit it, or images are broken.
    """
    if not isinstance(released.model, ReducedModel):
        raise UserError(
            f"layout {released.layout.name} is for {released.layout.task}; evaluate measures classification only"
        )
    model = released.model.deploy()
    images = open_for(model.backbone, data, order or model.class_names or None)
    check_device(device)
    with ManualProgress(console, text="reading the images") as bar:
        images.check(bar.reach)
    for line in (*images.said, read_and_known([images])):
        console.print(f"data: {line}", soft_wrap=True, highlight=False)
    counted = count(model)
    check_tokens(model, counted.tokens)
    batches = loader(images, model.backbone, released.options.crop, released.options.normalisation, batch_size)
    found = accuracy(model.to(device), track(batches, "batches", len(batches), console), device)
    return Evaluation(found, counted.tokens, counted.macs)


def open_for(backbone: TimmModule, source: Path, order: Order | None = None) -> Labelled:
    """Images to evaluate a timm model on.

    Raises:
        UserError: if there are none, or of another number of classes than the model's.
    """
    images = open_images(source, order)
    classes, channels = backbone.num_classes, backbone.patch_embed.proj.in_channels
    if channels != 3:
        raise UserError(f"the model takes images of {channels} channels; evaluate reads those of 3, in colour")
    if len(images.classes) != classes:
        found = len(images.classes)
        has = (
            f"{images.where} has {found} folders"
            if order in (None, BY_TEXT, BY_NUMBER)
            else f"{order} names {found} classes"
        )
        few = f" (found: {', '.join(images.classes)})" if found <= NAMED else ""
        raise UserError(
            f"{has} but the model has {classes} classes{few}; give a folder with one for each of them, or name all of "
            f"them with {CHOICE} FILE"
        )
    return images


def loader(images: Labelled, backbone: TimmModule, crop: float, normalisation: str, batch_size: int) -> DataLoader[Any]:
    """Batches of inputs of a timm model and of classes, see `for_evaluation`."""
    prepare = for_evaluation(tuple(backbone.patch_embed.img_size), crop, normalisation)
    return DataLoader(cast(Dataset[Any], Prepared(images.pictures, images.labels, prepare)), batch_size)  # type: ignore[arg-type]


def check_device(device: str) -> None:
    """Refuse a device that cannot compute.

    Raises:
        UserError: with torch's reason.
    """
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0][:100]
        raise UserError(f"cannot use the device {device!r} ({reason}); --device cpu always works") from error


def show_model(released: Released, console: Console) -> None:
    """Print the layout, and each option with its source."""
    console.print(f"layout {released.layout.name}: {released.layout.source}", soft_wrap=True)
    if released.weights:
        console.print(f"weights: {released.weights}", soft_wrap=True, highlight=False)
    for name, value in released.options:
        if value is not None:
            console.print(f"  {name:<20} {value!s:<24} {released.origin[name]}", soft_wrap=True, highlight=False)


def show_result(result: Evaluation, console: Console) -> None:
    """Print accuracy and cost, a line each."""
    lines = {
        "images": f"{result.accuracy.images}",
        "top-1": f"{result.accuracy.top1:.2f} %",
        "top-5": f"{result.accuracy.top5:.2f} %",
        "tokens per MLP": " ".join(map(str, result.tokens.mlp)),
        "GMACs per image": f"{result.macs.full / 1e9:.3g} with all matrix products, "
        f"{result.macs.linear / 1e9:.3g} without the two of attention",
    }
    for name, value in lines.items():
        console.print(f"{name:<16} {value}", soft_wrap=True, highlight=False)
