"""EViT's released checkpoints: a DeiT whose weights do not say where patches leave.

github youweiliang/evit (5ca95a7), `evit.py`. The official keep rate of a block says K = ceil(rate * N), where N counts
an earlier fused token; with fusion the others become one token, also when there is only one of them.
"""

from __future__ import annotations

import ast
import math
import re
from typing import Any

import torch
from torch.nn import functional as F

from baselines.official._vit import not_plain, plain_vit, sizes_of, without_class_token
from suite.official import Layout, Options
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.model import ReducedModel, reduce


class EViTOptions(Options):
    """`keep_rate`: one for the blocks `drop_loc`, or one for every block (1 keeps all). `fuse_token`: EViT's fusion.

    `tokens`: patches to keep in each block instead of a rate, null where the rate decides, as in the official forward.
    """

    keep_rate: float | tuple[float, ...] = 0.7
    drop_loc: tuple[int, ...] = (3, 6, 9)
    fuse_token: bool = True
    tokens: tuple[int | None, ...] | None = None


class EViT(Layout):
    """Plain ViT weights with a class token."""

    name = "evit"
    source = "github youweiliang/evit (5ca95a7)"
    options = EViTOptions

    def why_not(self, checkpoint: Checkpoint) -> str | None:
        foreign = not_plain(checkpoint) or without_class_token(checkpoint)
        return foreign or ("has fc_norm, which DeiT does not" if "fc_norm.weight" in checkpoint else None)

    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        arguments = checkpoint.arguments
        if "base_keep_rate" not in arguments:
            return {}
        options = {"fuse_token": arguments.get("fuse_token"), "drop_loc": _places(arguments.get("drop_loc"))}
        model = str(arguments.get("model", "shrink_base"))
        if model.endswith("shrink_base"):
            return options | {"keep_rate": arguments["base_keep_rate"]}
        fixed = re.search(r"_shrink(\d*)$", model)  # these official models ignore both arguments
        return options | {"keep_rate": 0.1 * int(fixed[1] or 7) if fixed else 1.0, "drop_loc": (3, 6, 9)}

    def build(self, checkpoint: Checkpoint, options: Any) -> ReducedModel:
        backbone = plain_vit(_resized(checkpoint, options), options)
        patches, depth = math.prod(backbone.patch_embed.grid_size), checkpoint.depth
        removed, singles = counts(patches, _rates(options, depth), _tokens(options, depth), options.fuse_token)
        settings = {"action": "fuse" if options.fuse_token else "prune", "fuse_single": singles}
        return reduce(backbone, "evit", removed, settings)


def _places(argument: Any) -> Any:
    """The official argument is text, such as "(3, 6, 9)"."""
    try:
        return ast.literal_eval(argument) if isinstance(argument, str) else argument
    except (ValueError, SyntaxError) as error:
        raise ValueError(
            f"its argument drop_loc is {argument!r} instead of numbers of blocks; give drop_loc"
        ) from error


def _rates(options: EViTOptions, depth: int) -> tuple[float, ...]:
    rates = options.keep_rate
    if isinstance(rates, float):
        outside = [block for block in options.drop_loc if not 0 <= block < depth]
        if outside:
            raise ValueError(f"drop_loc names block {outside[0]}, but the model has the blocks 0 to {depth - 1}")
        rates = tuple(rates if block in options.drop_loc else 1.0 for block in range(depth))
    if len(rates) != depth:
        raise ValueError(
            f"keep_rate has {len(rates)} rates but the model has {depth} blocks; give one rate, or one each"
        )
    if not all(0 < rate <= 1 for rate in rates):
        raise ValueError(f"a keep_rate must be above 0 and at most 1, found {list(rates)}")
    return rates


def _tokens(options: EViTOptions, depth: int) -> tuple[int | None, ...]:
    tokens = (None,) * depth if options.tokens is None else options.tokens
    if len(tokens) != depth:
        raise ValueError(f"tokens has {len(tokens)} counts but the model has {depth} blocks; give one each")
    return tokens


def counts(
    patches: int, rates: tuple[float, ...], tokens: tuple[int | None, ...], fuse: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """By how much the sequence gets shorter in each block, and the blocks that fuse a single patch."""
    removed, singles, remaining = [], [], patches
    for block, (rate, count) in enumerate(zip(rates, tokens, strict=True)):
        kept = remaining if rate == 1 else math.ceil(rate * remaining)
        kept = kept if count is None else count
        if not 1 <= kept <= remaining:
            raise ValueError(f"block {block} should keep {kept} of {remaining} patches")
        after = kept + 1 if fuse and kept < remaining else kept
        if fuse and kept == remaining - 1:
            singles.append(block)
        removed.append(remaining - after)
        remaining = after
    return tuple(removed), tuple(singles)


def _resized(checkpoint: Checkpoint, options: EViTOptions) -> Checkpoint:
    """The official code interpolates position embeddings bicubically for square images of another size."""
    image_size, grid = sizes_of(checkpoint, options)
    patch = checkpoint.shape("patch_embed.proj.weight")[2:]
    wanted = image_size[0] // patch[0], image_size[1] // patch[1]
    if wanted == grid or wanted[0] != wanted[1] or grid[0] * grid[1] != checkpoint.shape("pos_embed")[1] - 1:
        return checkpoint
    position = checkpoint.weights["pos_embed"]
    old = position[:, 1:].transpose(1, 2).unflatten(2, grid)
    new = F.interpolate(old, size=wanted, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    weights = checkpoint.weights | {"pos_embed": torch.cat([position[:, :1], new], 1)}
    return Checkpoint(checkpoint.name, weights, checkpoint.arguments)
