"""Official checkpoints: the numbers of the official code, the facts of its logs, and what is refused."""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from suite import official
from suite.cli.app import main
from suite.data.labels import patch_labels
from suite.errors import UserError
from suite.kinds.official.weights import fill, images
from suite.measure.tokens import count_tokens
from suite.reduction.backbone import create_backbone
from suite.reduction.model import reduce
from suite.reduction.schedule import constant, curriculum
from suite.tasks.classification.train import training_loss

# isort: split
from timm.data import create_transform

FOLDER = Path(__file__).parent / "official"

CASES = sorted(path.stem for path in FOLDER.glob("*.json"))
NOT_OPTIONS = {"llf", "class_token", "distilled", "rotary_reference_grid"}  # read off the weights, or fixed
LIMIT = 1e-5


def case_of(name: str) -> dict[str, Any]:
    """A recorded case."""
    case: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return case


def weights_of(shapes: dict[str, list[int]], seed: int) -> dict[str, Tensor]:
    """A checkpoint in the official format."""
    return {key: torch.from_numpy(value) for key, value in fill(shapes, seed).items()}


def options_of(case: dict[str, Any]) -> dict[str, Any]:
    """A case's options as the layout calls them."""
    renamed = {"inflection": "inflect"}
    options = {
        renamed.get(key, key): value
        for key, value in case["options"].items()
        if value is not None and key not in NOT_OPTIONS
    }
    if case["layout"] != "tome":
        options.pop("global_pool", None)  # read off the weights
    if case["layout"] == "evit":
        options["image_size"] = case["image"]["height"]
    return options


def load(case: dict[str, Any], **more: Any) -> nn.Module:
    """The case's model, its layout named."""
    return official.load(weights_of(case["shapes"], case["seed"]), case["layout"], **options_of(case) | more)


def assert_equal(found: Tensor, expected: Any) -> None:
    """Equal to the recorded numbers within 1e-5, and these are not trivial."""
    expected = torch.tensor(expected)
    assert found.shape == expected.shape
    assert expected.std() > 0.01
    assert (found - expected).abs().max() <= LIMIT


@pytest.mark.parametrize("name", CASES)
def test_logits_are_the_official_ones(name: str) -> None:
    """In evaluation mode, to 1e-5 in float32."""
    case = case_of(name)
    with torch.no_grad():
        logits = load(case)(torch.from_numpy(images(**case["image"])))
    assert_equal(logits[:, :, ::5, ::5] if logits.dim() == 4 else logits, case["logits"])


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("idlevit-9-layers-0.7", ("keep_ratios", "idle_layers", "base_rate")),
        ("idlevit-9-layers-0.5", ("keep_ratios", "idle_layers")),
        ("idlevit-8-layers-0.7", ("keep_ratios",)),
        ("evit-fuse-deit", ("keep_rate", "fuse_token", "drop_loc", "tokens")),
        ("tome-r-4", ("prop_attn", "global_pool")),
        ("tome-no-class-token", ("prop_attn", "global_pool")),
        ("tome-mae-average-pool-plain-attention", ("prop_attn",)),
    ],
)
def test_options_have_the_official_defaults(name: str, left_out: tuple[str, ...]) -> None:
    """The same logits without the options that the official code has defaults or rules for."""
    case = case_of(name)
    options = {key: value for key, value in options_of(case).items() if key not in left_out}
    if "idle_layers" in options:
        options["idle_layers"] = len(options["idle_layers"])
    with torch.no_grad():
        model = official.load(weights_of(case["shapes"], case["seed"]), case["layout"], **options)
        assert_equal(model(torch.from_numpy(images(**case["image"]))), case["logits"])


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("cropr")])
def test_cropr_trains_as_officially(name: str) -> None:
    """Logits and the predictions of every auxiliary head in training mode; main and auxiliary losses stay apart."""
    case = case_of(name)
    model = load(case).train()
    logits, _, auxiliary = model.outputs(torch.from_numpy(images(**case["image"])))
    assert_equal(logits[:, :, ::5, ::5] if logits.dim() == 4 else logits, case["training"]["logits"])
    assert len(auxiliary) == len(case["training"]["auxiliary"])
    for found, expected in zip(auxiliary, case["training"]["auxiliary"], strict=True):
        assert_equal(found.reshape(torch.tensor(expected).shape), expected)


