"""Run the official implementations on small random weights, and keep the numbers that they give.

Usage: record.py --cropr FOLDER --evit FOLDER --tome FOLDER --idlevit FOLDER [--mae FOLDER]
       [--token-reduction FOLDER] [--dynamicvit FOLDER] [--pitome FOLDER] [--atc FOLDER] [--diffrate FOLDER]
       [--mctf FOLDER] [--out FOLDER] [--only WORD]

Each folder is a checkout of the official repository (SOURCES below); a method without one is left out. The
checkouts have equally named modules, so each layout is recorded in a process of its own.
"""

import argparse
import contextlib
import functools
import io
import json
import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import token_merging
import token_reduction
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "suite/kinds/official"))
from models import Sides, cropr, cropr_settings, evit, idlevit, merging, segmenter
from weights import fill, images

sys.path.pop(0)
for name in ("models", "weights"):
    del sys.modules[name]  # the official code may have modules that are called so

SOURCES = {
    "cropr": ("https://github.com/benbergner/cropr", "2f8b624c397f8d894b24010a96d574a53866f180"),
    "evit": ("https://github.com/youweiliang/evit", "5ca95a7cf4a8637193284895c5bc0dd9dc365982"),
    "tome": ("https://github.com/facebookresearch/ToMe", "af95e4b1befa172dadccd8c81e223b10090f9579"),
    "idlevit": ("https://github.com/Ackesnal/IdleViT", "d46c1c2d9fc28eb044b0690fc9d53d35c0629d0d"),
    "token-reduction": ("https://github.com/JoakimHaurum/TokenReduction", "88fe07ebbc5ffbf3a36814526577f1a8576e048d"),
    "dynamicvit": ("https://github.com/raoyongming/DynamicViT", "1322e626d1e9eca18cc150569908fb4af29e15f7"),
    "atc": ("https://github.com/JoakimHaurum/ATC", "227c94b584df323b94dd79e8ddbb88b1587eeb8e"),
    "diffrate": ("https://github.com/OpenGVLab/DiffRate", "91ae3e376e9c3f9f1e69f580fd902b61de5dfe0e"),
    "mctf": ("https://github.com/mlvlab/MCTF", "2004da0cad3231fa74cbd60b6042b0bd133aacde"),
    "pitome": ("https://github.com/hchautran/PiToMe", "550b5deed94aadfeac28bfbe381d87e672044a40"),
}
SEED, IMAGES_SEED, TEACHER_SEED = 1, 2, 3
IMAGES, HEADS, PATCH = 4, 4, 4
SMALL = {"patch_size": PATCH, "embed_dim": 48, "num_heads": HEADS}
CLASSES = {"num_classes": 10} | SMALL
RATE, UPDATES = 1e-3, 5  # of AdamW, with decay 0.05
PIXEL_STEP = 5  # of a segmentation's masks, every 5th row and column is stored
LARGEST_ROUND_OFF = 1e-5  # between float32 and float64; more means that a choice of tokens is a near tie
NUDGE, LARGEST_ECHO = 1e-5, 1e-3  # pixels changed by this much may change logits by that much


@dataclass
class Case:
    """One official model, what its weights do not tell about it, and how to run it."""

    name: str
    layout: str
    options: dict[str, Any]
    build: Callable[[], nn.Module]
    size: tuple[int, int] = (32, 32)
    stored: str | None = None
    evaluate: Callable[[nn.Module, torch.Tensor], torch.Tensor] = lambda model, pixels: model(pixels)
    train: Callable[[nn.Module, torch.Tensor], dict[str, Any]] | None = None
    more: Callable[[nn.Module, torch.Tensor], dict[str, Any]] | None = None


# Token Cropr, classification


