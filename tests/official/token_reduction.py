"""Cases of the code base TokenReduction, which holds ten methods on one DeiT, and of DynamicViT; see `record.py`.

They were written for timm 0.4.12; install that without its dependencies into a folder of its own, on PYTHONPATH.
"""

import functools
import itertools
import math
import sys
import types
from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from unittest import mock

import numpy
import torch
from torch import nn

MODELS = {
    "kmedoids": "KMedoids",
    "dpcknn": "DPCKNN",
    "patchmerger": "PatchMerger",
    "sit": "SelfSlimmed",
    "sinkhorn": "Sinkhorn",
    "dyvit": "Dynamic",
    "ats": "ATS",
    "topk": "TopK",
    "evit": "Efficient",
    "tome": "ToMe",
}
DEFAULTS = {"cluster_iters": 3, "k_neighbors": 5, "equal_weight": False, "sinkhorn_eps": 1.0}  # of the official parser
DRAWS_SEED = 1  # of torch before each forward
TEACHER_SEED, RATE, UPDATES = 3, 1e-3, 5  # of AdamW, with decay 0.05
PARTS = {  # weights of DynamicViT's loss: shares of kept patches, logits, tokens, labels
    "total": (2.0, 0.5, 0.5, 1.0),
    "ratio": (1.0, 0.0, 0.0, 0.0),
    "kl": (0.0, 1.0, 0.0, 0.0),
    "token_mse": (0.0, 0.0, 1.0, 0.0),
    "cross_entropy": (0.0, 0.0, 0.0, 1.0),
}
SMALL = {"img_size": 32, "patch_size": 4, "embed_dim": 48, "num_heads": 4, "num_classes": 10}
FOURTEEN = {"img_size": 28, "patch_size": 2}  # top-k and EViT count shares of 14 x 14 patches, whatever there are
RATES = ((0.9, (1, 2, 3)), (0.7, (1, 2, 3)), (0.5, (1, 2, 3)), (0.25, (1, 2)))
TRAINED_BACKBONE = (0.7, (3, 6, 9))  # where the published models reduce

STUBS = {"torch._six": {"inf": math.inf}, "tensorboardX": {"SummaryWriter": None}}  # DynamicViT's, unused here
Row = tuple[str, str, tuple[int, ...], float | list[float], dict[str, Any]]
Load = Callable[[nn.Module, int], dict[str, list[int]]]


def cases(load: Load) -> Iterator[dict[str, Any]]:
    """Fields of `record.Case`; `load` fills a model from a seed and returns the shapes of its weights."""
    for method, name, locations, rate, changed in itertools.chain(_rates(), _settings(), _counts()):
        options = {"heads": 4, "method": method, "reduction_loc": list(locations), "keep_rate": rate, **changed}
        sizes = SMALL | {"depth": max(locations) + 1} | (FOURTEEN if method in ("topk", "evit") else {})
        sizes |= {key: options.pop(key) for key in ("img_size", "depth") if key in options}
        yield {
            "name": f"token-reduction-{method}-{name}",
            "options": options,
            "build": functools.partial(_build, options, sizes),
            "size": (sizes["img_size"],) * 2,
            "evaluate": functools.partial(_logits, options),
            "more": functools.partial(_tokens, options),
            "train": functools.partial(_training, load, sizes) if method == "dyvit" else None,
        }


def dynamicvit_cases() -> Iterator[dict[str, Any]]:
    """DynamicViT's own DeiT, for 14 x 14 patches; fields of `record.Case`."""
    for rate, locations, depth in ((0.7, (3, 6, 9), 12), (0.9, (1, 2, 3), 4), (0.5, (1, 2, 3), 4)):
        options = {"heads": 4, "method": "dyvit", "reduction_loc": list(locations), "keep_rate": rate}
        sizes = SMALL | FOURTEEN | {"depth": depth}
        yield {
            "name": f"dynamicvit-{rate}",
            "options": options,
            "build": functools.partial(_dynamicvit, locations, rate, sizes),
            "size": (sizes["img_size"],) * 2,
            "more": functools.partial(_tokens, options),
        }


def _dynamicvit(locations: tuple[int, ...], rate: float, sizes: dict[str, Any]) -> nn.Module:
    for name, content in STUBS.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)
    kind = import_module("models.dyvit").VisionTransformerDiffPruning
    rates = [rate ** (stage + 1) for stage in range(len(locations))]
    model: nn.Module = kind(**sizes, pruning_loc=locations, token_ratio=rates)
    return model


def _rates() -> Iterator[Row]:
    for method in MODELS:
        for rate, locations in RATES:
            yield method, str(rate), locations, rate, {}
        yield method, "deit", TRAINED_BACKBONE[1], TRAINED_BACKBONE[0], {"depth": 12}