def official_loss(model: Any, pixels: Tensor) -> Tensor:
    """The loss of the image or of its pixels and that of every head, added up, on labels in turn."""
    logits, _, auxiliary = model.outputs(pixels)
    method, labels = getattr(model, "reduced", model).method, torch.arange(len(pixels))
    target = labels
    if logits.dim() == 4:
        labels = (torch.arange(logits[:, 0].numel()) % logits.shape[1]).reshape(logits[:, 0].shape)
        target = patch_labels(labels, method.context.grid)
        auxiliary = [part.flatten(2).transpose(1, 2) for part in auxiliary]
    extra = method.auxiliary_loss(auxiliary, target, nn.functional.cross_entropy)
    loss = nn.functional.cross_entropy(logits, labels)
    return loss if extra is None else loss + extra


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("cropr")])
def test_cropr_learns_as_officially(name: str) -> None:
    """The loss, all predictions' added up, before each of five updates of all weights by AdamW."""
    case = case_of(name)
    recorded, model = case["training"], load(case).requires_grad_(True).train()
    pixels = torch.from_numpy(images(**case["image"]))
    optimizer, losses = torch.optim.AdamW(model.parameters(), recorded["rate"], weight_decay=0.05), []
    for _ in recorded["losses"]:
        loss = official_loss(model, pixels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == pytest.approx(recorded["losses"], rel=1e-4)
    assert losses[-1] < 0.99 * losses[0]


@pytest.mark.parametrize("reading", ["all", "official"])
@pytest.mark.parametrize("cut", ["both", "intra", "inter"])
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("idlevit")])
def test_idlevit_cuts_tokens_as_officially(name: str, cut: str, reading: str) -> None:
    """The token cut loss of all idle blocks and of those the official loop reaches, by kind; never the same."""
    case = case_of(name)
    expected = case["training"]["cut_loss"]
    model = load(case, cut=cut, cut_blocks=reading).train()
    with torch.no_grad():
        output = model.outputs(torch.from_numpy(images(**case["image"])))
    loss = model.method.auxiliary_loss(output.auxiliary, torch.tensor([0]), nn.CrossEntropyLoss())
    recorded = expected["official" if reading == "official" else "every_layer"][cut]
    assert loss.item() * len(case["options"]["idle_layers"]) / 20 == pytest.approx(recorded, abs=LIMIT, rel=LIMIT)
    assert abs(expected["official"][cut] - expected["every_layer"][cut]) > 100 * LIMIT


@pytest.mark.parametrize("reading", ["all", "official"])
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("idlevit")])
def test_idlevit_learns_from_its_teacher_as_officially(name: str, reading: str) -> None:
    """The whole official loss: classification, token cut, divergence and features of the unpruned model."""
    case = case_of(name)
    training, pixels = case["training"], torch.from_numpy(images(**case["image"]))
    model = load(case, cut_blocks=reading, distillation_weight=training["distill_weight"]).train()
    teacher = model.unpruned()
    teacher.backbone.load_state_dict(weights_of(training["teacher"]["shapes"], training["teacher"]["seed"]))
    with torch.no_grad():
        reference, output = teacher.outputs(pixels), model.outputs(pixels)
        total = training_loss(model, pixels, torch.tensor(training["labels"]), nn.CrossEntropyLoss(), teacher)
    assert_equal(reference.logits, training["teacher"]["logits"])
    assert_equal(output.feature, training["class_feature"])
    weight = training["distill_weight"]
    distilled = model.method.distillation_loss(output, reference).item()
    assert distilled == pytest.approx(weight * (training["kl"] + 100 * training["feature_mse"]), rel=LIMIT)
    recorded = training["total"]["official" if reading == "official" else "every_layer"]
    assert total.item() == pytest.approx(recorded, rel=LIMIT)


# ---------------------------------------------------------------- Cropr's official facts


def official_schedule(rate: int) -> tuple[int, ...]:
    """Counts of 24 blocks with last-layer fusion."""
    return constant(10_000, 24, rate, range(22), extra_first=1).removed


