"""Tiny timm backbones: the contract's matrix, and more of what timm can build."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from suite.contract.backbones import (
    CLASSES,
    DEPTH,
    HEADS,
    MATRIX,
    PATCHES,
    WIDTH,
    eva,
    eva02,
    scramble,
    vit,
)

__all__ = ["BACKBONES", "CLASSES", "DEPTH", "HEADS", "PATCHES", "ROTARY", "WIDTH", "build", "draw_images", "scramble"]

torch.set_num_threads(1)  # bits depend on the number of threads


def _gated(**options: object) -> nn.Module:
    model = vit(**options)
    for block in model.blocks:
        block.attn.gate = nn.Linear(WIDTH, WIDTH)
    return model


FEW = ("vit", "dinov3", "eva02")  # one for each kind of attention: fused, fused and rotary, unfused and rotary
BACKBONES: dict[str, Callable[..., nn.Module]] = MATRIX | {
    "vit with registers, average": partial(vit, reg_tokens=4, global_pool="avg", pool_include_prefix=True),
    "vit not square": partial(vit, img_size=(32, 20)),
    "vit stochastic": partial(vit, drop_path_rate=0.4, attn_drop_rate=0.1, proj_drop_rate=0.1, pos_drop_rate=0.1),
    "vit with layer scale": partial(vit, init_values=0.3),
    "vit gated": _gated,
    "eva fused": partial(eva, init_values=0.3),
    "eva fused, token": partial(eva, global_pool="token"),
    "eva02 with layer scale": partial(eva02, init_values=0.3, global_pool="token", drop_path_rate=0.3),
    "eva dinov3": partial(
        eva,
        attn_type="rope",
        rope_type="dinov3",
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        rope_rotate_half=True,
        num_reg_tokens=4,
        init_values=0.3,
        qk_norm=True,
    ),
    "eva grouped queries": partial(eva, attn_type="rope", qkv_fused=False, num_kv_heads=2, use_rot_pos_emb=True),
    "eva mixed rope": partial(eva, attn_type="rope", rope_type="mixed", use_rot_pos_emb=True),
}
ROTARY = tuple(
    name for name in BACKBONES if name.startswith(("dinov3", "eva02", "eva dinov3", "eva mixed", "eva grouped"))
)


def build(name: str, **options: object) -> nn.Module:
    """Backbone `name` in evaluation mode, with weights that depend on nothing but their shapes and order."""
    model = BACKBONES[name](**options)
    scramble(model)
    return model.eval()


def draw_images(model: nn.Module, count: int = HEADS, seed: int = 1) -> Tensor:
    """Random images of the model's size; by default as many as heads, so that a swap of the two is not an error."""
    return torch.randn(count, 3, *model.patch_embed.img_size, generator=torch.Generator().manual_seed(seed))
