"""Training learns, stops with a sentence when it cannot, and repeats itself to the bit."""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from backbones import BACKBONES
from tiny_study import RUN, here, write
from torch import Tensor
from torch.nn import functional as F

from suite.data.dataset import DataSet, Examples, Split
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import modules
from suite.tasks.classification.recipe import ClassificationRecipe
from suite.tasks.classification.train import predicted, train, training_loss
from suite.tasks.loop import TrainingFailed, clip, to_input
from suite.tasks.task import Epoch, Training

# isort: split
from timm.optim import create_optimizer_v2

KINDS = ("cropr", "evit", "idlevit", "tome")  # one that trains modules of its own, fuses, idles, merges
REMOVED = (9, 8, 8, 0)
unpruned = ReducedModel.unpruned
RECIPE = ClassificationRecipe(epochs=3, batch_size=16, learning_rate=5e-3, warmup_epochs=0.5, label_smoothing=0.1)


@functools.cache
def few_scenes() -> tuple[Examples, Examples]:
    """Noisy scenes whose colour tells their class: 40 to train on, so that the last batch is a smaller one, and 20."""
    draw = np.random.default_rng(0)
    colours = draw.integers(0, 256, (10, 3, 1, 1))

    def make(count: int) -> Examples:
        labels = np.arange(count) % 10
        images = (0.7 * colours[labels] + draw.integers(0, 77, (count, 3, 32, 32))).astype(np.uint8)
        return Examples(images, {"labels": labels, "maps": np.zeros((count, 32, 32), np.uint8)})

    return make(40), make(20)


class FewScenes(DataSet):
    """These scenes as a data set."""

    targets: ClassVar = {"labels": 10}  # type: ignore[assignment]
    digest: ClassVar = "few"  # type: ignore[assignment]

    def open(self, split: Split) -> Examples:
        return few_scenes()[split == "validation"]


DATA = FewScenes(recipe="few")


def fresh(method: str, backbone: str = "vit") -> ReducedModel:
    """The same model, with timm's own initialisation, every time it is called."""
    torch.manual_seed(0)
    return reduce(BACKBONES[backbone](), method, REMOVED)


def trained(model: ReducedModel, seed: int = 0, recipe: ClassificationRecipe = RECIPE) -> list[Epoch]:
    """Train on the few scenes; noise of methods and drop path is seeded too."""
    torch.manual_seed(seed)
    return list(train(model, Training(DATA, recipe, seed)))


@pytest.mark.parametrize("method", sorted(modules()))
def test_loss_falls(method: str) -> None:
    """Five epochs on forty scenes take a fifth off the loss of the first, or more, whatever the method."""
    epochs = trained(fresh(method), recipe=RECIPE.model_copy(update={"epochs": 5}))
    assert [epoch.epoch for epoch in epochs] == [0, 1, 2, 3, 4]
    assert epochs[-1].loss < 0.8 * epochs[0].loss
    assert 0 <= epochs[-1].scores["acc1"] <= 100
    assert epochs[-1].learning_rate < epochs[0].learning_rate


def test_memorising_shows_in_accuracy() -> None:
    """Measured on its own training scenes, a model that trains on is right far more often than by chance."""
    model = fresh("variance")
    scenes, _ = few_scenes()
    before = predicted(model, DATA, RECIPE, "train") == scenes.targets["labels"]
    trained(model, recipe=RECIPE.model_copy(update={"epochs": 12}))
    after = predicted(model, DATA, RECIPE, "train") == scenes.targets["labels"]
    assert after.mean() >= 0.8 > 0.3 >= before.mean()
    images, labels = to_input(torch.from_numpy(scenes.images)), torch.from_numpy(scenes.targets["labels"])
    assert images.min() >= -1
    assert images.max() <= 1
    assert after.tolist() == (model.eval()(images).argmax(1) == labels).tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_poisoned_weight_stops_training(value: float) -> None:
    """A loss that is not finite raises TrainingFailed at once and says where, at what rate, and what to try."""
    model = fresh("cropr")
    with torch.no_grad():
        model.backbone.head.bias[0] = value
    with pytest.raises(TrainingFailed, match=r"became nan in epoch 0 \(update 0, learning rate .*lower learning_rate"):
        trained(model)


def test_a_huge_learning_rate_stops_training() -> None:
    """A loss that blows up on the way raises TrainingFailed too, after the first update."""
    with pytest.raises(TrainingFailed, match=r"update [1-5], learning rate .*clip_gradient"):
        trained(fresh("none"), recipe=ClassificationRecipe(epochs=2, batch_size=16, learning_rate=1e30))


