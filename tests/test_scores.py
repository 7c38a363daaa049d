"""What scores of patches follow: by hand for scores that are made up, and while a study trains."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from backbones import BACKBONES
from tiny_study import RUN, suite, write
from torch import Tensor

from suite.data.dataset import data_set
from suite.measure.scores import Scored, probe, score_facts
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.tokens import Tokens
from suite.tasks.loop import optimizer_for
from suite.tasks.recipe import TrainingRecipe
from suite.tasks.task import task

IMAGES, PATCHES = 30, 64
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
    facts = score_facts(model, images, shown, LABELS)
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
    facts = score_facts(model, images, shown, LABELS)
    assert [facts[f"position_share/{layer}"] for layer in range(3)] == pytest.approx([1, 1, 1])
    assert facts["foreground_kept/2"] == pytest.approx(100 * float((shown[:, 48:] > 0).sum() / (shown > 0).sum()))
    assert not any(name.startswith("auxiliary") for name in facts), "there are no heads"
    assert score_facts(reduce(BACKBONES["vit"](), "tome", (16, 16, 16, 0)), images, shown, LABELS) == {}


def test_a_look_changes_nothing() -> None:
    """Neither modes, counts nor what random numbers come next."""
    data = data_set({"recipe": "digit-scenes", "canvas": 32, "train": 1, "validation": 20})
    model = reduce(BACKBONES["vit"](), "random", (16, 16, 16, 0)).train()
    model.method.counts = (1, 0, 0, 0)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    facts = probe(model, data, task("classification"))()
    assert facts.keys() >= {"position_share/2", "foreground_kept/2"}, "under the whole schedule"
    assert torch.equal(torch.rand(1), expected)
    assert (model.training, model.method.training, model.method.counts) == (True, True, (1, 0, 0, 0))


def test_a_direction_turns() -> None:
    """Away from where it was when the probe was made; the norm is that of the sum of all queries."""
    data = data_set({"recipe": "digit-scenes", "canvas": 32, "train": 1, "validation": 2})
    model = reduce(BACKBONES["vit"](), "cropr", (16, 16, 16, 0), {"queries": 2})
    look = probe(model, data, task("classification"))
    assert look()["direction_cosine/1"] == pytest.approx(1)
    with torch.no_grad():
        model.method.croppers["1"].queries.mul_(-3)
    facts = look()
    assert facts["direction_cosine/1"] == pytest.approx(-1)
    assert facts["direction_norm/1"] == pytest.approx(float(model.method.croppers["1"].folded().detach().norm()))


def test_a_study_tracks_scores(tmp_path: Path) -> None:
    """After every epoch, in `curves.csv` and a figure; it trains as it would without. The table has the own rate."""
    recipe = {"epochs": 2, "learning_rate": 1e-3, "method_learning_rate": 5e-3, "batch_size": 16}
    rows = {"methods": ["random", "cropr"], "seeds": [0], "speed": None, "finetune": recipe}
    found = {}
    for name, asked in (("with", {"track_scores": True}), ("without", {})):
        (tmp_path / name).mkdir()
        write(tmp_path / name, **rows, **asked)
        assert suite(tmp_path / name, *RUN).returncode == 0
        assert suite(tmp_path / name, "figures", "trial").returncode == 0
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
        "own parameters, such as queries and auxiliary heads, learn at 0.005: cropr."
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