def _cropr_training(model: nn.Module, pixels: torch.Tensor) -> dict[str, Any]:
    output = model.train()(pixels)
    main, *auxiliary = output if isinstance(output, list) else [output]
    found = {"logits": main.tolist(), "auxiliary": [prediction.tolist() for prediction in auxiliary]}

    def pairs(output: Any) -> Any:
        for part in output:  # with several queries each predicts the label, which the official loop has no loss for
            yield part.flatten(0, -2), torch.arange(IMAGES).repeat_interleave(part.flatten(0, -2).shape[0] // IMAGES)

    return found | _updates(model, pixels, pairs)


def _updates(model: nn.Module, pixels: torch.Tensor, pairs: Callable[[Any], Any]) -> dict[str, Any]:
    """The loss before each of a few updates: the sum over all predictions, as the official loops have it."""
    optimizer, losses = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.05), []
    for _ in range(UPDATES):
        with torch.enable_grad():
            output = model.train()(pixels)
            output = output if isinstance(output, list | tuple) else [output]
            loss = sum(nn.functional.cross_entropy(*pair) for pair in pairs(output))
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"rate": RATE, "losses": losses}


def cropr_cases(_: Path | None) -> Iterator[Case]:
    """Classification with Cropr, and without it."""
    projected = {"q_proj": True, "k_proj": True, "v_proj": True, "pre_attn_norm": True, "num_heads": 4}
    for name, size, depth, pool, rate, changed in (
        ("llf", 32, 5, "avg", 8, {}),
        ("no-llf", 24, 4, "avg", 8, {"llf": False}),
        ("llf-token-pool", 32, 5, "token", 8, {}),
        ("no-llf-token-pool", 32, 5, "token", 8, {"llf": False}),
        ("unpruned", 32, 4, "avg", None, {}),
        ("no-llf-3-queries", 32, 4, "avg", 8, {"llf": False, "num_queries": 3}),
        ("llf-projections-4-heads", 32, 5, "avg", 8, projected),
        ("llf-4-heads", 32, 5, "avg", 8, {"num_heads": 4}),
        ("llf-no-mlp", 32, 5, "avg", 8, {"mlp": False}),
        ("llf-depth-12", 32, 12, "avg", 5, {}),
    ):
        settings = cropr_settings(rate, **changed)
        options = {
            "heads": HEADS,
            "global_pool": pool,
            "pruning_rate": rate,
            "llf": settings["llf"] and rate is not None,
            "cropr_heads": settings["num_heads"],
        }
        build = functools.partial(cropr, settings, img_size=size, global_pool=pool, depth=depth, **CLASSES)
        yield Case(f"cropr-{name}", "cropr", options, build, (size, size), train=_cropr_training)


# Token Cropr, segmentation


def _thinned(masks: torch.Tensor) -> torch.Tensor:
    return masks[:, :, ::PIXEL_STEP, ::PIXEL_STEP]


