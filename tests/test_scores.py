"""What scores of patches follow: by hand for scores that are made up, and while a study trains."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from backbones import BACKBONES
from tiny_study import RUN, here, write
from torch import Tensor

from baselines.cropr import Cropr
from suite.contract.run import CHECKS, SLOW, judge
from suite.data.dataset import data_set
from suite.kinds.training import execute
from suite.measure.scores import Scored, Shown, _accuracy, probe, score_facts
from suite.measure.scores import shown as shown_of
from suite.reduction.backbone import create_backbone
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.tokens import Tokens
from suite.tasks.loop import optimizer_for
from suite.tasks.recipe import TrainingRecipe
from suite.tasks.task import task

IMAGES, PATCHES = 30, 64
VARIANTS = Path(__file__).parents[1] / "studies/variants"
SMALL = {"img_size": 32, "patch_size": 4, "embed_dim": 32, "depth": 4, "num_heads": 2}
WHERE = torch.arange(PATCHES).expand(IMAGES, -1)
LABELS = torch.zeros(IMAGES, dtype=torch.long)


@pytest.fixture
def shown() -> Tensor:
    """How much of each patch shows an object: a few patches of each image, at random places."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(IMAGES, PATCHES, generator=generator).sub(0.9).clamp(min=0)


def test_the_share_of_the_position() -> None:
    """Two positions, two images: by hand. A level of the whole image counts for nothing."""
    where, level = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[100.0], [-7.0]])
    by_place, by_content = torch.tensor([[1.0, 3.0], [3.0, 1.0]]), torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    assert Scored(by_place + level, where).position_share(4) == pytest.approx(1)
    assert Scored(by_content + level, where).position_share(4) == pytest.approx(0, abs=1e-6)
    elsewhere = Scored(torch.tensor([[0.0, 1.0], [1.0, 2.0]]), torch.tensor([[0, 1], [1, 2]]))
    assert elsewhere.position_share(4) == pytest.approx(1), "also where images have kept other patches"
    three = Scored(torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([[0, 1]] * 3))
    assert three.position_share(2) == pytest.approx(1 / 9), "means are off by a sixth where scores are by a half"


def test_a_fused_patch_has_no_position() -> None:
    """Whatever it scores."""
    where, scores = torch.tensor([[0, 1, -1], [1, 0, -1]]), torch.tensor([[1.0, 3.0, 99.0], [3.0, 1.0, -5.0]])
    found = Scored(scores, where)
    assert found.position_share(2) == pytest.approx(1)
    assert found.correlation(torch.tensor([[1.0, 3.0], [1.0, 3.0]])) == pytest.approx(1)
    assert found.correlation(torch.tensor([[3.0, 1.0], [3.0, 1.0]])) == pytest.approx(-1)


def scoring(monkeypatch: pytest.MonkeyPatch, score: Callable[[Tokens], Tensor], method: str = "cropr") -> ReducedModel:
    """A model whose patches are scored so."""
    torch.manual_seed(0)
    model = reduce(BACKBONES["vit"](), method, (16, 16, 16, 0))
    monkeypatch.setattr(type(model.method), "score", lambda _self, tokens, _projection, _layer: score(tokens))
    return model


@pytest.mark.parametrize(("sign", "left"), [(1, 100), (-1, 0)])
def test_scores_that_follow_objects(monkeypatch: pytest.MonkeyPatch, shown: Tensor, sign: int, left: float) -> None:
    """They correlate in every block, also where patches are gone, and objects stay or leave first."""
    model = scoring(monkeypatch, lambda tokens: sign * shown.gather(1, tokens.where))
    images = torch.zeros(IMAGES, 3, *model.backbone.patch_embed.img_size)
    facts = score_facts(model, Shown(images, LABELS, shown))
    assert facts["foreground_correlation/0"] == pytest.approx(sign, rel=1e-4)
    assert facts["foreground_kept/2"] == left
    assert facts["position_share/0"] < 0.1
    assert 0 <= facts["auxiliary_accuracy/0"] <= 100
    assert facts["auxiliary_loss/0"] > 0
    names = {"position_share", "foreground_correlation", "foreground_kept", "auxiliary_loss", "auxiliary_accuracy"}
    assert facts.keys() == {f"{name}/{layer}" for name in names for layer in range(3)}
    assert "score" not in vars(model.method), "the method has its own scores again"


