"""What `suite evaluate` does: accuracy, tokens and MACs of an official checkpoint on a folder of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader

from suite.cli.options import pairs as read_pairs
from suite.data.folder import open_folder
from suite.errors import UserError
from suite.measure.macs import Macs, count_macs
from suite.measure.tokens import TokenCounts, check_tokens, count_tokens
from suite.official import Released
from suite.reduction.model import ReducedModel


@dataclass(frozen=True)
class Evaluation:
    """Accuracies in percent over `images` images, and the cost of one."""

    images: int
    top1: float
    top5: float
    ledger: TokenCounts
    macs: Macs


def evaluate(
    released: Released, data: Path, batch_size: int, device: str, progress: Callable[[int, int], None]
) -> Evaluation:
    """Evaluate a released classification model.

    Args:
        released: see `official.resolve`.
        data: one folder for each class, or a folder whose `val` is that.
        batch_size: images at a time.
        device: a torch device.
        progress: called with the images done and all images.

    Raises:
        UserError: if the model is not for classification, or the folder does not fit it.
    """
    if not isinstance(released.model, ReducedModel):
        raise UserError(
            f"layout {released.layout.name} is for {released.layout.task}; evaluate measures classification only"
        )
    model = released.model.deploy()
    size = tuple(model.backbone.patch_embed.img_size)
    images: Any = open_folder(data, size, released.options.crop, released.options.normalisation)
    classes, channels = model.backbone.num_classes, model.backbone.patch_embed.proj.in_channels
    if channels != 3:
        raise UserError(f"the checkpoint is for images of {channels} channels; evaluate reads those of 3, in colour")
    if len(images.classes) != classes:
        raise UserError(
            f"{images.root} has {len(images.classes)} folders but the checkpoint knows {classes} classes; give a "
            "folder with one for each of them, in their order"
        )
    _check_device(device)
    noise = torch.zeros(1, 3, *size)
    ledger, macs = count_tokens(model, noise), count_macs(model, noise)
    check_tokens(model, ledger)
    right = _count_right(model.to(device), DataLoader(images, batch_size), device, progress)
    return Evaluation(len(images), 100 * right[0] / len(images), 100 * right[1] / len(images), ledger, macs)


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0][:100]
        raise UserError(f"cannot use the device {device!r} ({reason}); --device cpu always works") from error


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """Options as the command line gives them, NAME=VALUE with the value in YAML.

    Raises:
        UserError: for what is not such a pair, or stands twice.
    """
    options = read_pairs(pairs, "--option", "keep_rate=0.7")
    for name in ("checkpoint", "layout"):
        if name in options:
            raise UserError(f"--option {name} is not an option of a layout; write --{name} {options[name]}")
    return options


def evaluate_with_bar(released: Released, data: Path, batch_size: int, device: str, console: Console) -> Evaluation:
    """As `evaluate`, with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("images", total=None)
        return evaluate(
            released, data, batch_size, device, lambda done, total: bar.update(task, completed=done, total=total)
        )


def show_model(released: Released, console: Console) -> None:
    """Say which layout it is and where each option comes from."""
    console.print(f"layout {released.layout.name}: {released.layout.source}", soft_wrap=True)
    for name, value in released.options:
        if value is not None:
            console.print(f"  {name:<20} {value!s:<24} {released.origin[name]}", soft_wrap=True, highlight=False)


def show_result(result: Evaluation, console: Console) -> None:
    """Accuracy and cost, a line each."""
    lines = {
        "images": f"{result.images}",
        "top-1": f"{result.top1:.2f} %",
        "top-5": f"{result.top5:.2f} %",
        "tokens per MLP": " ".join(map(str, result.ledger.mlp)),
        "GMACs per image": f"{result.macs.full / 1e9:.3g} with all matrix products, "
        f"{result.macs.linear / 1e9:.3g} without the two of attention",
    }
    for name, value in lines.items():
        console.print(f"{name:<16} {value}", soft_wrap=True, highlight=False)


@torch.inference_mode()
def _count_right(
    model: ReducedModel, batches: DataLoader[Any], device: str, progress: Callable[[int, int], None]
) -> tuple[int, int]:
    """How many images have their class as the first, and among the first five."""
    first = five = done = 0
    total = len(batches.dataset)  # type: ignore[arg-type]
    for images, labels in batches:
        ranked = model(images.to(device)).topk(min(5, model.backbone.num_classes)).indices.cpu()
        hits = ranked == labels[:, None]
        first, five = first + int(hits[:, 0].sum()), five + int(hits.any(1).sum())
        done += len(labels)
        progress(done, total)
    return first, five