@pytest.mark.parametrize("method", ["random", "cropr"])
def test_same_seed_same_bits(method: str) -> None:
    """The same seed gives the same epochs and weights to the bit, drop path and random scores included."""
    runs = []
    for seed in (3, 3, 4):
        model = fresh(method, "vit stochastic")
        runs.append((trained(model, seed), model.state_dict()))
    (epochs, weights), (again, same), (others, different) = runs
    assert again == epochs
    assert all(torch.equal(same[key], value) for key, value in weights.items())
    assert [epoch.loss for epoch in others] != [epoch.loss for epoch in epochs]
    changed = [key for key, value in weights.items() if not torch.equal(different[key], value)]
    assert "backbone.head.weight" in changed


def images_seen(method: str, seed: int) -> list[Tensor]:
    """The batches a method trains on, in order."""
    model, seen = fresh(method), []

    def spy(_module: object, inputs: tuple[Tensor]) -> None:
        if model.training:
            seen.append(inputs[0].clone())

    model.backbone.patch_embed.register_forward_pre_hook(spy)
    trained(model, seed)
    return seen


def test_every_method_sees_the_same_batches() -> None:
    """Data order depends on the seed alone, so runs pair up across methods; every scene comes once per epoch."""
    first = images_seen("none", 0)
    assert [len(batch) for batch in first] == [16, 16, 8] * 3
    for method in ("random", "cropr", "idlevit"):  # it draws, has modules, has a loss of its own
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(images_seen(method, 0), first, strict=True))
    assert not torch.equal(images_seen("none", 1)[0], first[0])
    assert not torch.equal(first[0], first[3])
    scenes = to_input(torch.from_numpy(few_scenes()[0].images)).flatten(1).sum(1).sort().values
    for epoch in range(3):
        batches = torch.cat(first[3 * epoch : 3 * epoch + 3]).flatten(1).sum(1)
        torch.testing.assert_close(batches.sort().values, scenes)


def test_the_rate_rises_and_falls_to_its_end() -> None:
    """Linear warm-up is part of the epochs: the cosine ends with them, and the peak is the rate asked for."""
    recipe = RECIPE.model_copy(update={"epochs": 5, "warmup_epochs": 1.0, "batch_size": 4, "min_learning_rate": 1e-6})
    rates = [epoch.learning_rate for epoch in trained(fresh("none"), recipe=recipe)]
    assert rates[0] == pytest.approx(recipe.learning_rate, rel=0.15), "the warm-up ends with the first epoch"
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.01 * recipe.learning_rate


def test_clipping_keeps_backbone_and_method_apart() -> None:
    """Large gradients of a method's own modules do not shorten the backbone's."""
    model = fresh("cropr")
    for part, scale in ((model.backbone, 3.0), (model.method, 1e6)):
        for parameter in part.parameters():
            parameter.grad = torch.full_like(parameter, scale)
    clip(model, 1.0)
    for part in (model.backbone, model.method):
        gradients = [parameter.grad.flatten() for parameter in part.parameters() if parameter.grad is not None]
        assert torch.cat(gradients).norm().item() == pytest.approx(1.0, abs=1e-4)


def test_what_timm_keeps_from_weight_decay_stays_so() -> None:
    """Position embedding, class token, biases and norms are not decayed; matrices and queries are."""
    model = fresh("cropr")
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    free = {
        names[id(parameter)]
        for group in optimizer.param_groups
        if group["weight_decay"] == 0
        for parameter in group["params"]
    }
    assert {"backbone.pos_embed", "backbone.cls_token", "backbone.norm.weight"} <= free
    assert not any(name.endswith(("qkv.weight", "queries")) for name in free)