def test_scores_that_follow_the_position(monkeypatch: pytest.MonkeyPatch, shown: Tensor) -> None:
    """All of their variance, in every block."""
    model = scoring(monkeypatch, lambda tokens: tokens.where.float(), "attention-topk")
    images = torch.zeros(IMAGES, 3, *model.backbone.patch_embed.img_size)
    facts = score_facts(model, Shown(images, LABELS, shown))
    assert [facts[f"position_share/{layer}"] for layer in range(3)] == pytest.approx([1, 1, 1])
    assert facts["foreground_kept/2"] == pytest.approx(100 * float((shown[:, 48:] > 0).sum() / (shown > 0).sum()))
    assert not any(name.startswith("auxiliary") for name in facts), "there are no heads"
    unscored = reduce(BACKBONES["vit"](), "tome", (16, 16, 16, 0))
    assert score_facts(unscored, Shown(images, LABELS, shown)) == {}


@pytest.mark.parametrize("method", ["random", str(VARIANTS / "content_only.py")])
def test_a_look_changes_nothing(method: str) -> None:
    """Neither modes, counts, a method's own means nor what random numbers come next."""
    data = data_set({"recipe": "digit-scenes", "canvas": 32, "train": 1, "validation": 20})
    model = reduce(BACKBONES["vit"](), method, (16, 16, 16, 0)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.method.counts = (1, 0, 0, 0)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    facts = probe(model, data, task("classification"))(model)
    assert facts.keys() >= {"position_share/2", "foreground_kept/2"}, "under the whole schedule"
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (model.training, model.method.training, model.method.counts) == (True, True, (1, 0, 0, 0))


def test_smaller_images_of_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are padded as in training, and no head is right or wrong about the padding."""
    data = data_set({"recipe": "digit-scenes", "canvas": 30, "digits": 2, "train": 1, "validation": 20})
    backbone = create_backbone("vit_tiny_patch16_224", SMALL, classes=11, drop_path=0.0)
    model = reduce(backbone, "cropr", (16, 16, 0, 0), {"queries": 64}, "last-layer")
    monkeypatch.setattr(Cropr, "auxiliary_loss", lambda *_: None)
    at = shown_of(model, data, task("segmentation"))
    assert at.images.shape[2:] == (32, 32)
    assert at.target is not None
    assert at.foreground is not None
    maps = data.open("validation").targets["maps"]
    assert not (at.target[:, :7] == 255).any()
    assert at.foreground.sum() * 16 == pytest.approx(float((maps != 10).sum()))
    facts = score_facts(model, at)
    assert 0 <= facts["auxiliary_accuracy/0"] <= 100
    assert "auxiliary_loss/0" not in facts


def test_heads_are_right_by_classes() -> None:
    """The mean over the classes that there are, so that always saying the commonest gains nothing."""
    labels = torch.tensor([0] * 8 + [1, 2, 255])
    always = torch.eye(3)[torch.zeros(11, dtype=torch.long)]
    assert _accuracy(always, labels) == pytest.approx(100 / 3)
    assert _accuracy(torch.eye(3)[labels.clamp(max=2)], labels) == 100


@pytest.mark.parametrize("variant", sorted(path.name for path in VARIANTS.glob("*.py")))
@pytest.mark.parametrize("check", [name for name in CHECKS if name not in SLOW])
def test_variants_keep_the_contract(variant: str, check: str) -> None:
    """As installed methods do; but that means are of the batch in training, as in batch normalisation."""
    if (variant, check) == ("content_only.py", "batch"):
        return
    result = judge(str(VARIANTS / variant), "vit", check)
    assert result.status in ("holds", "skipped"), result.reason


def test_content_only_knows_positions_in_every_block() -> None:
    """In training as in evaluation: after a pass every mean is that of the patches at its position."""
    found = []
    for look in (ReducedModel.outputs, lambda model, images: list(model.steps(images, track=True))):
        torch.manual_seed(0)
        model = reduce(BACKBONES["vit"](), str(VARIANTS / "content_only.py"), (16, 16, 16, 0)).train()
        look(model, torch.rand(4, 3, *model.backbone.patch_embed.img_size))
        found.append(model.method)
    assert torch.equal(found[0].means, found[1].means)
    assert torch.equal(found[0].seen, found[1].seen)
    assert found[0].seen[2].any()


def test_a_direction_turns() -> None:
    """Away from where it was when the probe was made; the norm is that of the sum of all queries."""
    data = data_set({"recipe": "digit-scenes", "canvas": 32, "train": 1, "validation": 2})
    model = reduce(BACKBONES["vit"](), "cropr", (16, 16, 16, 0), {"queries": 2})
    look = probe(model, data, task("classification"))
    assert look(model)["direction_cosine/1"] == pytest.approx(1)
    with torch.no_grad():
        model.method.croppers["1"].queries.mul_(-3)
    facts = look(model)
    assert facts["direction_cosine/1"] == pytest.approx(-1)
    assert facts["direction_norm/1"] == pytest.approx(float(model.method.croppers["1"].folded().detach().norm()))


def test_scores_are_those_of_averaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where these are scored, which are never in training mode."""
    monkeypatch.setattr(execute, "probe", lambda *_: lambda model: {"evaluates": float(not model.training)})
    recipe = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16, "ema": 0.5}
    write(tmp_path, methods=["cropr"], seeds=[0], speed=None, finetune=recipe, track_scores=True)
    assert here(tmp_path, *RUN).returncode == 0
    with (tmp_path / "results/trial/curves.csv").open() as file:
        found = [row["value"] for row in csv.DictReader(file) if row["metric"] == "evaluates"]
    assert set(map(float, found)) == {1.0}


