"""The official models at their published sizes, built by the official code, and this suite's of the same weights.

Read by the official code's interpreter too, so it imports neither this suite nor anything that it needs at the top.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Case:
    """One official model: as `suite.official.load` wants it, whose checkout it is in and where, pixels, and builder."""

    layout: str
    options: Mapping[str, Any]
    code: str
    inside: str
    side: int
    build: Callable[[], Any]


class Sides(tuple[int, int]):
    """Height and width: the official code divides its image size, taken as one number, to print a schedule."""

    __slots__ = ()

    def __floordiv__(self, divisor: int) -> int:
        return self[0] // divisor


def cropr_settings(pruning_rate: int | None, **changed: Any) -> dict[str, Any]:
    """The official defaults, as its log files show them."""
    settings = {"num_queries": 1, "num_heads": 1, "pre_attn_norm": False, "mlp": True, "mlp_ratio": 4.0, "epochs": 4}
    projections = {"q_proj": False, "k_proj": False, "v_proj": False}
    used = {"use_cropr": pruning_rate is not None, "pruning_rate": pruning_rate, "training": True, "llf": True}
    return settings | projections | used | changed


def _cropr(width: int, depth: int, heads: int, rate: int) -> Any:
    return import_module("vision_transformer").VisionTransformer(
        cropr_settings(rate, llf=False),
        num_classes=1000,
        img_size=224,
        patch_size=16,
        global_pool="avg",
        embed_dim=width,
        num_heads=heads,
        depth=depth,
        mlp_ratio=4.0,
        drop_path_rate=0.0,
        class_token=True,
    )


def _segmenter(width: int, depth: int, heads: int, rate: int) -> Any:
    return import_module("segmenter").Segmenter(
        cropr_settings(rate, num_queries=1024),
        num_classes=150,
        img_size=Sides((512, 512)),
        patch_size=16,
        global_pool="avg",
        embed_dim=width,
        num_heads=heads,
        depth=depth,
        mlp_ratio=8 / 3,
        drop_path_rate=0.0,
        class_token=True,
        qkv_fused=False,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=False,
        use_rot_pos_emb=True,
        ref_feat_shape=(16, 16),
    )


def _evit(rates: tuple[float, ...]) -> Any:
    profiler = types.ModuleType("torchprofile")  # imported there to count operations, which is not done here
    profiler.profile_macs = None  # type: ignore[attr-defined]
    sys.modules["torchprofile"] = profiler
    model = import_module("evit").EViT
    return model(embed_dim=384, depth=12, num_heads=6, qkv_bias=True, keep_rate=rates, fuse_token=True)


def _tome(width: int, depth: int, heads: int, r: int) -> Any:
    model = import_module("timm.models.vision_transformer").VisionTransformer(
        embed_dim=width, depth=depth, num_heads=heads
    )
    import_module("tome").patch.timm(model, prop_attn=True)
    model.r = r
    return model


def _idlevit(layers: list[int], ratios: list[float]) -> Any:
    model = import_module("vit").IdleVisionTransformer
    return model(embed_dim=384, depth=12, num_heads=6, idle_layers=layers, keep_ratios=ratios, distill=True)


def _cases() -> dict[str, Case]:
    small, large, rates = (384, 12, 6), (1024, 24, 16), tuple(0.7 if block in (3, 6, 9) else 1 for block in range(12))
    layers, ratios = list(range(3, 12)), [0.7 ** (stage + 1) for stage in range(3) for _ in range(3)]
    of = functools.partial
    maps = "cropr-segmentation"
    kept, idle = {"keep_rate": list(rates), "fuse_token": True}, {"idle_layers": layers, "keep_ratios": ratios}
    merged_small, merged_large = {"r": 13, "prop_attn": True}, {"r": 8, "prop_attn": True}
    small_maps, large_maps = {"heads": 6, "pruning_rate": 80}, {"pruning_rate": 40}
    return {
        "cropr-s": Case("cropr", {"heads": 6, "pruning_rate": 16}, "cropr", "cls", 224, of(_cropr, *small, 16)),
        "cropr-l": Case("cropr", {"pruning_rate": 8}, "cropr", "cls", 224, of(_cropr, *large, 8)),
        "cropr-segmentation-s": Case(maps, small_maps, "cropr", "segm", 512, of(_segmenter, *small, 80)),
        "cropr-segmentation-l": Case(maps, large_maps, "cropr", "segm", 512, of(_segmenter, *large, 40)),
        "evit-s": Case("evit", kept, "evit", "", 224, of(_evit, rates)),
        "tome-s": Case("tome", merged_small, "tome", "", 224, of(_tome, *small, 13)),
        "tome-l": Case("tome", merged_large, "tome", "", 224, of(_tome, *large, 8)),
        "idlevit-s": Case("idlevit", idle, "idlevit", "", 224, of(_idlevit, layers, ratios)),
    }


CASES = _cases()
