"""ToMe on released checkpoints, off the shelf: the official patches for timm's and for MAE's models.

github facebookresearch/ToMe (af95e4b), `tome/patch/timm.py` and `mae.py`. More merges than half the unprotected tokens
are clamped; without a class token, unmerged tokens stay in order of similarity; timm's average pooling ignores sizes,
MAE's counts them.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import field_validator, model_validator

from baselines.official._vit import not_plain, plain_vit, without_class_token
from suite.official import Layout, Options
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.schedule import Schedule, clamped, linear

MOST = 1_000_000


class ToMeOptions(Options):
    """`r` as the official `parse_r` takes it: a count, a pair (r, inflect) in Python, or a list of counts.

    `inflect` -1 is the paper's decreasing schedule. A list that is shorter than the model goes on with zeros.
    `prop_attn`: whether attention is proportional to size.
    """

    r: int | list[int]
    inflect: float = 0.0
    prop_attn: bool = True

    @model_validator(mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("r"), tuple):
            if len(value["r"]) != 2:
                raise ValueError("r as a tuple is (r, inflect); give a list for one count per block")
            value = value | {"r": value["r"][0], "inflect": value["r"][1]}
        return value

    @field_validator("r")
    @classmethod
    def _counts(cls, value: int | list[int]) -> int | list[int]:
        counts = value if isinstance(value, list) else [value]
        if not all(0 <= count <= MOST for count in counts):
            raise ValueError(f"counts of merges must be from 0 to {MOST}, found {value}")
        return value


class ToMe(Layout):
    """timm's ViT, with or without class token, and DeiT with a distillation token."""

    name = "tome"
    source = "github facebookresearch/ToMe (af95e4b)"

    class options(ToMeOptions):  # noqa: N801
        """`global_pool`: "token" or "avg"; by default the class token's, if there is one and no fc_norm."""

        global_pool: Literal["token", "avg"] | None = None

    def why_not(self, checkpoint: Checkpoint) -> str | None:
        return not_plain(checkpoint)

    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        return {}

    def build(self, checkpoint: Checkpoint, options: Any) -> ReducedModel:
        pooled = "fc_norm.weight" in checkpoint or "cls_token" not in checkpoint
        pool = options.global_pool or ("avg" if pooled else "token")
        if pool == "token" and pooled:
            raise ValueError("global_pool: token needs a class token and no fc_norm; leave it out")
        return _merged(checkpoint, options, pool, weighted=False)


class ToMeMAE(Layout):
    """MAE's fine-tuned ViT: `fc_norm` means average pooling without the class token."""

    name = "tome-mae"
    source = "github facebookresearch/ToMe (af95e4b)"

    class options(ToMeOptions):  # noqa: N801
        """Attention is not proportional, as the official patch advises for MAE."""

        prop_attn: bool = False

    def why_not(self, checkpoint: Checkpoint) -> str | None:
        return not_plain(checkpoint) or without_class_token(checkpoint)

    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        return {}

    def build(self, checkpoint: Checkpoint, options: Any) -> ReducedModel:
        pool = "avg" if "fc_norm.weight" in checkpoint else "token"
        return _merged(checkpoint, options, pool, weighted=True)


def _merged(checkpoint: Checkpoint, options: ToMeOptions, pool: str, weighted: bool) -> ReducedModel:
    backbone = plain_vit(checkpoint, options, global_pool=pool)
    removed = _counts(options, math.prod(backbone.patch_embed.grid_size), checkpoint.depth).removed
    settings = {
        "proportional_attention": options.prop_attn,
        "weighted_pooling": weighted,
        "order": "kept" if "cls_token" in checkpoint else "by similarity",
    }
    return reduce(backbone, "tome", removed, settings)


def _counts(options: ToMeOptions, patches: int, depth: int) -> Schedule:
    if not isinstance(options.r, list):
        return linear(patches, depth, options.r, options.inflect, clamp=True)
    if len(options.r) > depth:
        raise ValueError(f"r has {len(options.r)} counts but the model has {depth} blocks; give one each at most")
    return clamped(patches, (*options.r, *[0] * (depth - len(options.r))))