def test_tokens_of_the_classification_log_on_tensors() -> None:
    """The log's schedule read off a narrow model of the same depth and patches."""
    options = {"embed_dim": 12, "num_heads": 2, "depth": 24, "mlp_ratio": 1, "global_pool": "avg"}
    backbone = create_backbone("vit_large_patch16_224", options, classes=2)
    model = reduce(backbone, "cropr", official_schedule(8), fusion="last-layer")
    tokens = count_tokens(model, torch.randn(1, 3, 224, 224))
    assert tokens.leaving == (*range(188, 19, -8), 20, 197)


def test_the_curriculum_of_the_segmentation_log() -> None:
    """64 epochs: R rises from 0 to 40, rounded down, over 32 of them; the first module always removes one more."""
    full = official_schedule(40)
    rates = [curriculum(full, epoch, 64, "official") for epoch in range(64)]
    assert [counts[1] for counts in rates] == [min(40, math.floor(40 * epoch / 31)) for epoch in range(64)]
    assert all(counts[0] == counts[1] + 1 for counts in rates)
    assert all(counts[22:] == (0, 0) for counts in rates)
    assert rates[0][:3] == (1, 0, 0)
    assert rates[31] == rates[63] == full


@pytest.mark.parametrize(("rate", "epochs"), [(8, 30), (2, 58), (40, 64), (7, 100), (12, 2), (5, 1), (8, 31)])
def test_the_official_curriculum_rounds_as_its_tensors(rate: int, epochs: int) -> None:
    """Down, after torch's own rounding errors; where the official code fails (odd epochs) it ends with R."""
    recorded = {(8, 30): {7: 3}, (2, 58): {14: 0}, (7, 100): {28: 3}}  # where exact arithmetic says one more
    counts = [curriculum(official_schedule(rate), epoch, epochs, "official")[1] for epoch in range(epochs)]
    half = epochs // 2
    assert counts[half:] == [rate] * (epochs - half)
    assert all(abs(counts[epoch] - rate * epoch / max(half - 1, 1)) <= 1 for epoch in range(half))
    if torch.backends.cpu.get_cpu_capability() != "DEFAULT":  # that rounds products, too, and so ends elsewhere
        assert counts[:half] == torch.linspace(0, rate, steps=half).long().tolist()
    for epoch, count in recorded.get((rate, epochs), {}).items():
        assert counts[epoch] == count


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 10])
def test_the_linear_curriculum_starts_with_nothing_and_ends_in_time(epochs: int) -> None:
    """Any number of epochs and any counts; the second half has the whole schedule, and counts never fall."""
    full = (9, 8, 3, 0)
    rates = [curriculum(full, epoch, epochs, "linear") for epoch in range(epochs)]
    assert rates[0] == (full if epochs == 1 else (0, 0, 0, 0))
    assert all(counts == full for counts in rates[epochs // 2 :])
    assert all(a <= b for before, after in pairwise(rates) for a, b in zip(before, after, strict=True))


def test_the_official_curriculum_is_croprs() -> None:
    """One count everywhere and one more in the first block, or nothing at all, as in the unpruned row of a study."""
    assert curriculum((0, 0, 0), 0, 8, "official") == (0, 0, 0)
    with pytest.raises(ValueError, match="one count for all blocks and one more in the first"):
        curriculum((9, 7, 8, 0), 0, 8, "official")


@pytest.mark.parametrize("settings", [{"queries": 5}, {"queries": 3, "heads": 4, "projections": ["query", "key"]}])
def test_folded_queries_are_their_sum(settings: dict[str, Any]) -> None:
    """A deployed module has one query, the (projected) sum of its queries, and keeps all outputs."""
    options = {"img_size": 32, "patch_size": 4, "embed_dim": 48, "depth": 4, "num_heads": 4}
    backbone = create_backbone("vit_tiny_patch16_224", options, 10)
    model = reduce(backbone, "cropr", (9, 8, 8, 0), settings).eval()
    pixels = torch.from_numpy(images(4, 32, 32, 1))
    with torch.no_grad():
        before, module = model(pixels), model.method.croppers["0"]
        folded = module.queries[0].sum(0)
        if "projections" in settings:
            folded = module.key.weight.T @ (module.query.weight @ folded)
        torch.testing.assert_close(model.deploy()(pixels), before, rtol=0, atol=1e-5)
    assert module.queries.shape == (1, 1, 48)
    torch.testing.assert_close(module.queries[0, 0], folded)
    assert module.aggregator is None


# ---------------------------------------------------------------- finding the layout, and refusing


def save(folder: Path, content: Any) -> Path:
    """A checkpoint file."""
    path = folder / "checkpoint.pth"
    torch.save(content, path)
    return path


def test_files_wrappers_and_arguments_are_understood(tmp_path: Path) -> None:
    """What training scripts save around the weights: their arguments say the layout and its options."""
    case = case_of("evit-fuse-deit")
    weights = {f"module.{key}": value for key, value in weights_of(case["shapes"], case["seed"]).items()}
    arguments = argparse.Namespace(base_keep_rate=0.7, drop_loc="(3, 6, 9)", fuse_token=True, lr=np.float64(1e-3))
    path = save(tmp_path, {"model": weights, "args": arguments, "epoch": 3, "best": np.float32(70)})
    released = official.resolve(path, heads=4)
    assert released.layout.name == "evit"
    assert released.origin["keep_rate"] == "checkpoint"
    assert released.origin["crop"] == "default"
    with torch.no_grad():
        assert_equal(released.model(torch.from_numpy(images(**case["image"]))), case["logits"])
    assert official.resolve(path, keep_rate=0.5, heads=4).options.keep_rate == 0.5


@pytest.mark.parametrize(
    ("model", "rate", "places"),
    [
        (None, 0.6, (4, 8)),
        ("deit_small_patch16_shrink_base", 0.6, (4, 8)),
        ("deit_small_patch16_224_shrink05", 0.5, (3, 6, 9)),
        ("deit_small_patch16_224_shrink", 0.7, (3, 6, 9)),
        ("deit_small_patch16_224", 1.0, (3, 6, 9)),
    ],
)
def test_evits_models_decide_what_their_arguments_mean(model: str | None, rate: float, places: tuple[int, ...]) -> None:
    """Only the models whose names end in shrink_base listen to the arguments, which every checkpoint has."""
    case = case_of("evit-fuse-deit")
    arguments = {"base_keep_rate": 0.6, "drop_loc": "(4, 8)", "fuse_token": False} | ({"model": model} if model else {})
    content = {"model": weights_of(case["shapes"], 1), "args": argparse.Namespace(**arguments)}
    options = official.resolve(content, heads=4).options
    assert options.keep_rate == pytest.approx(rate)
    assert options.drop_loc == places
    assert options.fuse_token is False
    content["args"].drop_loc = "garbage("
    with pytest.raises(UserError, match="argument drop_loc is 'garbage\\(' instead of numbers of blocks"):
        official.resolve(content, heads=4)


def test_cropr_is_evaluated_with_its_own_crop() -> None:
    """The official evaluation takes the whole image above 224 pixels."""
    case = case_of("cropr-llf")
    weights = weights_of(case["shapes"], 1)
    assert official.resolve(weights, **options_of(case)).options.crop == 0.875
    large = {"pos_embed": torch.zeros(1, 1 + 57**2, 48), "patch_embed.proj.weight": torch.zeros(48, 3, 4, 4)}
    assert official.resolve(weights | large, **options_of(case)).options.crop == 1.0


@pytest.mark.parametrize("name", ["cropr-llf", "cropr-segmentation-pruned"])
def test_the_layout_shows_in_the_weights(name: str) -> None:
    """Cropr's modules have names of their own, so its layouts need not be named."""
    case = case_of(name)
    released = official.resolve(weights_of(case["shapes"], case["seed"]), **options_of(case))
    assert released.layout.name == case["layout"]


def test_cropr_without_its_training_parts_loads() -> None:
    """Weights without aggregators and heads give the same logits, and say so when they should train."""
    case = case_of("cropr-llf")
    weights = weights_of(case["shapes"], case["seed"])
    kept = {key: x for key, x in weights.items() if not key.startswith("cropr.") or key.endswith("queries")}
    model = official.load(kept, "cropr", **options_of(case))
    pixels = torch.from_numpy(images(**case["image"]))
    with torch.no_grad():
        assert_equal(model(pixels), case["logits"])
    with pytest.raises(ValueError, match="no auxiliary heads left"):
        model.train().outputs(pixels)


class Bomb:
    """Unpickled carelessly, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    """It is refused by the name of what it holds."""
    path = save(tmp_path, {"model": {"pos_embed": torch.zeros(1)}, "more": Bomb(tmp_path / "ran")})
    with pytest.raises(
        UserError, match=r"holds Python objects besides weights \(.*\), and loading those could run code"
    ):
        official.load(path, "evit")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, share: float) -> None:
    """Wherever it was cut off."""
    case = case_of("evit-fuse-0.7")
    path = save(tmp_path, weights_of(case["shapes"], case["seed"]))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"(was cut off|is empty).* download or copy it again"):
        official.load(path, "evit", heads=4)


EVIT, CROPR, TOME, IDLE = "evit-fuse-0.7", "cropr-llf", "tome-r-4", "idlevit-9-layers-0.7"
WRONG: list[tuple[str, dict[str, Any], str]] = [
    (EVIT, {"layout": "evti"}, "there is no layout 'evti'; did you mean evit?"),
    (
        EVIT,
        {"layout": None},
        "fits the layouts cropr, evit, idlevit, pitome, atc, diffrate, mctf, token-.*, tome, .* name one",
    ),
    (EVIT, {"layout": "cropr-segmentation"}, "layout cropr-segmentation does not fit: the state dict has no .*q_proj"),
    (CROPR, {"layout": "evit"}, "layout evit does not fit: .* has cropr.0.* it fits cropr"),
    (EVIT, {"heads": None}, "width 48, which does not say the number of heads; give heads"),
    (EVIT, {"heads": 5}, "48 channels cannot be split into 5 heads"),
    (EVIT, {"keep_rat": 0.7}, "keep_rat: unknown key; did you mean keep_rate?"),
    (EVIT, {"keep_rate": [0.7, 0.7]}, "keep_rate has 2 rates but the model has 5 blocks"),
    (EVIT, {"keep_rate": 0.7, "drop_loc": [1, 5]}, "drop_loc names block 5, but the model has the blocks 0 to 4"),
    (EVIT, {"keep_rate": [0.7, 1, 1, 1, 1.5]}, "keep_rate must be above 0 and at most 1"),
    (EVIT, {"tokens": [1, 2]}, "tokens has 2 counts but the model has 5 blocks"),
    (EVIT, {"tokens": [None, 65, None, None, None]}, "block 1 should keep 65 of 64 patches"),
    (EVIT, {"image_size": 33}, "image_size 33 x 33 is not a multiple of the patch, 4 x 4"),
    (EVIT, {"image_size": [40, 36]}, "does not have the 8 x 8 patches"),
    (CROPR, {"image_size": 40}, "image_size 40 x 40 does not have the 8 x 8 patches that the state dict was made for"),
    (CROPR, {"pruning_rate": None}, "do not say how many of 64 patches each module removes; give pruning_rate"),
    (CROPR, {"pruning_rate": 30}, "removes 91 of 64 patches and leaves none"),
    (CROPR, {"cropr_heads": 4}, "cropr_heads 4 needs an output projection, which is not there"),
    ("cropr-llf-4-heads", {"cropr_heads": None}, "several heads; give cropr_heads"),
    (TOME, {"r": None}, "r: this option is required"),
    (TOME, {"r": [4] * 6}, "r has 6 counts but the model has 5 blocks"),
    (TOME, {"r": -1}, "counts of merges must be from 0 to 1000000, found -1"),
    (TOME, {"r": 4, "inflect": 2}, "inflect must be from -1"),
    (TOME, {"r": (4, 1, 2)}, "r as a tuple is \\(r, inflect\\)"),
    ("tome-no-class-token", {"global_pool": "token"}, "token needs a class token"),
    ("tome-distilled", {"layout": "evit"}, "has a dist_token: the official code does not run distilled models"),
    (IDLE, {"idle_layers": 13}, "idle_layers must be some of the blocks 1 to 11"),
    (IDLE, {"idle_layers": [10, 11, 12]}, "idle_layers must be some of the blocks 1 to 11"),
    (IDLE, {"idle_layers": [4, 6]}, "would let block 5 work on more patches"),
    (TOME, {"r": 10**400, "inflect": -1.0}, "counts of merges must be from 0 to 1000000"),
    (TOME, {"r": "x"}, "r: cannot be 'x'; see docs/checkpoints.md"),
    (EVIT, {"keep_rate": "x"}, "keep_rate: cannot be 'x'"),
    (EVIT, {"crop": 1e-300}, "crop: must be at least 0.1"),
    (IDLE, {"keep_ratios": [1.0, *[0.5] * 8]}, "a ratio must be above 0 and below 1"),
    (IDLE, {"keep_ratios": []}, "keep_ratios has 0 ratios for 9 idle blocks"),
    (IDLE, {"keep_ratios": [0.5]}, "keep_ratios has 1 ratios for 9 idle blocks"),
]


@pytest.mark.parametrize(("name", "changed", "message"), WRONG)
def test_wrong_requests_are_refused(name: str, changed: dict[str, Any], message: str) -> None:
    """In one line that says what stands in the way."""
    case = case_of(name)
    options = {"layout": case["layout"]} | options_of(case) | changed
    options = {key: value for key, value in options.items() if value is not None}
    with pytest.raises(UserError, match=message) as refused:
        official.load(weights_of(case["shapes"], case["seed"]), **options)
    assert "\n" not in str(refused.value)


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    """Weights of something else, of LV-ViT, of a pre-training, with a missing tensor, or none at all."""
    case = case_of(IDLE)
    weights = weights_of(case["shapes"], case["seed"])
    for content, layout, message in [
        ({"conv1.weight": torch.zeros(3)}, "evit", "has no pos_embed; it fits no layout"),
        ({"conv1.weight": torch.zeros(3)}, None, "fits no layout"),
        ({**weights, "patch_embed.conv1.weight": torch.zeros(3)}, "idlevit", "is an LV-ViT .* not supported"),
        ({k: x for k, x in weights.items() if "head" not in k}, "evit", "has no head.weight: it is of a pre-training"),
        ({k: x for k, x in weights.items() if k != "norm.bias"}, "evit", "lacks norm.bias"),
        ({**weights, "head.bias": torch.zeros(7)}, "evit", r"head.bias of shape \(7,\) instead of \(10,\)"),
        ({**weights, "blocks.0.ls1.gamma": torch.ones(48)}, "tome", "has blocks.0.ls1.gamma, which a plain ViT does"),
        ({**weights, "pos_embed": torch.zeros(3)}, "evit", r"pos_embed of shape \(3,\), which should have 3 dim"),
        ({**weights, "pos_embed": torch.zeros(1, 65, 0)}, None, r"pos_embed of shape \(1, 65, 0\), which should have"),
        ({**weights, "patch_embed.proj.weight": torch.zeros(3, 3)}, "tome", "which should have 4 dimensions"),
        ({**weights, "blocks.0": torch.zeros(3)}, "evit", "has blocks.0, which a plain ViT does not"),
        ({**weights, "norm.bias": torch.full((48,), math.nan)}, "evit", "has values in norm.bias that are not finite"),
        ({**weights, "norm.bias": torch.zeros(48).to_sparse()}, "evit", "has norm.bias in a form that is not supp"),
        ({"epoch": 3}, "evit", "has no tensors in it"),
        ([1, 2], "evit", "holds a list"),
    ]:
        with pytest.raises(UserError, match=message):
            official.load(save(tmp_path, content), layout, heads=4, **({"r": 4} if layout == "tome" else {}))
    with pytest.raises(UserError, match=r"there is no checkpoint .*missing.pth: no such file"):
        official.load(tmp_path / "missing.pth")


def test_images_of_another_size_are_refused() -> None:
    """With both sizes and the cure."""
    model = load(case_of(EVIT))
    with pytest.raises(ValueError, match="the images have 40 x 40 pixels but the model takes 32 x 32; resize them"):
        model(torch.zeros(1, 3, 40, 40))


# ---------------------------------------------------------------- suite evaluate


def image_folder(folder: Path, classes: int, each: int) -> Path:
    """ImageNet's layout: val/, a folder for each class, images in it."""
    draw = np.random.RandomState(0)
    for number in range(classes):
        (folder / "val" / f"n{number:02}").mkdir(parents=True)
        for image in range(each):
            pixels = draw.randint(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "val" / f"n{number:02}" / f"{image}.png")
    return folder


def suite(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    command = [str(Path(sys.executable).with_name("suite")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_evaluate_counts_what_the_model_gets_right(tmp_path: Path) -> None:
    """Accuracy as predicted image by image with timm's own evaluation transform; tokens and MACs of the schedule."""
    case = case_of("evit-fuse-deit")
    path = save(tmp_path, {"model": weights_of(case["shapes"], case["seed"])})
    data = image_folder(tmp_path / "data", 10, 7)
    done = suite("evaluate", "--checkpoint", path, "--layout", "evit", "--data", data, "--option", "heads=4")
    assert done.returncode == 0, done.stderr
    model, prepare = load(case), create_transform(32, crop_pct=0.875, interpolation="bicubic")
    first = five = 0
    for number, folder in enumerate(sorted((data / "val").iterdir())):
        for image in folder.iterdir():
            with torch.no_grad():
                ranked = model(prepare(Image.open(image))[None]).topk(5).indices[0].tolist()
            first, five = first + (ranked[0] == number), five + (number in ranked)
    assert 0 < first < five < 70
    assert re.search(r"^images +70$", done.stdout, re.MULTILINE)
    assert f"{100 * first / 70:.2f} %" in done.stdout
    assert f"{100 * five / 70:.2f} %" in done.stdout
    assert "65 65 65 47 47 47 35 35 35 26 26 26" in done.stdout
    assert re.search(r"keep_rate +0.7 +default", done.stdout)


def test_evaluate_refuses_what_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one line: no such folder, no images, too few classes, a broken image, no such device."""
    case = case_of(EVIT)
    path = save(tmp_path, weights_of(case["shapes"], case["seed"]))
    fine, few = image_folder(tmp_path / "fine", 10, 1), image_folder(tmp_path / "few", 3, 1)
    broken = image_folder(tmp_path / "broken", 10, 1)
    image = broken / "val" / "n03" / "0.png"
    image.write_bytes(image.read_bytes()[:300])
    (tmp_path / "empty" / "class").mkdir(parents=True)
    segmentation = case_of("cropr-segmentation-pruned")
    other = tmp_path / "segmentation.pth"
    torch.save(weights_of(segmentation["shapes"], segmentation["seed"]), other)
    for checkpoint, data, more, message in [
        (path, "nowhere", [], "there is no folder nowhere"),
        (path, tmp_path / "empty", [], "is not laid out as one folder of images for each class"),
        (path, few, [], "has 3 folders but the model has 10 classes"),
        (path, broken, [], "n03/0.png cannot be read"),
        (path, fine, ["--device", "cuda:7"], "cannot use the device 'cuda:7'"),
        (path, fine, ["--device", "meta"], "cannot use the device 'meta'"),
        (path, fine, ["--option", "keep_rate"], "is not NAME=VALUE"),
        (path, fine, ["--option", "layout=evit"], "layout is not an option of a layout; write --layout evit"),
        (path, fine, ["--option", "keep_rate=2020-99-99"], "2020-99-99 is read as a date by YAML; write it in quotes"),
        (path, fine, ["--option", "keep_rate=" + "[" * 5000], "the value is not readable as YAML"),
        (path, fine, ["--option", "image_size=33"], "image_size 33 x 33 is not a multiple of the patch"),
        (other, fine, ["--option", "pruning_rate=6"], "is for segmentation; evaluate measures classification only"),
    ]:
        layout = [] if checkpoint == other else ["--layout", "evit", "--option", "drop_loc=[2]"]
        command = ["--checkpoint", checkpoint, "--data", data, "--option", "heads=4", *layout, *more]
        monkeypatch.setattr(sys, "argv", ["suite", "evaluate", *map(str, command)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert ended.value.code == 2, said
        assert re.fullmatch(f"error: .*{message}.*\n", said), said
