"""Methods that merge on the weights of plain ViTs: PiToMe, ATC, DiffRate, MCTF.

Such weights say little or nothing about merges, so what the official code asks for is given as options.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from baselines.official._vit import not_plain, plain_vit, without_class_token
from suite.official import Layout, Options
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.schedule import linear

MOST = 1_000_000  # patches, more than there are


class Plain(Layout):
    """Plain ViT weights with a class token; a file of them says nothing of merges, unless a subclass knows better."""

    def why_not(self, checkpoint: Checkpoint) -> str | None:
        return not_plain(checkpoint) or without_class_token(checkpoint)

    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        return {}


class PiToMe(Plain):
    """DeiT, or MAE's fine-tuned ViT, off the shelf."""

    name = "pitome"
    source = "github hchautran/PiToMe (550b5de)"

    class options(Options):  # noqa: N801
        """`ratio`: share of the patches that stay in each block. `patch`: "deit" or "mae"; mae where there is fc_norm.

        The two differ in which half of the blocks pairs all patches.
        """

        ratio: float = Field(ge=0.5, le=1)
        patch: Literal["deit", "mae"] | None = None

    def build(self, checkpoint: Checkpoint, options: Any) -> ReducedModel:
        average = "fc_norm.weight" in checkpoint
        backbone = plain_vit(checkpoint, options, global_pool="avg" if average else "token")
        patch = options.patch or ("mae" if average else "deit")
        removed, left = [], math.prod(backbone.patch_embed.grid_size)
        for _ in range(checkpoint.depth):
            removed.append(math.floor(left - left * options.ratio))
            left -= removed[-1]
        return reduce(
            backbone, "pitome", tuple(removed), {"pairs_all": "first half" if patch == "deit" else "second half"}
        )


class ATC(Plain):
    """DeiT off the shelf, or MAE's ViT, off the shelf or fine-tuned; DeiT trained with ATC is of token-reduction."""

    name = "atc"
    source = "github JoakimHaurum/ATC (227c94b)"

    class options(Options):  # noqa: N801
        """`r`: tokens that leave each block, of which the class token is counted as one, so that r - 1 patches merge.

        `r_sched`: "decrease" is ToMe's decreasing schedule. `patch`: "timm" or "mae", where attention is not
        proportional and average pooling counts sizes; mae where there is fc_norm.
        """

        r: int = Field(ge=0, le=MOST // 100)
        r_sched: Literal["constant", "decrease"] = "constant"
        linkage: Literal["average", "complete", "single"] = "average"
        patch: Literal["timm", "mae"] | None = None

    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        arguments = checkpoint.arguments
        if "r_count" not in arguments:  # of MAE's fine-tuning
            return {}
        if arguments.get("merge_fn", "atc") != "atc":
            raise ValueError(f"the weights were trained with {arguments['merge_fn']}; give layout tome-mae for tome")
        return {"r": arguments["r_count"]} | {name: arguments.get(name) for name in ("r_sched", "linkage")}

    def build(self, checkpoint: Checkpoint, options: Any) -> ReducedModel:
        average = "fc_norm.weight" in checkpoint
        backbone = plain_vit(checkpoint, options, global_pool="avg" if average else "token")
        is_mae = (options.patch or ("mae" if average else "timm")) == "mae"
        removed, left = [], math.prod(backbone.patch_embed.grid_size)
        for count in linear(MOST, checkpoint.depth, options.r, -1.0 if options.r_sched == "decrease" else 0.0).removed:
            removed.append(max(min(count, left) - 1, 0))
            left -= removed[-1]
        settings = {"linkage": options.linkage, "proportional_attention": not is_mae, "weighted_pooling": is_mae}
        return reduce(backbone, "atc", tuple(removed), settings)


class DiffRate(Plain):
    """DeiT, or MAE's fine-tuned ViT, off the shelf or fine-tuned."""

    name = "diffrate"
    source = "github OpenGVLab/DiffRate (91ae3e3)"

    class options(Options):  # noqa: N801
        """Tokens that stay after pruning and after merging in each block, class token included.

        They are what the official compression_rate.json says; of both counts the smaller one stays, as officially.
        """

        prune_kept_num: tuple[int, ...]
        merge_kept_num: tuple[int, ...]

    def build(self, checkpoint: Checkpoint, options: Any) -> ReducedModel:
        average = "fc_norm.weight" in checkpoint
        backbone = plain_vit(checkpoint, options, global_pool="avg" if average else "token")
        for name in ("prune_kept_num", "merge_kept_num"):
            if len(counts := getattr(options, name)) != checkpoint.depth or min(counts) < 2:
                raise ValueError(
                    f"{name} must be a count of tokens from 2 on for each of {checkpoint.depth} blocks, found "
                    f"{list(counts)}"
                )
        removed, merged, left = [], [], 1 + math.prod(backbone.patch_embed.grid_size)
        for pruned, joined in zip(options.prune_kept_num, options.merge_kept_num, strict=True):
            staying = min(left, pruned)
            merged.append(max(staying - joined, 0))
            removed.append(left - staying + merged[-1])
            left -= removed[-1]
        return reduce(backbone, "diffrate", tuple(removed), {"merged": tuple(merged)})


class MCTF(Plain):
    """DeiT trained with MCTF, or off the shelf."""

    name = "mctf"
    source = "github mlvlab/MCTF (2004da0)"

    class options(Options):  # noqa: N801
        """`r`: merges in each block of `activate_layer`, or below 1 the share of its patches; at least 10 tokens stay.

        The others are the official `mctf_type`; its one_step_ahead and its pooling by attention and size are fixed.
        """

        r: float = Field(ge=0)
        activate_layer: tuple[int, ...] = (3, 6, 9)
        tau_sim: float = 1
        tau_info: float = 20
        tau_size: float = 40
        bidirection: bool = True

    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        kind, arguments = checkpoint.arguments.get("mctf_type"), checkpoint.arguments
        if not kind:
            return {}
        if list(kind[3:5]) != [1, 1] or kind[9] != 1:
            raise ValueError(f"mctf_type {list(kind)} has another attention or pooling than this layout: 1, 1 and 1")
        r, _, _, _, _, *tau, bidirection = kind[:9]
        found = {"r": r, "bidirection": bool(bidirection), "activate_layer": arguments.get("activate_layer")}
        return found | dict(zip(("tau_sim", "tau_info", "tau_size"), tau, strict=True))

    def build(self, checkpoint: Checkpoint, options: Any) -> ReducedModel:
        backbone = plain_vit(checkpoint, options)
        removed, left = [], math.prod(backbone.patch_embed.grid_size)
        for block in range(checkpoint.depth):
            r = min(options.r, left + 1 - 10) if block in options.activate_layer else 0
            removed.append(max(min(int(left * r) if r < 1 else int(r), left // 2), 0))
            left -= removed[-1]
        names = {"tau_sim": "similarity", "tau_info": "information", "tau_size": "size", "bidirection": "both_ways"}
        return reduce(backbone, "mctf", tuple(removed), {new: getattr(options, old) for old, new in names.items()})
