"""Tiny timm backbones with random weights that leave no part of a block without effect."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.vision_transformer import ResPostBlock, VisionTransformer

torch.set_num_threads(1)  # bits depend on the number of threads

CLASSES = 10
DEPTH = 4
HEADS = 4
PATCHES = 64
WIDTH = 48

_vit = partial(
    VisionTransformer,
    img_size=32,
    patch_size=4,
    num_classes=CLASSES,
    embed_dim=WIDTH,
    depth=DEPTH,
    num_heads=HEADS,
    mlp_ratio=2,
)
_eva = partial(
    Eva, img_size=32, patch_size=4, num_classes=CLASSES, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=2
)
_eva02 = partial(_eva, qkv_fused=False, swiglu_mlp=True, scale_mlp=True, use_rot_pos_emb=True, ref_feat_shape=(16, 16))


def _gated(**options: object) -> nn.Module:
    model = _vit(**options)
    for block in model.blocks:
        block.attn.gate = nn.Linear(WIDTH, WIDTH)
    return model


BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "vit": _vit,
    "vit without class token": partial(_vit, class_token=False, global_pool="avg"),
    "vit with registers": partial(_vit, reg_tokens=4, no_embed_class=True),
    "vit with registers, average": partial(_vit, reg_tokens=4, global_pool="avg", pool_include_prefix=True),
    "vit not square": partial(_vit, img_size=(32, 20)),
    "vit stochastic": partial(_vit, drop_path_rate=0.4, attn_drop_rate=0.1, proj_drop_rate=0.1, pos_drop_rate=0.1),
    "deit distilled": partial(
        VisionTransformerDistilled,
        img_size=32,
        patch_size=4,
        num_classes=CLASSES,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        mlp_ratio=2,
    ),
    "vit with layer scale": partial(_vit, init_values=0.3),
    "vit with query and key norm": partial(_vit, qk_norm=True, scale_attn_norm=True),
    "vit gated": _gated,
    "vit post-norm": partial(_vit, block_fn=ResPostBlock),
    "eva fused": partial(_eva, init_values=0.3),
    "eva fused, token": partial(_eva, global_pool="token"),
    "eva post-norm": partial(_eva, use_post_norm=True),
    "eva02": partial(_eva02),
    "eva02 with layer scale": partial(_eva02, init_values=0.3, global_pool="token", drop_path_rate=0.3),
    "eva dinov3": partial(
        _eva,
        attn_type="rope",
        rope_type="dinov3",
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        rope_rotate_half=True,
        num_reg_tokens=4,
        init_values=0.3,
        qk_norm=True,
    ),
    "eva grouped queries": partial(_eva, attn_type="rope", qkv_fused=False, num_kv_heads=2, use_rot_pos_emb=True),
    "eva mixed rope": partial(_eva, attn_type="rope", rope_type="mixed", use_rot_pos_emb=True),
}
ROTARY = tuple(name for name in BACKBONES if name.startswith(("eva02", "eva dinov3", "eva mixed", "eva grouped")))


def build(name: str, **options: object) -> nn.Module:
    """Backbone `name` in evaluation mode, with weights that depend on nothing but their shapes and order."""
    model = BACKBONES[name](**options)
    scramble(model)
    return model.eval()


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


def draw_images(model: nn.Module, count: int = HEADS, seed: int = 1) -> Tensor:
    """Random images of the model's size; by default as many as heads, so that a swap of the two is not an error."""
    return torch.randn(count, 3, *model.patch_embed.img_size, generator=torch.Generator().manual_seed(seed))
