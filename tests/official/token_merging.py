"""Cases of PiToMe, ATC, DiffRate and MCTF; see `record.py`.

All but ATC were written for timm 0.4; install 0.4.12 without its dependencies into a folder of its own, on PYTHONPATH.
"""

import functools
import sys
import types
from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import torch
from torch import nn

SMALL = {"patch_size": 4, "embed_dim": 48, "num_heads": 4, "num_classes": 10}


def fields(
    name: str, options: dict[str, Any], build: Callable[[], nn.Module], run: Callable[..., torch.Tensor], size: int
) -> dict[str, Any]:
    """Fields of `record.Case`; `run` gives the logits of a model and pixels."""
    return {
        "name": name,
        "options": {"heads": SMALL["num_heads"], **options},
        "build": build,
        "size": (size, size),
        "evaluate": run,
        "more": functools.partial(_tokens, run),
    }


def _tokens(run: Callable[..., torch.Tensor], model: nn.Module, pixels: torch.Tensor) -> dict[str, Any]:
    """Tokens that enter each MLP."""
    counts: list[int] = []
    hooks = [
        block.mlp.register_forward_pre_hook(lambda _module, inputs: counts.append(inputs[0].shape[1]))
        for block in model.blocks
    ]
    run(model, pixels)
    for hook in hooks:
        hook.remove()
    return {"tokens": counts}


def _unread(*packages: str) -> None:
    """Packages of the checkout whose own files are not run: they import what is not needed here."""
    for package in packages:
        sys.modules[package] = types.ModuleType(package)
        found = (folder + "/" + package.replace(".", "/") for folder in sys.path)
        sys.modules[package].__path__ = list(found)


# PiToMe


def pitome_cases(mae_class: type[nn.Module]) -> Iterator[dict[str, Any]]:
    """Its patches of DeiT and of MAE."""
    for name, patch, ratio, size, depth in (
        ("deit-0.9", "deit", 0.9, 32, 5),
        ("deit-0.7", "deit", 0.7, 32, 4),
        ("deit-0.5", "deit", 0.5, 32, 4),
        ("deit-1", "deit", 1.0, 32, 3),
        ("deit-odd-patches", "deit", 0.85, 20, 5),
        ("deit-depth-12", "deit", 0.925, 32, 12),
        ("mae-0.9-average-pool", "mae", 0.9, 32, 5),
        ("mae-0.7-average-pool", "mae", 0.7, 32, 4),
        ("mae-0.7-token-pool", "mae", 0.7, 32, 4),
    ):
        backbone = functools.partial(_vit, mae_class if patch == "mae" else None, "average" in name)
        build = functools.partial(_pitome, patch, ratio, functools.partial(backbone, img_size=size, depth=depth))
        yield fields(f"pitome-{name}", {"patch": patch, "ratio": ratio}, build, _pitome_logits, size)


def _vit(mae_class: type[nn.Module] | None, average: bool, **sizes: Any) -> nn.Module:
    norm = functools.partial(nn.LayerNorm, eps=1e-6)
    if mae_class is None:
        return import_module("timm.models.vision_transformer").VisionTransformer(norm_layer=norm, **SMALL, **sizes)
    return mae_class(global_pool=average, norm_layer=norm, qkv_bias=True, **SMALL, **sizes)


def _pitome(patch: str, ratio: float, backbone: Callable[[], nn.Module]) -> nn.Module:
    _unread("algo", "algo.pitome", "algo.pitome.patch")
    model = backbone()
    import_module(f"algo.pitome.patch.{patch}").apply_patch(model)
    model.ratio = ratio
    return model


