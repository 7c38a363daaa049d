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

CLS, SEGM = "cls/vision_transformer", "segm/segmenter"  # of Cropr's checkout


@dataclass(frozen=True)
class Case:
    """One official model: as `suite.official.load` wants it, whose checkout it is in, pixels, and builder.

    `module`: what of the checkout the builder imports, as a path without suffix.
    """

    layout: str
    options: Mapping[str, Any]
    code: str
    module: str
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


def cropr(settings: dict[str, Any], **sizes: Any) -> Any:
    """Cropr's ViT for classification."""
    model = import_module("vision_transformer").VisionTransformer
    return model(settings, mlp_ratio=4.0, drop_path_rate=0.0, class_token=True, **sizes)


def segmenter(settings: dict[str, Any], **sizes: Any) -> Any:
    """Cropr's EVA-02 for segmentation."""
    return import_module("segmenter").Segmenter(
        settings,
        global_pool="avg",
        mlp_ratio=8 / 3,
        drop_path_rate=0.0,
        class_token=True,
        qkv_fused=False,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=False,
        use_rot_pos_emb=True,
        ref_feat_shape=(16, 16),
        **sizes,
    )


def evit(rates: tuple[float, ...], fuse: bool, **sizes: Any) -> Any:
    """EViT's DeiT, with a keep rate for each block."""
    profiler = types.ModuleType("torchprofile")  # imported there to count operations, which is not done here
    profiler.profile_macs = None  # type: ignore[attr-defined]
    sys.modules["torchprofile"] = profiler
    return import_module("evit").EViT(qkv_bias=True, keep_rate=rates, fuse_token=fuse, **sizes)


def merging(patch: str, model: Callable[[], Any], r: Any, prop_attn: bool = True) -> Any:
    """A model under one of ToMe's patches, `timm` or `mae`."""
    built = model()
    getattr(import_module("tome").patch, patch)(built, prop_attn=prop_attn)
    built.r = r
    return built


def idlevit(layers: list[int], ratios: list[float], **sizes: Any) -> Any:
    """IdleViT's DeiT."""
    return import_module("vit").IdleVisionTransformer(idle_layers=layers, keep_ratios=ratios, distill=True, **sizes)


def _timm(**sizes: Any) -> Any:
    return import_module("timm.models.vision_transformer").VisionTransformer(**sizes)


def _cases() -> dict[str, Case]:
    small = {"embed_dim": 384, "depth": 12, "num_heads": 6}
    large = {"embed_dim": 1024, "depth": 24, "num_heads": 16}
    image = {"num_classes": 1000, "img_size": 224, "patch_size": 16, "global_pool": "avg"}
    scene = {"num_classes": 150, "img_size": Sides((512, 512)), "patch_size": 16}
    rates = tuple(0.7 if block in (3, 6, 9) else 1 for block in range(12))
    layers, ratios = list(range(3, 12)), [0.7 ** (stage + 1) for stage in range(3) for _ in range(3)]
    of = functools.partial
    kept, idle = {"keep_rate": list(rates), "fuse_token": True}, {"idle_layers": layers, "keep_ratios": ratios}
    merged_small, merged_large = {"r": 13, "prop_attn": True}, {"r": 8, "prop_attn": True}
    maps, small_maps, large_maps = "cropr-segmentation", {"heads": 6, "pruning_rate": 80}, {"pruning_rate": 40}
    classes = [of(cropr, cropr_settings(rate, llf=False), **image) for rate in (16, 8)]
    masks = [of(segmenter, cropr_settings(rate, num_queries=1024), **scene) for rate in (80, 40)]
    return {
        "cropr-s": Case("cropr", {"heads": 6, "pruning_rate": 16}, "cropr", CLS, 224, of(classes[0], **small)),
        "cropr-l": Case("cropr", {"pruning_rate": 8}, "cropr", CLS, 224, of(classes[1], **large)),
        "cropr-segmentation-s": Case(maps, small_maps, "cropr", SEGM, 512, of(masks[0], **small)),
        "cropr-segmentation-l": Case(maps, large_maps, "cropr", SEGM, 512, of(masks[1], **large)),
        "evit-s": Case("evit", kept, "evit", "evit", 224, of(evit, rates, True, **small)),
        "tome-s": Case("tome", merged_small, "tome", "tome", 224, of(merging, "timm", of(_timm, **small), 13)),
        "tome-l": Case("tome", merged_large, "tome", "tome", 224, of(merging, "timm", of(_timm, **large), 8)),
        "idlevit-s": Case("idlevit", idle, "idlevit", "vit", 224, of(idlevit, layers, ratios, **small)),
    }


CASES = _cases()