def test_a_curriculum_raises_the_counts() -> None:
    """Counts of each epoch while it trains; validation in an epoch removes as much, and the end is the schedule."""
    model, seen = fresh("cropr"), []
    count = model.method.forward_block

    def spy(block: torch.nn.Module, tokens: object, layer: int) -> object:
        seen.append((model.training, model.method.counts))
        return count(block, tokens, layer)

    model.method.forward_block = spy  # type: ignore[method-assign]
    trained(model, recipe=RECIPE.model_copy(update={"epochs": 4, "curriculum": "official"}))
    epochs = [(1, 0, 0, 0), (9, 8, 8, 0), (9, 8, 8, 0), (9, 8, 8, 0)]
    for training in (True, False):
        found = [counts for mode, counts in seen if mode == training]
        assert found == [counts for counts in epochs for _ in range(len(found) // 4)]


@pytest.mark.parametrize("weight", [0.0, 5.0])
def test_the_unpruned_model_teaches_idlevit(weight: float) -> None:
    """With a weight, the loss has divergence and features of the model training started from, which itself stays."""
    torch.manual_seed(0)
    model = reduce(BACKBONES["vit"](), "idlevit", REMOVED, {"distillation_weight": weight})
    teacher, started = model.unpruned(), {key: x.clone() for key, x in model.backbone.state_dict().items()}
    scenes, _ = few_scenes()
    images, labels = to_input(torch.from_numpy(scenes.images)), torch.from_numpy(scenes.targets["labels"])
    model.train()
    output, reference = model.outputs(images), teacher.outputs(images)
    extra = (
        weight * F.kl_div(output.logits.log_softmax(1), reference.logits.softmax(1), reduction="batchmean")
        + 100 * weight * (F.normalize(output.feature) - F.normalize(reference.feature)).square().mean()
    )
    cut = model.method.auxiliary_loss(output.auxiliary, labels, F.cross_entropy)
    total = training_loss(model, images, labels, F.cross_entropy, teacher if weight else None)
    torch.testing.assert_close(total, F.cross_entropy(output.logits, labels) + cut + extra)
    assert (extra > 0.01) == (weight > 0)
    assert [p for p in teacher.parameters() if p.requires_grad] == []
    trained(model)
    assert all(torch.equal(teacher.backbone.state_dict()[key], x) for key, x in started.items())
    assert not torch.equal(model.backbone.head.weight, started["head.weight"])


def test_only_who_asks_gets_a_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training copies the unpruned model when the settings say that the method learns from it."""
    made: list[ReducedModel] = []
    monkeypatch.setattr(ReducedModel, "unpruned", lambda model: made.append(model) or unpruned(model))
    trained(fresh("idlevit"))
    assert made == []
    model = reduce(BACKBONES["vit"](), "idlevit", REMOVED, {"distillation_weight": 1.0})
    trained(model)
    assert made == [model]


def test_a_method_without_distillation_says_so() -> None:
    """Asking for a teacher without a loss is the method's mistake, named."""
    model = fresh("random")
    output = model.outputs(torch.zeros(1, 3, 32, 32))
    with pytest.raises(NotImplementedError, match="Random asks for a teacher and has no distillation_loss"):
        model.method.distillation_loss(output, output)


@pytest.mark.slow
def test_a_compiled_training_has_the_losses_of_an_eager_one(tmp_path: Path) -> None:
    """With Cropr's heads, in both directions, through the record."""
    found = []
    for compiled in (False, True):
        finetune = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16, "compile": compiled}
        write(tmp_path, methods=["cropr"], seeds=[0], speed=None, finetune=finetune)
        done = here(tmp_path, *RUN)
        assert done.returncode == 0, done.stdout + done.stderr
        with (tmp_path / "results/trial/curves.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["metric"] == "loss" and row["row"] == "cropr"]
        found.append([float(row["value"]) for row in rows])
    assert len(found[0]) == 2
    assert found[1] == pytest.approx(found[0], abs=1e-4)


def test_a_training_without_a_compiler_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `validate`, `plan` and `run`, in a sentence; not where nothing is compiled."""

    def refuse(*_arguments: object) -> object:
        raise RuntimeError("no working C++ compiler")

    monkeypatch.setattr(torch, "compile", refuse)
    said = "training: torch.compile cannot compile anything here (RuntimeError: no working C++ compiler); install a"
    for compiled in (True, False):
        finetune = {"epochs": 1, "learning_rate": 1e-3, "compile": compiled}
        write(tmp_path, methods=["none"], seeds=[0], speed=None, finetune=finetune)
        validated, planned = here(tmp_path, "validate", "trial.yaml"), here(tmp_path, "plan", "trial.yaml")
        assert (f"missing input: {said}" in validated.stdout) == compiled
        assert (f"missing input: {said}" in planned.stderr) == compiled
    write(tmp_path, methods=["none"], seeds=[0], speed=None, finetune=finetune | {"compile": True})
    done = here(tmp_path, *RUN)
    assert done.returncode == 2
    assert f"error: {said}" in done.stderr
