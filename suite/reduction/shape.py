"""The widths of a backbone, read off timm's layers: all that its cost depends on, besides the number of tokens.

Layers are known by their exact type, as in `blocks`; what is not known is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.layers import GluMlp, Mlp, PatchEmbed, SwiGLU
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from torch import nn

from suite.errors import UserError
from suite.reduction.blocks import PRE_NORM, TimmModule, folds_keys
from suite.reduction.method import BlockShape

GATED = {Mlp: False, GluMlp: True, SwiGLU: True}


@dataclass(frozen=True)
class Shape:
    """A backbone in numbers.

    Attributes:
        patches, prefix: tokens that enter the first block.
        values: numbers in a patch, its side squared times the channels of an image.
        width: D.
        classes: outputs of a head; 0 without one.
        heads: heads that classify; 2 in a distilled DeiT.
        pooling: timm's name of what the head reads.
        blocks: the blocks, one by one.
    """

    patches: int
    prefix: int
    values: int
    width: int
    classes: int
    heads: int
    pooling: str
    blocks: tuple[BlockShape, ...]


def shape_of(backbone: TimmModule) -> Shape:
    """Read the widths of a supported backbone.

    Raises:
        UserError: for a patch embedding, MLP or pooling whose cost is not known here.
    """
    embedding, head = backbone.patch_embed, backbone.head
    _refuse_unknown(embedding, (PatchEmbed,), "patch embedding")
    if backbone.attn_pool is not None:
        raise UserError("the cost of attention pooling is not known; choose another: --option global_pool=avg")
    rows, columns = embedding.grid_size
    rotary = type(backbone) is Eva and backbone.rope is not None
    return Shape(
        patches=rows * columns,
        prefix=backbone.num_prefix_tokens,
        values=embedding.proj.weight[0].numel(),
        width=backbone.embed_dim,
        classes=head.out_features if isinstance(head, nn.Linear) else 0,
        heads=2 if type(backbone) is VisionTransformerDistilled else 1,
        pooling=backbone.global_pool,
        blocks=tuple(_block(block, rotary) for block in backbone.blocks),
    )


def _block(block: TimmModule, rotary: bool) -> BlockShape:
    attention, mlp = block.attn, block.mlp
    _refuse_unknown(mlp, tuple(GATED), "MLP")
    separate = attention.qkv is None
    return BlockShape(
        width=attention.proj.out_features,
        heads=attention.num_heads,
        query=attention.q_proj.out_features if separate else attention.qkv.out_features // 3,
        key=attention.k_proj.out_features if separate else attention.qkv.out_features // 3,
        gate=0 if attention.gate is None else attention.gate.out_features,
        hidden=mlp.fc2.in_features,
        gated=GATED[type(mlp)],
        folds_keys=folds_keys(attention, rotary),
        pre_norm=type(block) in PRE_NORM,
    )


def _refuse_unknown(module: nn.Module, known: tuple[type[nn.Module], ...], what: str) -> None:
    if type(module) not in known:
        raise UserError(
            f"the cost of {what} {type(module).__qualname__} is not known; "
            f"known: {', '.join(kind.__qualname__ for kind in known)}"
        )
