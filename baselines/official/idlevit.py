"""IdleViT's released checkpoints of DeiT: plain ViT weights that do not say which blocks idle.

github Ackesnal/IdleViT (d46c1c2), `vit.py`. `infer.py` idles in 9 of 12 blocks, `main.py` trains with 8 and the same
9 ratios, taken in order, so its stages are 3, 3 and 2 blocks long. Patches at work: floor(ratio * first patches).
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from baselines.official._vit import not_plain, plain_vit, shrunk, without_class_token
from suite.official import Layout, Options
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.model import ReducedModel, reduce


class IdleViTOptions(Options):
    """`base_rate`: share of patches at work in the first stage; stage s has base_rate ** s.

    `idle_layers`: how many blocks idle, counted from the last (9 as in the official evaluation, 8 as in its training),
    or which. `keep_ratios`: one for each of them instead of the stages. The rest are the method's own settings.
    """

    base_rate: float = Field(0.7, gt=0, lt=1)
    idle_layers: int | tuple[int, ...]
    keep_ratios: tuple[float, ...] | None = None
    cut_weight: float = Field(20.0, ge=0)
    cut: Literal["both", "intra", "inter"] = "both"
    cut_blocks: Literal["all", "official"] = "all"
    distillation_weight: float = Field(0.0, ge=0)


class IdleViT(Layout):
    """Plain ViT weights with a class token; LV-ViT is refused."""

    name = "idlevit"
    source = "github Ackesnal/IdleViT (d46c1c2)"
    options = IdleViTOptions

    def why_not(self, checkpoint: Checkpoint) -> str | None:
        if "patch_embed.conv1.weight" in checkpoint or "aux_head.weight" in checkpoint:
            return "is an LV-ViT (a convolutional stem and an auxiliary head), which is not supported; DeiT is"
        foreign = not_plain(checkpoint) or without_class_token(checkpoint)
        return foreign or ("has fc_norm, which DeiT does not" if "fc_norm.weight" in checkpoint else None)

    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        arguments = checkpoint.arguments
        if "base_rate" not in arguments:
            return {}
        weight = arguments.get("distillw", 0.0) if arguments.get("distill") else 0.0
        options = {
            "base_rate": arguments["base_rate"],
            "cut_weight": arguments.get("cutw"),
            "distillation_weight": weight,
        }
        kind = arguments.get("cutloss_type")
        return options | ({"cut_weight": 0.0} if kind == "none" else {"cut": kind})

    def defaults(self, checkpoint: Checkpoint) -> dict[str, Any]:
        return super().defaults(checkpoint) | {"idle_layers": checkpoint.depth - checkpoint.depth // 4}

    def build(self, checkpoint: Checkpoint, options: Any) -> ReducedModel:
        backbone = plain_vit(checkpoint, options)
        layers = _layers(options.idle_layers, checkpoint.depth)
        ratios = _ratios(options, layers, checkpoint.depth)
        patches = math.prod(backbone.patch_embed.grid_size)
        active = [patches] * checkpoint.depth
        for layer, ratio in zip(layers, ratios, strict=False):
            active[layer] = int(patches * ratio)
        settings = options.model_dump(include={"cut_weight", "cut", "cut_blocks", "distillation_weight"})
        return reduce(backbone, "idlevit", shrunk(active, "idle_layers"), settings)


def _layers(asked: int | tuple[int, ...], depth: int) -> tuple[int, ...]:
    layers = tuple(range(depth - asked, depth)) if isinstance(asked, int) else asked
    if not layers or not all(0 < layer < depth for layer in layers) or sorted(set(layers)) != list(layers):
        raise ValueError(
            f"idle_layers must be some of the blocks 1 to {depth - 1} in order, or how many of the last, found {asked}"
        )
    return layers


def _ratios(options: IdleViTOptions, layers: tuple[int, ...], depth: int) -> tuple[float, ...]:
    length = max(1, (depth - depth // 4) // 3)
    stages = range(max(len(layers), 3 * length))
    ratios = options.keep_ratios
    if ratios is None:
        ratios = tuple(options.base_rate ** (place // length + 1) for place in stages)
    if len(ratios) < len(layers):
        raise ValueError(f"keep_ratios has {len(ratios)} ratios for {len(layers)} idle blocks; give one for each")
    if not all(0 < ratio < 1 for ratio in ratios):
        raise ValueError(
            f"a ratio must be above 0 and below 1, found {list(ratios)}; leave a block without idle patches out of "
            "idle_layers"
        )
    return ratios