def _segmentation_logits(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    return _thinned(model(pixels))


def _segmentation_training(model: nn.Module, pixels: torch.Tensor) -> dict[str, Any]:
    output = model.train()(pixels)
    masks, *auxiliary = output if isinstance(output, tuple) else [output]
    found = {"logits": _thinned(masks).tolist(), "auxiliary": [part.squeeze(0).tolist() for part in auxiliary]}

    def pairs(output: Any) -> Any:
        labels = (torch.arange(masks[:, 0].numel()) % masks.shape[1]).reshape(masks[:, 0].shape)
        for part in (output[0], *(part.squeeze(0) for part in output[1:])):
            small = nn.functional.interpolate(labels.unsqueeze(1).float(), size=part.shape[2:], mode="nearest")
            yield part, small.squeeze(1).long()

    return found | _updates(model, pixels, pairs)


def segmentation_cases(_: Path | None) -> Iterator[Case]:
    """Segmentation with Cropr, whose last block always sees every token, and without it."""
    projected = {"q_proj": True, "k_proj": True, "pre_attn_norm": True, "num_heads": 4}
    for name, image, grid, rate, changed in (
        ("pruned", (32, 32), (32, 32), 6, {}),
        ("unpruned", (32, 32), (32, 32), None, {}),
        ("projections-4-heads", (32, 32), (32, 32), 6, projected),
        ("padded", (30, 27), (32, 28), 4, {}),
    ):
        queries = grid[0] * grid[1] // PATCH**2
        settings = cropr_settings(rate, num_queries=queries, **changed)
        options = {
            "heads": HEADS,
            "pruning_rate": rate,
            "cropr_heads": settings["num_heads"],
            "image_size": list(grid),
            "rotary_reference_grid": [16, 16],
        }
        build = functools.partial(segmenter, settings, num_classes=3, img_size=Sides(grid), depth=5, **SMALL)
        yield Case(
            f"cropr-segmentation-{name}",
            "cropr-segmentation",
            options,
            build,
            image,
            f"both logits: rows and columns 0, {PIXEL_STEP}, {2 * PIXEL_STEP}, ... of the masks; auxiliary: everything",
            _segmentation_logits,
            _segmentation_training,
        )


# EViT


def evit_cases(_: Path | None) -> Iterator[Case]:
    """EViT; `keep_rate` has one value for each block, `tokens` (if any) the number to keep instead."""
    deit = tuple(0.7 if block in (3, 6, 9) else 1 for block in range(12))
    for name, rates, fuse, size, checkpoint_size, tokens in (
        ("fuse-0.7", (1, 0.7, 0.7, 0.7, 1), True, 32, 32, None),
        ("no-fuse-0.7", (1, 0.7, 0.7, 0.7, 1), False, 32, 32, None),
        ("fuse-0.5", (1, 0.5, 0.5, 0.5, 1), True, 32, 32, None),
        ("fuse-0.55", (1, 0.55, 0.55, 0.55, 1), True, 40, 40, None),  # 0.55 * 100 is above 55 in floating point
        ("fuse-one-patch-later", (1, 0.7, 0.97, 0.7, 1), True, 32, 32, None),
        ("fuse-one-patch", (1, 0.98, 1, 1, 1), True, 32, 32, None),
        ("fuse-keep-all", (1, 0.99, 0.7, 0.7, 1), True, 32, 32, None),
        ("fuse-rate-per-block", (0.9, 0.8, 1, 0.6, 0.35), True, 32, 32, None),
        ("fuse-deit", deit, True, 32, 32, None),
        ("fuse-other-size", (1, 0.7, 0.7, 0.7, 1), True, 40, 32, None),
        ("fuse-tokens", (1, 0.7, 0.7, 0.5, 1), True, 32, 32, (None, 50, None, None, 15)),
    ):
        options = {
            "heads": HEADS,
            "keep_rate": list(rates),
            "fuse_token": fuse,
            "tokens": tokens and list(tokens),
            "image_size": [checkpoint_size, checkpoint_size],
        }
        build = functools.partial(evit, rates, fuse, img_size=checkpoint_size, depth=len(rates), **CLASSES)
        evaluate = functools.partial(_evit_logits, tokens)
        yield Case(f"evit-{name}", "evit", options, build, (size, size), evaluate=evaluate)


def _evit_logits(tokens: tuple[int | None, ...] | None, model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    return model(pixels, tokens=tokens)


# ToMe


def _tome_options(r: int | list[int] | tuple[int, float], prop_attn: bool) -> dict[str, Any]:
    tokens, inflection = r if isinstance(r, tuple) else (r, None)
    return {"heads": HEADS, "r": tokens, "inflection": inflection, "prop_attn": prop_attn}


def tome_cases(_: Path | None) -> Iterator[Case]:
    """ToMe's patch of timm's models."""
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

    for name, r, prop_attn, size, depth, changed in (
        ("r-4", 4, True, 32, 5, {}),
        ("r-4-plain-attention", 4, False, 32, 5, {}),
        ("r-6-decreasing", (6, -1), True, 32, 5, {}),
        ("r-6-increasing", (6, 1.0), True, 32, 5, {}),
        ("r-6-increasing-half", (6, 0.5), True, 32, 6, {}),
        ("r-list", [9, 4], True, 32, 5, {}),
        ("r-clamped", 40, True, 32, 4, {}),
        ("no-class-token", 5, True, 32, 6, {"class_token": False, "global_pool": "avg"}),
        ("average-pool", 4, True, 32, 5, {"global_pool": "avg"}),
        ("distilled", 4, True, 32, 5, {"distilled": True}),
        ("distilled-clamped", 40, True, 32, 4, {"distilled": True}),
        ("odd-patches", 3, True, 20, 5, {}),
        ("odd-patches-no-class-token", 3, True, 20, 5, {"class_token": False, "global_pool": "avg"}),
        ("r-0", 0, True, 32, 5, {}),
        ("depth-12", 4, True, 32, 12, {}),
    ):
        facts = {"global_pool": "token", "class_token": True, "distilled": False} | changed
        model = functools.partial(
            VisionTransformerDistilled if facts["distilled"] else VisionTransformer,
            img_size=size,
            depth=depth,
            global_pool=facts["global_pool"],
            class_token=facts["class_token"],
            **CLASSES,
        )
        build = functools.partial(merging, "timm", model, r, prop_attn)
        yield Case(f"tome-{name}", "tome", _tome_options(r, prop_attn) | facts, build, (size, size))


def _mae_class(folder: Path | None) -> type[nn.Module]:
    """MAE's fine-tuning model: official with a folder, else timm's model with MAE's norms and pooling."""
    from timm.models.vision_transformer import VisionTransformer

    class Own(VisionTransformer):
        def __init__(self, global_pool: bool, norm_layer: Callable[[int], nn.Module], **options: Any):
            super().__init__(norm_layer=norm_layer, **options)
            self.global_pool = global_pool
            if global_pool:
                self.fc_norm = norm_layer(self.embed_dim)
                del self.norm

    parent = Own
    if folder is not None:
        sys.path.insert(0, str(folder))
        parent = __import__("models_vit").VisionTransformer

    class Mae(parent):
        # MAE was written for a timm whose head pools nothing; later ones would pool again.
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.head(self.forward_features(pixels))

    return Mae


def tome_mae_cases(mae: Path | None) -> Iterator[Case]:
    """ToMe's patch of MAE's models, whose own default is plain attention."""
    mae_class = _mae_class(mae)
    for pool in (True, False):
        for prop_attn in (False, True):
            pooling, attention = "average" if pool else "token", "proportional" if prop_attn else "plain"
            model = functools.partial(
                mae_class,
                global_pool=pool,
                norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
                img_size=32,
                depth=5,
                qkv_bias=True,
                **CLASSES,
            )
            build = functools.partial(merging, "mae", model, 4, prop_attn)
            options = _tome_options(4, prop_attn) | {"global_pool": pool}
            yield Case(f"tome-mae-{pooling}-pool-{attention}-attention", "tome-mae", options, build)


# IdleViT


class Kept(list):
    """A list that keeps what the official loss deletes while it runs over it: so every idle layer counts."""

    def __delitem__(self, _: Any) -> None:
        return


def _idlevit_training(
    teacher: Callable[[], nn.Module], options: dict[str, Any], model: nn.Module, pixels: torch.Tensor
) -> dict[str, Any]:
    """Dense training output, and the losses under both readings of the official loop over the idle layers."""
    from losses import IdleViTTotalLoss

    teacher_model = teacher()
    teacher_shapes = _load(teacher_model, TEACHER_SEED)
    teacher_logits, teacher_feature, _ = teacher_model(pixels)
    logits, feature, attentions, masks, _ = model.train()(pixels)
    labels = torch.arange(IMAGES)
    cut_loss: dict[str, dict[str, float]] = {}
    total: dict[str, float] = {}
    for reading, holder in (("official", list), ("every_layer", Kept)):
        cut_loss[reading] = {}
        for kind in ("intra", "inter", "both"):
            criterion = IdleViTTotalLoss(
                nn.CrossEntropyLoss(),
                teacher_model,
                options["keep_ratios"],
                options["idle_layers"],
                cutloss_type=kind,
                cut_weight=20,
                distill_loss=True,
                distill_weight=5,
            )
            loss = criterion(pixels, (logits, feature, holder(attentions), holder(masks), []), labels)
            cut_loss[reading][kind] = criterion.cut_loss
        total[reading] = loss.item()
    return {
        "logits": logits.tolist(),
        "class_feature": feature.tolist(),
        "labels": labels.tolist(),
        "cut_weight": 20,
        "distill_weight": 5,
        "cross_entropy": criterion.cls_loss,
        "cut_loss": cut_loss,
        "kl": criterion.logits_distill_loss,
        "feature_mse": criterion.feature_distill_loss,
        "total": total,
        "teacher": {
            "seed": TEACHER_SEED,
            "logits": teacher_logits.tolist(),
            "class_feature": teacher_feature.tolist(),
            "shapes": teacher_shapes,
        },
    }


def idlevit_cases(_: Path | None) -> Iterator[Case]:
    """IdleViT with the nine idle layers of its evaluation, the eight of its training, and three."""
    from vit import VisionTransformer

    for name, depth, base, layers, ratios in (
        ("9-layers-0.7", 12, 0.7, range(3, 12), None),
        ("8-layers-0.7", 12, 0.7, range(4, 12), None),
        ("9-layers-0.5", 12, 0.5, range(3, 12), None),
        ("8-layers-0.5", 12, 0.5, range(4, 12), None),
        ("3-layers", 4, None, range(1, 4), [0.7, 0.5, 0.5]),
    ):
        options = {
            "heads": HEADS,
            "base_rate": base,
            "idle_layers": list(layers),
            "keep_ratios": ratios or [base ** (stage + 1) for stage in range(3) for _ in range(3)],
        }
        backbone = CLASSES | {"img_size": 32, "depth": depth}
        build = functools.partial(idlevit, options["idle_layers"], options["keep_ratios"], **backbone)
        train = functools.partial(_idlevit_training, functools.partial(VisionTransformer, **backbone), options)
        yield Case(f"idlevit-{name}", "idlevit", options, build, train=train)


# TokenReduction


def token_reduction_cases(_: Path | None) -> Iterator[Case]:
    """The ten methods of one code base."""
    for fields in token_reduction.cases(_load):
        yield Case(layout="token-reduction", **fields)


def dynamicvit_cases(_: Path | None) -> Iterator[Case]:
    """One of them in its own repository, whose weights have the same names."""
    for fields in token_reduction.dynamicvit_cases():
        yield Case(layout="token-reduction", **fields)


# Methods that merge


def pitome_cases(mae: Path | None) -> Iterator[Case]:
    """PiToMe's patches of DeiT and MAE."""
    for fields in token_merging.pitome_cases(_mae_class(mae)):
        yield Case(layout="pitome", **fields)


def diffrate_cases(mae: Path | None) -> Iterator[Case]:
    """DiffRate's patches of DeiT and MAE."""
    for fields in token_merging.diffrate_cases(_mae_class(mae)):
        yield Case(layout="diffrate", **fields)


def mctf_cases(_: Path | None) -> Iterator[Case]:
    """MCTF's DeiT."""
    for fields in token_merging.mctf_cases():
        yield Case(layout="mctf", **fields)


def atc_cases(mae: Path | None) -> Iterator[Case]:
    """ATC's patches of timm's ViT and MAE, and DeiT trained with it."""
    for fields in token_merging.atc_cases(_mae_class(mae)):
        yield Case(layout="atc", **fields)
    for fields in token_merging.trained_atc_cases():
        yield Case(layout="token-reduction", **fields)


# Recording

LAYOUTS: dict[str, tuple[str, str, Callable[[Path | None], Iterator[Case]]]] = {
    "cropr": ("cropr", "cls", cropr_cases),
    "cropr-segmentation": ("cropr", "segm", segmentation_cases),
    "evit": ("evit", "", evit_cases),
    "tome": ("tome", "", tome_cases),
    "tome-mae": ("tome", "", tome_mae_cases),
    "idlevit": ("idlevit", "", idlevit_cases),
    "token-reduction": ("token-reduction", "", token_reduction_cases),
    "dynamicvit": ("dynamicvit", "", dynamicvit_cases),
    "pitome": ("pitome", "", pitome_cases),
    "atc": ("atc", "", atc_cases),
    "mctf": ("mctf", "", mctf_cases),
    "diffrate": ("diffrate", "", diffrate_cases),
}


def _load(model: nn.Module, seed: int) -> dict[str, list[int]]:
    """Fill every tensor of the model's state; returns their shapes."""
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(values) for name, values in fill(shapes, seed).items()}, strict=True)
    return shapes