def _pitome_logits(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(pixels, return_flop=False)
    return logits


# ATC

LINKAGES = ("average", "complete", "single")


def atc_cases(mae_class: type[nn.Module]) -> Iterator[dict[str, Any]]:
    """Its patches of timm's ViT and of MAE, off the shelf."""
    for name, patch, changed, size, depth in (
        *((f"timm-{linkage}", "timm", {"r": 12, "linkage": linkage}, 32, 4) for linkage in LINKAGES),
        ("timm-decrease", "timm", {"r": 12, "r_sched": "decrease"}, 32, 5),
        ("timm-r-1", "timm", {"r": 1}, 32, 3),
        ("timm-to-one-patch", "timm", {"r": 20}, 20, 2),
        ("mae-average-pool", "mae", {"r": 12}, 32, 4),
        ("mae-token-pool", "mae", {"r": 12, "linkage": "complete"}, 32, 4),
    ):
        options = {"r_sched": "constant", "linkage": "average"} | changed
        backbone = functools.partial(_vit, mae_class if patch == "mae" else None, "average" in name)
        build = functools.partial(_atc, patch, options, functools.partial(backbone, img_size=size, depth=depth))
        yield fields(f"atc-{name}", {"patch": patch} | options, build, _atc_logits, size)


def _atc(patch: str, options: dict[str, Any], backbone: Callable[[], nn.Module]) -> nn.Module:
    _unread("SSLBackbone_setup", "SSLBackbone_setup.token_reduc", "SSLBackbone_setup.token_reduc.patch")
    model = backbone()
    import_module(f"SSLBackbone_setup.token_reduc.patch.{patch}").apply_patch(model, "atc", options["linkage"])
    model.r = (options["r"], -1) if options["r_sched"] == "decrease" else options["r"]
    return model


def _atc_logits(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    torch.set_default_dtype(pixels.dtype)  # of the zeros into which it merges
    logits: torch.Tensor = model(pixels)
    torch.set_default_dtype(torch.float32)
    return logits.flatten(1)


def trained_atc_cases() -> Iterator[dict[str, Any]]:
    """DeiT trained with it; fields of `record.Case` for the layout token-reduction."""
    for name, locations, rate, changed in (
        *((linkage, (1, 2, 3), 0.7, {"linkage": linkage, "proportional_attn": True}) for linkage in LINKAGES),
        ("forgets-sizes", (1, 2, 3), 0.5, {}),
        ("deit", (3, 6, 9), 0.9, {"proportional_attn": True}),
        ("each-stage", (1, 2), [41, 10], {"linkage": "complete"}),
    ):
        options = {"linkage": "average", "proportional_attn": False, "reduction_loc": list(locations)} | changed
        build = functools.partial(_trained_atc, options, rate, 12 if name == "deit" else locations[-1] + 1)
        yield fields(
            f"token-reduction-atc-{name}", {"method": "atc", "keep_rate": rate} | options, build, _atc_logits, 32
        )


def _trained_atc(options: dict[str, Any], rate: float | list[int], depth: int) -> nn.Module:
    arguments = Namespace(**options, reduction_ratio=rate if isinstance(rate, list) else [rate])
    kind = import_module("ATC_setup.models.atc").AgglomerativeClusteringVisionTransformer
    model: nn.Module = kind(img_size=32, depth=depth, args=arguments, **SMALL)
    return model


# DiffRate


def diffrate_cases(mae_class: type[nn.Module]) -> Iterator[dict[str, Any]]:
    """Its patches of DeiT and of MAE."""
    twelve = [65, 60, 52, 47, 41, 36, 32, 26, 22, 18, 13, 3], [65, 56, 49, 42, 38, 34, 28, 24, 20, 15, 11, 3]
    for name, pruned, merged, size in (
        ("deit", [65, 50, 40, 30], [65, 44, 33, 21], 32),
        ("deit-prunes", [60, 50, 40, 30], [65, 65, 65, 65], 32),
        ("deit-merges", [65, 65, 65, 65], [58, 50, 41, 9], 32),
        ("deit-more-than-there-are", [65, 30, 50, 20], [65, 40, 25, 24], 32),
        ("deit-to-one-patch", [26, 9, 2], [20, 5, 2], 20),
        ("deit-depth-12", *twelve, 32),
        ("mae-average-pool", [65, 50, 40, 30], [65, 44, 33, 21], 32),
        ("mae-token-pool", [65, 50, 40, 30], [65, 44, 33, 21], 32),
    ):
        patch = name.partition("-")[0]
        backbone = functools.partial(_vit, mae_class if patch == "mae" else None, "average" in name)
        backbone = functools.partial(backbone, img_size=size, depth=len(pruned))
        options = {"prune_kept_num": pruned, "merge_kept_num": merged}
        build = functools.partial(_diffrate, patch, options, backbone)
        yield fields(f"diffrate-{name}", options, build, _pitome_logits, size)


def _diffrate(patch: str, options: dict[str, Any], backbone: Callable[[], nn.Module]) -> nn.Module:
    _unread("DiffRate.patch")
    model = backbone()
    import_module(f"DiffRate.patch.{patch}").apply_patch(model)
    model.set_kept_num(options["prune_kept_num"], options["merge_kept_num"])
    for block in model.blocks:
        del block.prune_ddp.kept_token_candidate, block.prune_ddp.selected_probability
        del block.merge_ddp.kept_token_candidate, block.merge_ddp.selected_probability
    return model


# MCTF


def mctf_cases() -> Iterator[dict[str, Any]]:
    """Its DeiT, with counts and shares."""
    for name, changed, size, depth in (
        ("r-12", {"r": 12, "activate_layer": [1, 2, 3]}, 32, 4),
        ("share", {"r": 0.35}, 32, 10),
        ("odd", {"r": 7, "activate_layer": [0, 1]}, 32, 2),
        ("half", {"r": 0.5, "activate_layer": [1]}, 20, 2),
        ("to-ten-tokens", {"r": 12, "activate_layer": [0, 1, 2, 3]}, 20, 4),
        ("one-way", {"r": 12, "activate_layer": [1, 2, 3], "bidirection": False}, 32, 4),
        ("only-similarity", {"r": 12, "activate_layer": [1, 2, 3], "tau_info": 0, "tau_size": 0}, 32, 4),
        ("no-similarity", {"r": 12, "activate_layer": [1, 2, 3], "tau_sim": 0}, 32, 4),
        ("other-taus", {"r": 12, "activate_layer": [1, 2, 3], "tau_sim": 0.5, "tau_info": 2, "tau_size": 3}, 32, 4),
    ):
        plain = {"activate_layer": [3, 6, 9], "tau_sim": 1, "tau_info": 20, "tau_size": 40, "bidirection": True}
        options = plain | changed
        yield fields(f"mctf-{name}", options, functools.partial(_mctf, options, size, depth), _atc_logits, size)


def _mctf(options: dict[str, Any], size: int, depth: int) -> nn.Module:
    taus = [options[name] for name in ("tau_sim", "tau_info", "tau_size")]
    kind = [options["r"], 0, 0, 1, 1, *taus, int(options["bidirection"]), 1, 0]
    given = {"mctf_type": kind, "activate_layer": options["activate_layer"], "task_type": [1, 0, 0, 0]}
    norm = functools.partial(nn.LayerNorm, eps=1e-6)
    model: nn.Module = import_module("models.deit").VisionTransformer(
        input_size=size, depth=depth, norm_layer=norm, use_mctf=True, **SMALL, **given
    )
    return model