def _settings() -> Iterator[Row]:
    for method, name, changed in (
        ("kmedoids", "1-iteration", {"cluster_iters": 1}),
        ("kmedoids", "8-iterations", {"cluster_iters": 8}),
        ("kmedoids", "equal-weight", {"equal_weight": True, "first_medoid": 0}),
        ("kmedoids", "equal-weight-patch-21", {"equal_weight": True, "first_medoid": 21}),
        ("dpcknn", "equal-weight", {"equal_weight": True}),
        ("dpcknn", "3-neighbours", {"k_neighbors": 3}),
        ("dpcknn", "12-neighbours-equal-weight", {"k_neighbors": 12, "equal_weight": True}),
        ("sinkhorn", "eps-0.1", {"sinkhorn_eps": 0.1}),
        ("sinkhorn", "7-iterations", {"cluster_iters": 7, "sinkhorn_eps": 0.05}),
    ):
        yield method, name, (1, 3), 0.5, changed
    for method in ("kmedoids", "dpcknn", "patchmerger", "sit", "sinkhorn", "dyvit", "ats"):
        yield method, "odd-patches", (1, 2), 0.7, {"img_size": 20}
    for method in ("topk", "evit"):
        yield method, "225-patches", (1, 2), 0.7, {"img_size": 30}


def _counts() -> Iterator[Row]:
    """What each stage keeps: shares of the first patches for the methods that prune, else counts."""
    for method in MODELS:
        counts: list[float] = [0.8, 0.3] if method in ("dyvit", "topk", "evit") else [41, 10]
        yield method, "each-stage", (1, 2), counts, {}


def _build(options: dict[str, Any], sizes: dict[str, Any]) -> nn.Module:
    method, rate = options["method"], options["keep_rate"]
    rates = rate if isinstance(rate, list) else [rate]
    arguments = Namespace(**DEFAULTS | options | {"keep_rate": rates})
    kind = getattr(import_module(f"models.{method}"), f"{MODELS[method]}VisionTransformer")
    model: nn.Module = kind(**sizes, args=arguments, **({"dyvit_distillation": True} if method == "dyvit" else {}))
    return model


def _logits(options: dict[str, Any], model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(DRAWS_SEED)
    for module in model.modules():
        if hasattr(module, "sample_steps"):  # of ATS: no buffer, so it does not follow the model to float64
            module.sample_steps = module.sample_steps.to(pixels.dtype)
    with mock.patch.object(numpy.random, "choice", lambda patches, _: patches[[options["first_medoid"]]]):
        logits: torch.Tensor = model(pixels)
    return logits


def _tokens(options: dict[str, Any], model: nn.Module, pixels: torch.Tensor) -> dict[str, Any]:
    """Tokens that enter each MLP, and of ATS those of each image that are no padding."""
    counts: list[int] = []
    own: list[list[int]] = []

    def hooked(block: Any) -> list[Any]:
        def count(_module: Any, inputs: Any) -> None:
            counts.append(inputs[0].shape[1])

        def count_own(_module: Any, _inputs: Any, output: Any) -> None:
            own.append(output[1].sum(1).tolist())

        hooks = [block.mlp.register_forward_pre_hook(count)]
        return hooks + ([block.register_forward_hook(count_own)] if hasattr(block.attn, "ats_sample_count") else [])

    hooks = [hook for block in model.blocks for hook in hooked(block)]
    _logits(options, model, pixels)
    for hook in hooks:
        hook.remove()
    return {"tokens": counts} | ({"tokens_of_images": own} if own else {})


def _training(load: Load, sizes: dict[str, Any], model: nn.Module, pixels: torch.Tensor) -> dict[str, Any]:
    """DynamicViT's decisions, the parts of its loss, and the whole loss before each of a few updates."""
    teacher = import_module("models.dyvit").VisionTransformerTeacher(**sizes)
    shapes, labels = load(teacher, TEACHER_SEED), torch.arange(len(pixels))
    criterion = import_module("losses").DynamicViTDistillationLoss
    torch.manual_seed(DRAWS_SEED)
    output = model.train()(pixels)
    parts = {name: criterion(nn.CrossEntropyLoss(), teacher.eval(), *weights, True) for name, weights in PARTS.items()}
    found = {name: part(pixels, output, labels, model).item() for name, part in parts.items()}
    optimizer, losses = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.05), []
    for _ in range(UPDATES):
        torch.manual_seed(DRAWS_SEED)
        with torch.enable_grad():
            loss = parts["total"](pixels, model.train()(pixels), labels, model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {
        "draws_seed": DRAWS_SEED,
        "logits": output[0].tolist(),
        "kept": [decision.int().tolist() for decision in output[3]],
        **found,
        "rate": RATE,
        "losses": losses,
        "teacher": {"seed": TEACHER_SEED, "shapes": shapes},
    }