def _is_stable(case: Case, logits: torch.Tensor, pixels: torch.Tensor) -> bool:
    """Whether round-off cannot change the tokens: neither float64 nor a nudge of the pixels chooses others."""
    model = case.build()
    _load(model, SEED)
    model = model.double().eval()
    exact = case.evaluate(model, pixels.double())
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    echo = max((case.evaluate(model, pixels + sign * NUDGE * noise) - exact).abs().max() for sign in (-1, 1))
    return bool(
        torch.isfinite(logits).all() and (exact - logits).abs().max() < LARGEST_ROUND_OFF and echo < LARGEST_ECHO
    )


@torch.no_grad()
def run(case: Case, repository: str) -> dict[str, Any]:
    """Everything that the case's file holds."""
    import timm

    model = case.build()
    shapes = _load(model, SEED)
    for seed in range(IMAGES_SEED, IMAGES_SEED + 100):
        image = {"count": IMAGES, "height": case.size[0], "width": case.size[1], "seed": seed}
        pixels = torch.from_numpy(images(**image))
        logits = case.evaluate(model.eval(), pixels)
        if _is_stable(case, logits, pixels):
            break
    else:
        raise ValueError(f"{case.name}: not finite, or near ties between tokens whatever the images")
    result = {
        "layout": case.layout,
        "source": dict(zip(("repository", "commit"), SOURCES[repository], strict=True)),
        "versions": {"torch": torch.__version__.split("+")[0], "timm": timm.__version__},
        "options": case.options,
        "image": image,
        "seed": SEED,
    }
    if case.stored is not None:
        result["stored"] = case.stored
    result["logits"] = logits.tolist()
    if case.more is not None:
        result |= case.more(model, pixels)
    if case.train is not None:
        result["training"] = case.train(model, pixels)
    return result | {"shapes": shapes}


