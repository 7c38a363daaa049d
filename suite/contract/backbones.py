"""Tiny timm backbones, one of each kind, with random weights that leave no part of a block without effect."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.vision_transformer import ResPostBlock, VisionTransformer

from suite.reduction.attention import TimmModule
from suite.reduction.blocks import POST_NORM

CLASSES = 10
DEPTH = 4
HEADS = 4
PATCHES = 64
SIDE = 32
WIDTH = 48

SHAPE = {
    "img_size": SIDE,
    "patch_size": 4,
    "num_classes": CLASSES,
    "embed_dim": WIDTH,
    "depth": DEPTH,
    "num_heads": HEADS,
    "mlp_ratio": 2,
}
vit = partial(VisionTransformer, **SHAPE)
eva = partial(Eva, **SHAPE)
eva02 = partial(eva, qkv_fused=False, swiglu_mlp=True, scale_mlp=True, use_rot_pos_emb=True, ref_feat_shape=(16, 16))

MATRIX: dict[str, Callable[..., TimmModule]] = {
    "vit": vit,
    "vit without class token": partial(vit, class_token=False, global_pool="avg"),
    "vit with registers": partial(vit, reg_tokens=4, no_embed_class=True),
    "vit with query and key norm": partial(vit, qk_norm=True, scale_attn_norm=True),
    "vit post-norm": partial(vit, block_fn=ResPostBlock),
    "deit distilled": partial(VisionTransformerDistilled, **SHAPE),
    "deit3": partial(vit, init_values=0.3, no_embed_class=True),
    "dinov2": partial(vit, init_values=0.3, reg_tokens=4, no_embed_class=True),
    "dinov3": partial(
        eva,
        qkv_bias=False,
        init_values=0.3,
        rope_type="dinov3",
        rope_temperature=100,
        rope_rotate_half=True,
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        num_reg_tokens=4,
    ),
    "eva02": eva02,
    "eva post-norm": partial(eva, use_post_norm=True),
}


@torch.no_grad()
def scramble(model: nn.Module, seed: int = 0) -> None:
    """Give every parameter random values of sensible size; norms, biases and layer scales included."""
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=draw)
        last = name.rsplit(".", 1)[-1]
        if name.startswith("rope"):
            parameter.copy_(noise)
        elif last == "gamma" or last.startswith("gamma_"):
            parameter.copy_(0.3 + 0.1 * noise)
        elif parameter.dim() == 1 and last == "weight":
            parameter.copy_(1 + 0.2 * noise)
        elif parameter.dim() == 1:
            parameter.copy_(0.2 * noise)
        elif last == "weight":
            parameter.copy_(noise * parameter[0].numel() ** -0.5)
        else:
            parameter.copy_(0.5 * noise)


@torch.no_grad()
def silence(model: TimmModule) -> None:
    """Make every block add nothing: its two branches end in zeros, so tokens pass as they are, to the bit."""
    for block in model.blocks:
        ends = (block.norm1, block.norm2) if type(block) in POST_NORM else (block.attn.proj, block.mlp.fc2)
        for parameter in (parameter for end in ends for parameter in end.parameters()):
            parameter.zero_()
