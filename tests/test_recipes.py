"""Training beside the official code, update by update: `official/recipes.py` recorded what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_official import case_of, weights_of

from suite import official
from suite.data.dataset import data_set
from suite.kinds.official.weights import images
from suite.reduction.model import ReducedModel, reduce
from suite.tasks.classification.recipe import ClassificationRecipe
from suite.tasks.classification.train import _Run
from suite.tasks.loop import _layer
from suite.tasks.task import Training

# isort: split
from timm.models.vision_transformer import VisionTransformer

FOLDER = Path(__file__).parent / "official" / "recipes"
LIMIT = 1e-6
CASES = sorted(path.stem for path in FOLDER.glob("*.json"))
UPDATES, EPOCHS, BATCH, CLASSES, SIDE, WIDTH, DEPTH = 4, 3, 8, 10, 32, 48, 5
RECIPE = ClassificationRecipe(
    epochs=EPOCHS,
    warmup_epochs=1,
    batch_size=BATCH,
    learning_rate=0.001,
    min_learning_rate=1e-6,
    weight_decay=0.05,
    label_smoothing=0.1,
    mixup=0.8,
    cutmix=1.0,
)
LAYERED = {"accumulate": 2, "layer_decay": 0.75, "drop_path": 0.2}
OWN = {  # what else the recipes say
    "cropr": LAYERED | {"drop_path_in_last_block": False},
    "cropr-unpruned": LAYERED,
    "mae": LAYERED,
    "evit": {"ema": 0.9},
    "idlevit": {"ema": 0.9},
}


def model_of(name: str, case: dict[str, Any], drop_path: float) -> ReducedModel:
    """The same model of ours, with the same weights and drop path."""
    weights = weights_of(case["shapes"], 1)
    if case["layout"]:
        more = {"cut": "both", "cut_blocks": "official", "distillation_weight": 5.0} if name == "idlevit" else {}
        options = {key: value for key, value in case["options"].items() if value is not None}
        model: Any = official.load(weights, case["layout"], **options | more)
    else:
        sizes = {"patch_size": 4, "embed_dim": WIDTH, "num_heads": 4, "depth": DEPTH, "num_classes": CLASSES}
        model = reduce(VisionTransformer(img_size=SIDE, global_pool="avg", **sizes), "none")
        model.backbone.load_state_dict(weights)
    dropping = VisionTransformer(embed_dim=WIDTH, num_heads=4, depth=DEPTH, drop_path_rate=drop_path)
    for block, other in zip(model.backbone.blocks, dropping.blocks, strict=True):
        block.drop_path1, block.drop_path2 = other.drop_path1, other.drop_path2
    return model.double().requires_grad_(True).train()


def names_of(model: ReducedModel) -> dict[str, str]:
    """Our parameters' names by the official ones."""
    found = {}
    for name, _ in model.named_parameters():
        theirs = name.removeprefix("backbone.")
        if name.startswith("method.croppers."):
            _, _, layer, inner = name.split(".", 3)
            inner = inner.replace("aggregator.head.0.", "head.norm.").replace("aggregator.head.1.", "head.head.")
            inner = inner if inner.startswith("head.") else f"cross_attn.{inner.removeprefix('aggregator.')}"
            for own, official_name in {"mlp.0.": "mlp_norm.", "mlp.1.": "mlp.fc1.", "mlp.3.": "mlp.fc2."}.items():
                inner = inner.replace(own, official_name)
            theirs = f"cropr.{layer}.{inner}"
        found[theirs] = name
    return found


def run_of(name: str, case: dict[str, Any]) -> _Run:
    """A training of ours of as many updates."""
    data = data_set({"recipe": "digit-scenes", "canvas": SIDE, "train": UPDATES * BATCH, "validation": 10})
    recipe = RECIPE.model_copy(update=OWN[name])
    return _Run(model_of(name, case, recipe.drop_path), Training(data, recipe, seed=0))


