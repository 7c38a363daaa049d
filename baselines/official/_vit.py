"""What all layouts share: a plain Vision Transformer, read off its weights."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

from suite.errors import UserError
from suite.official import Options
from suite.reduction.checkpoints import Checkpoint

PLAIN = re.compile(
    r"cls_token|dist_token|pos_embed|patch_embed\.proj\.(weight|bias)|(norm|fc_norm|head|head_dist)\.(weight|bias)|"
    r"blocks\.\d+\.(norm1|norm2|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.(weight|bias)"
)
DIMENSIONS = {
    "pos_embed": 3,
    "patch_embed.proj.weight": 4,
    "blocks.0.attn.qkv.weight": 2,
    "blocks.0.mlp.fc1.weight": 2,
    "head.weight": 2,
}


def lacking(checkpoint: Checkpoint, dimensions: dict[str, int]) -> str | None:
    """Which of these tensors is missing or has not as many dimensions, as the end of a sentence; else None."""
    for key, count in dimensions.items():
        if key not in checkpoint:
            return f"has no {key}" + (": it is of a pre-training, or has another head" if key == "head.weight" else "")
        if len(checkpoint.shape(key)) != count or 0 in checkpoint.shape(key):
            return f"has {key} of shape {checkpoint.shape(key)}, which should have {count} dimensions"
    return None


def not_plain(checkpoint: Checkpoint) -> str | None:
    """Why these are not the weights of a plain, trained ViT, as the end of a sentence; else None."""
    foreign = next((key for key in checkpoint.weights if not PLAIN.fullmatch(key)), None)
    return lacking(checkpoint, DIMENSIONS) or (foreign and f"has {foreign}, which a plain ViT does not")


def without_class_token(checkpoint: Checkpoint) -> str | None:
    """Why the official code would not run it, as the end of a sentence; None if there is one class token only."""
    if "cls_token" not in checkpoint:
        return "has no cls_token"
    if "dist_token" in checkpoint:
        return "has a dist_token: the official code does not run distilled models"
    return None


def heads_of(checkpoint: Checkpoint, options: Options) -> int:
    """Attention heads.

    Raises:
        UserError: if the options do not say, or the width cannot be split.
    """
    width = checkpoint.shape("pos_embed")[2]
    heads = options.heads
    if heads is None:
        raise UserError(f"{checkpoint.name} has width {width}, which does not say the number of heads; give heads")
    if width % heads:
        raise UserError(f"{width} channels cannot be split into {heads} heads; give heads that divide {width}")
    return heads


def sizes_of(checkpoint: Checkpoint, options: Options) -> tuple[tuple[int, int], tuple[int, int]]:
    """Image size in pixels and the grid of position embeddings, each (height, width).

    Raises:
        UserError: if the position embeddings are not a square and no image size is given, or it is not in patches.
    """
    patch = checkpoint.shape("patch_embed.proj.weight")[2:]
    count = checkpoint.shape("pos_embed")[1] - ("cls_token" in checkpoint) - ("dist_token" in checkpoint)
    side = math.isqrt(max(count, 0))
    asked = (options.image_size,) * 2 if isinstance(options.image_size, int) else options.image_size
    if asked is not None:
        if asked[0] % patch[0] or asked[1] % patch[1] or min(asked) < 1:
            raise UserError(
                f"image_size {asked[0]} x {asked[1]} is not a multiple of the patch, {patch[0]} x {patch[1]}"
            )
        grid = asked[0] // patch[0], asked[1] // patch[1]
        return asked, grid if grid[0] * grid[1] == count else (side, side)
    if side**2 != count or not side:
        raise UserError(f"{checkpoint.name} has {count} position embeddings, which are no square; give image_size")
    return (side * patch[0], side * patch[1]), (side, side)


def plain_vit(checkpoint: Checkpoint, options: Options, **more: Any) -> VisionTransformer:
    """A ViT of timm with these weights; LayerNorm has timm's and the official codes' eps, 1e-6.

    Raises:
        UserError: if the weights do not fit, or the image size asks for other position embeddings.
    """
    image_size, grid = sizes_of(checkpoint, options)
    patch = checkpoint.shape("patch_embed.proj.weight")[1:]
    if (image_size[0] // patch[1], image_size[1] // patch[2]) != grid:
        raise UserError(
            f"image_size {image_size[0]} x {image_size[1]} does not have the {grid[0]} x {grid[1]} patches that "
            f"{checkpoint.name} was made for; leave image_size out"
        )
    width, hidden = checkpoint.shape("pos_embed")[2], checkpoint.shape("blocks.0.mlp.fc1.weight")[0]
    kind = VisionTransformerDistilled if "dist_token" in checkpoint else VisionTransformer
    model = kind(
        img_size=image_size,
        patch_size=patch[1:],
        in_chans=patch[0],
        num_classes=checkpoint.shape("head.weight")[0],
        embed_dim=width,
        depth=checkpoint.depth,
        num_heads=heads_of(checkpoint, options),
        mlp_ratio=(hidden + 0.5) / width,
        qkv_bias="blocks.0.attn.qkv.bias" in checkpoint,
        class_token="cls_token" in checkpoint,
        fc_norm="fc_norm.weight" in checkpoint,
        weight_init="skip",
        **more,
    )
    checkpoint.load_into(model)
    return model


def shrunk(active: list[int], name: str) -> tuple[int, ...]:
    """Patches that leave in each block so that block i works on `active[i]` of them; the last one loses none.

    Raises:
        ValueError: if a later block works on more patches than an earlier one.
    """
    removed = [now - after for now, after in pairwise(active)]
    if min(removed, default=0) < 0:
        raise ValueError(
            f"{name} would let block {removed.index(min(removed)) + 1} work on more patches than the one "
            f"before it ({active}); a schedule here only ever shrinks"
        )
    return (*removed, 0)