def _text(value: Any, indent: str = "") -> str:
    """JSON with one line for each key."""
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = indent + "  "
    lines = [f"{inner}{json.dumps(key)}: {_text(part, inner)}" for key, part in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def record(layout: str, folder: Path, out: Path, mae: Path | None, only: str) -> None:
    """Write one file for each case of a layout."""
    root = Path(__file__).resolve().parents[2]
    sys.path.insert(0, str(root))
    import suite.torchvision_operators  # noqa: F401 -- lets timm be imported whatever torchvision is there

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the official code is older than the libraries, which say so
    repository, subfolder, cases = LAYOUTS[layout]
    sys.path.insert(0, str(folder / subfolder))
    for case in (case for case in cases(mae) if only in case.name):
        with contextlib.redirect_stdout(io.StringIO()):  # official models announce themselves
            result = run(case, repository)
        (out / f"{case.name}.json").write_text(_text(result) + "\n")
        sys.stderr.write(f"recorded {case.name}\n")


def main() -> None:
    """Record every layout for which a folder is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, source in SOURCES.items():
        parser.add_argument(f"--{name}", type=Path, help=" at ".join(source))
    parser.add_argument("--mae", type=Path, help="https://github.com/facebookresearch/mae (default: an equal model)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="default: beside this script")
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose names have it (default: all)")
    chosen = parser.parse_args()
    given = {name: getattr(chosen, name.replace("-", "_")) for name in SOURCES}
    folders = {name: folder for name, folder in given.items() if folder is not None}
    if not folders:
        parser.error("give at least one folder")
    for layout, (name, _, _) in LAYOUTS.items():
        if name in folders:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                out = chosen.out.resolve()
                fresh.submit(record, layout, folders[name].resolve(), out, chosen.mae, chosen.only).result()


if __name__ == "__main__":
    main()
