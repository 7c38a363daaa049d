"""Models to compare, out of the words of a command: the unpruned one and every method, on one backbone's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import torch
from torch import nn

from suite.cli.options import reason
from suite.errors import UserError, suggest
from suite.measure.fit import weights_fit
from suite.measure.macs import count_macs
from suite.measure.speed import references
from suite.reduction.backbone import create_backbone
from suite.reduction.blocks import TimmModule
from suite.reduction.model import reduce
from suite.reduction.registry import settings_class
from suite.reduction.settings import Fusion
from suite.study.schema import ScheduleRule
from suite.tasks.task import task


@dataclass(frozen=True)
class Words:
    """What a command says about models; see `suite speed --help`."""

    backbone: str
    options: Mapping[str, Any]
    methods: Sequence[str]
    settings: Mapping[str, dict[str, Any]]
    schedule: ScheduleRule | None
    fusion: str = "none"
    task: str = "classification"


@dataclass(frozen=True)
class Candidates:
    """Models by label, both references first.

    Attributes:
        models: deployed, in evaluation mode, on the processor in float32 and with random weights.
        macs: per image (convention `full`).
        removed: patches removed in each block.
        size: height and width of the images.
    """

    models: dict[str, nn.Module]
    macs: dict[str, float]
    removed: tuple[int, ...]
    size: tuple[int, int]


def build(words: Words) -> Candidates:
    """Build the references and every method.

    Raises:
        UserError: for a backbone, method, setting, schedule or fusion that is unknown or does not fit the others.
    """
    _check(words)
    options = dict(words.options)
    goal = task(words.task)
    classes = options.pop("num_classes", goal.usual_outputs)
    backbone = backbone_that_fits(words.backbone, options, classes)
    grid = backbone.patch_embed.grid_size
    removed = _removed(words, grid[0] * grid[1], len(backbone.blocks), backbone.num_prefix_tokens)
    models = references(goal.read_out_unpruned(backbone))
    for method in words.methods:
        fusion, settings = cast(Fusion, words.fusion), words.settings.get(method, {})
        try:
            model = reduce(backbone, method, removed, settings, fusion).deploy()
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{method}: {reason(error)}") from error
        name = method if fusion == "none" or settings_class(method).reduces == "nothing" else f"{method} + {fusion}"
        models[name] = goal.read_out(model).eval()
    size = backbone.patch_embed.img_size
    image = torch.rand(1, 3, *size)
    return Candidates(models, {name: count_macs(model, image).full for name, model in models.items()}, removed, size)


def backbone_that_fits(name: str, options: dict[str, Any], classes: int) -> TimmModule:
    """A timm model on the processor, with random weights, in evaluation mode.

    Raises:
        UserError: if timm cannot build it, or its weights are too large for the memory.
    """
    with torch.device("meta"):
        weights_fit(sum(tensor.nbytes for tensor in create_backbone(name, options, classes).parameters()))
    return create_backbone(name, options, classes).eval()


def _check(words: Words) -> None:
    """Refuse words that are missing or none of those known."""
    if not words.backbone:
        raise UserError("name a timm model to time, for example: suite speed vit_small_patch16_224 --method random ...")
    if words.fusion not in get_args(Fusion):
        raise UserError(f"unknown fusion {words.fusion!r}; {suggest(words.fusion, get_args(Fusion))}")
    try:
        task(words.task).check_fusion(words.fusion)
    except ValueError as error:
        raise UserError(str(error)) from error


def _removed(words: Words, patches: int, depth: int, prefix: int) -> tuple[int, ...]:
    if words.schedule is not None:
        try:
            return words.schedule.resolve(patches, depth, prefix).removed
        except ValueError as error:
            raise UserError(f"schedule: {reason(error)}") from error
    removing = [method for method in words.methods if settings_class(method).reduces != "nothing"]
    if removing:
        raise UserError(
            f"{', '.join(removing)} must be told how many patches to remove; {words.backbone} has {patches} and "
            f"{depth} blocks, so for example: --constant {patches // (2 * depth)} --blocks 0-{depth - 2}"
        )
    return (0,) * depth
