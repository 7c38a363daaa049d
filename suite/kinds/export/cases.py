"""The models that `suite export` compiles and exports: every method, on small backbones of three families."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from suite.contract.backbones import scramble
from suite.measure.export import IMAGES
from suite.measure.watched import Watched
from suite.reduction.backbone import create_backbone
from suite.reduction.model import reduce
from suite.reduction.registry import default_settings
from suite.reduction.schedule import Schedule
from suite.reduction.settings import Fusion, MethodSettings, fusions_of
from suite.tasks.task import Task, task, tasks

CLASSES = 10
PATCHES = 64
REMOVED = (16, 16, 0, 0)  # the last two are 0 so that last-layer fusion can have the same counts
SCHEDULE = Schedule(PATCHES, REMOVED)
# Name and options in timm, and patches removed in each block. Published models, but for their depth and the size of
# images, which gives 64 patches: each block that removes patches leads to another shape, which inductor compiles anew.
BACKBONES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "ViT-Ti": ("vit_tiny_patch16_224", {"img_size": 128, "depth": 4}, REMOVED),
    "DeiT-Ti distilled": ("deit_tiny_distilled_patch16_224", {"img_size": 128, "depth": 4}, REMOVED),
    "EVA-02-Ti": ("eva02_tiny_patch14_224", {"img_size": 112, "depth": 4}, REMOVED),
    "tiny ViT": (
        "vit_tiny_patch16_224",
        {"img_size": 32, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2},
        (16, 0),
    ),
}
*MEASURED, TINY = BACKBONES


@dataclass(frozen=True)
class Case:
    """One deployed model: task, backbone (a key of `BACKBONES`), method and fusion."""

    task: str
    backbone: str
    method: str
    fusion: Fusion = "none"

    def __str__(self) -> str:
        fused = "" if self.fusion == "none" else f" + {self.fusion}"
        return f"{self.method}{fused} on {self.backbone}, {self.task}"

    def build(self) -> tuple[nn.Module, Tensor]:
        """The deployed model with random weights, as `examine` wants it, and images; UnmetNeed or ValueError if not."""
        name, options, removed = BACKBONES[self.backbone]
        backbone = create_backbone(name, options, CLASSES)
        scramble(backbone)
        known = task(self.task)
        settings = _settings_for_maps(self.method) if known.dense else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = reduce(backbone, self.method, removed, settings, self.fusion).deploy()
        images = torch.randn(IMAGES, 3, *backbone.patch_embed.img_size, generator=torch.Generator().manual_seed(1))
        return (Alone(known.read_out(model).eval()) if known.dense else Watched(model)), images


class Alone(nn.Module):
    """What a model computes, as the only one of a tuple."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.model(images),)


def cases(methods: Iterable[str], quick: bool) -> list[Case]:
    """Every method for every task: on every backbone, and on the first with the fusions of `_fused`.

    A dense task is tried with the first backbone alone. If `quick`, every method on a tiny ViT, for no dense task.
    """
    found = []
    for method, one in itertools.product(methods, tasks().values()):
        if not one.dense:
            found += [Case(one.name, backbone, method) for backbone in ([TINY] if quick else MEASURED)]
        fusions = [] if quick else _fused(one, default_settings(method))
        found += [Case(one.name, MEASURED[0], method, fusion) for fusion in fusions]
    return found


def _fused(task: Task, settings: MethodSettings) -> list[Fusion]:
    """The ways in which patches that a method removes can come back for a task, as far as they are tried.

    Compiling is slow, so a dense task is tried with every one for a method that learns from the labels of patches, and
    with none for one that keeps all patches in others.
    """
    if task.dense and type(settings).check_dense is MethodSettings.check_dense:
        return ["none"] if settings.verb() in ("fuses", "merges") else []
    return [fusion for fusion in fusions_of(settings, SCHEDULE) if fusion in task.fusions]


def _settings_for_maps(method: str) -> dict[str, int]:
    """One query for each patch, where a method has queries."""
    return {"queries": PATCHES} if "queries" in type(default_settings(method)).model_fields else {}