def hand_over(run: _Run, rates: list[float]) -> None:
    """Have updates use these rates instead of those of the recipe."""

    def step_update(done: int) -> None:
        for group in run.optimizer.param_groups:
            group["lr"] = rates[done] * group.get("lr_scale", 1.0)

    run.scheduler.step_update = step_update


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_has_the_official_scale_and_decay(name: str) -> None:
    """Of its rate, by layer; and no parameter is left out."""
    case = case_of(f"recipes/{name}")
    run = run_of(name, case)
    known = {id(parameter): own for own, parameter in run.model.named_parameters()}
    found = {
        known[id(parameter)]: (group.get("lr_scale", 1.0), group["weight_decay"])
        for group in run.optimizer.param_groups
        for parameter in group["params"]
    }
    names = names_of(run.model)
    assert names.keys() == case["groups"].keys()
    for theirs, ours in names.items():
        assert found[ours] == pytest.approx(case["groups"][theirs]), theirs


@pytest.mark.parametrize("name", CASES)
def test_rates_are_the_official_ones(name: str) -> None:
    """At every update, but for the warm-up of Cropr and the epochs of EViT and IdleViT (departures 1 and 2)."""
    rates, run, found = case_of(f"recipes/{name}")["rates"], run_of(name, case_of(f"recipes/{name}")), []
    for update in range(UPDATES * EPOCHS):
        run.scheduler.step_update(update)
        found.append(run.optimizer.param_groups[0]["lr"] / run.optimizer.param_groups[0].get("lr_scale", 1.0))
    rising = [RECIPE.learning_rate * update / UPDATES for update in range(UPDATES)]
    assert found[:UPDATES] == pytest.approx(rising)
    if name == "mae":
        assert found == pytest.approx(rates)
    elif name.startswith("cropr"):
        assert found[UPDATES:] == pytest.approx(rates[UPDATES:])
        assert rates[:UPDATES] == pytest.approx([0.001 * max(1, update) / (UPDATES - 1) for update in range(UPDATES)])
    else:
        assert [len(set(rates[epoch * UPDATES :][:UPDATES])) for epoch in range(EPOCHS)] == [1] * EPOCHS
        assert rates[0] == rates[UPDATES]


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_are_the_official_ones(name: str) -> None:
    """Over three epochs of four updates, each of two parts that are mixed and dropped apart, at the official rates."""
    case = case_of(f"recipes/{name}")
    run = run_of(name, case)
    names = names_of(run.model)
    if name == "evit":
        run.model.eval()  # officially fine-tuned so
    start = {ours: parameter.detach().clone() for ours, parameter in run.model.named_parameters()}
    parameters = dict(run.model.named_parameters())
    hand_over(run, case["rates"])
    losses = []
    for update in range(UPDATES * EPOCHS):
        before = run.total
        pixels = torch.from_numpy(images(BATCH, SIDE, SIDE, 2 + update)).double()
        run._update(pixels, (torch.arange(BATCH) * 3 + update) % CLASSES, BATCH)
        losses.append((run.total - before) / BATCH)
        for theirs, wanted in case["gradients"].get(str(update), {}).items():
            gradient: Any = parameters[names[theirs]].grad
            found = [gradient.norm().item(), (gradient * start[names[theirs]]).sum().item()]
            assert found == pytest.approx(wanted, rel=LIMIT, abs=LIMIT * wanted[0]), (update, theirs)
    assert losses == pytest.approx(case["losses"], rel=LIMIT)
    assert max(losses) - min(losses) > 0.1
    for theirs, norm in case.get("averaged", {}).items():
        averaged = dict(run.scored.named_parameters())[names[theirs]]
        assert averaged.norm().item() == pytest.approx(norm, rel=LIMIT), theirs


def test_what_comes_after_the_blocks_has_the_whole_rate() -> None:
    """A last norm, attention pooling and whatever a method adds; what comes before has the lowest."""
    found = {"norm": 6, "attn_pool.q": 6, "head": 6, "norm_pre": 0, "patch_embed.proj": 0, "blocks.3.attn.qkv": 4}
    assert {name: _layer(f"backbone.{name}.weight", DEPTH) for name in found} == found
    assert _layer("method.croppers.0.queries", DEPTH) == 6