@pytest.mark.slow
def test_a_study_tracks_scores(tmp_path: Path) -> None:
    """After every epoch, in `curves.csv` and a figure; it trains as it would without. The table has the own rate."""
    recipe = {"epochs": 2, "learning_rate": 1e-3, "method_learning_rate": 5e-3, "batch_size": 16}
    rows = {"methods": ["random", "cropr"], "seeds": [0], "speed": None, "finetune": recipe}
    found = {}
    for name, asked in (("with", {"track_scores": True}), ("without", {})):
        (tmp_path / name).mkdir()
        write(tmp_path / name, **rows, **asked)
        assert here(tmp_path / name, *RUN).returncode == 0
        assert here(tmp_path / name, "figures", "trial").returncode == 0
        with (tmp_path / name / "results/trial/curves.csv").open() as file:
            found[name] = list(csv.DictReader(file))
    tracked = [line for line in found["with"] if "/" in line["metric"]]
    assert {(line["row"], line["epoch"]) for line in tracked} == {
        (row, str(e)) for row in rows["methods"] for e in (1, 2)
    }
    values = [
        sorted((one["row"], one["metric"], one["epoch"], one["value"]) for one in lines)
        for lines in ([line for line in found["with"] if "/" not in line["metric"]], found["without"])
    ]
    assert values[0] == values[1]
    assert (tmp_path / "with/results/trial/scores.png").is_file()
    assert not (tmp_path / "without/results/trial/scores.png").exists()
    assert (
        "such as queries and auxiliary heads, learns at 0.005: cropr."
        in (tmp_path / "without/results/trial/table.md").read_text()
    ), "random pruning has none"


def test_own_parameters_of_a_method_learn_at_their_own_rate() -> None:
    """At every update, in proportion; all others learn as without."""
    model = reduce(BACKBONES["vit"](), "cropr", (16, 16, 16, 0))
    recipe = TrainingRecipe(
        epochs=4, warmup_epochs=1, learning_rate=1e-3, min_learning_rate=0, method_learning_rate=5e-3
    )
    optimizer, scheduler = optimizer_for(model, recipe, updates=3)
    plain, other = optimizer_for(model, recipe.model_copy(update={"method_learning_rate": None}), updates=3)
    own = {id(parameter) for parameter in model.method.parameters()}
    for update in range(12):
        scheduler.step_update(update)
        other.step_update(update)
        rate = plain.param_groups[0]["lr"]
        rates = {(id(one) in own, round(group["lr"], 9)) for group in optimizer.param_groups for one in group["params"]}
        assert rates == {(False, round(rate, 9)), (True, round(5 * rate, 9))}
    decayed = [
        {id(one) for group in found.param_groups if group["weight_decay"] for one in group["params"]}
        for found in (optimizer, plain)
    ]
    assert decayed[0] == decayed[1]
