"""Names of weights of ViT, DeiT and DINOv2 in Hugging Face's transformers, as timm calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

MARK = re.compile(r"embeddings\.patch_embeddings\.projection\.weight$")
UNUSED = re.compile(r"(^|\.)(pooler\.|mask_token$|decoder)")  # after pre-training
RENAMED = (
    (r"^(vit|deit|dinov2)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"^layernorm\.", "norm."),
    (r"^(cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
)
PARTS = re.compile(r"\.attention\.attention\.(query|key|value)\.")


def as_timm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under timm's names, with query, key and value in one; without what only pre-training has, MAE's too.

    Raises:
        KeyError: for a query without its key and value.
    """
    theirs = any(map(MARK.search, weights))
    if not theirs and not any(name.startswith("decoder_") for name in weights):
        return dict(weights)
    kept = {name: value for name, value in weights.items() if not UNUSED.search(name)}
    if not theirs:
        return kept
    found = dict[str, Tensor]()
    for name, value in kept.items():
        if (part := PARTS.search(name)) is None:
            found[_renamed(name)] = value
        elif part[1] == "query":
            own = (name.replace(".query.", f".{one}.") for one in ("query", "key", "value"))
            found[_renamed(PARTS.sub(".attn.qkv.", name))] = torch.cat([kept[one] for one in own])
    return found


def _renamed(name: str) -> str:
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name
