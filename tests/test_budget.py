"""Budgets: which strength of a method meets one, by hand and by search over every setting; studies that say one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cost_oracle import count_macs
from tiny_study import STUDY, suite

from suite.errors import UserError
from suite.kinds.training.cells import expand
from suite.measure.strength import Strengths, choices
from suite.reduction.backbone import create_backbone
from suite.reduction.model import reduce
from suite.reduction.registry import modules, settings_class
from suite.reduction.schedule import Schedule
from suite.reduction.settings import Fusion
from suite.study.budget import meet
from suite.study.configuration import Configuration
from suite.study.load import load
from suite.study.schema import Budget

METHODS = sorted(set(modules()) - {"none"})
OPTIONS = {"img_size": 64, "patch_size": 8, "embed_dim": 48, "depth": 8, "num_heads": 4}


def mean_tokens(schedule: Schedule) -> float:
    """A cost that can be had by hand: the share of patches that enter blocks."""
    return sum(schedule.entering) / schedule.patches / schedule.depth


def configuration(method: str, **more: Any) -> Configuration:
    """A method on a small ViT of 64 patches."""
    return Configuration.model_validate(
        {"backbone": {"name": "vit_tiny_patch16_224", "options": OPTIONS}, "method": method, "classes": 10} | more
    )


def strengths(method: str, patches: int, depth: int, fusion: Fusion = "none") -> Strengths:
    """All settings of a method on a grid of its own, which cost tokens."""
    found = choices(settings_class(method)(), fusion, patches, depth)
    return Strengths(found, lambda number: mean_tokens(found[number].schedule))


@pytest.mark.parametrize(
    ("method", "fusion", "wanted", "removed"),
    [
        ("random", "none", 0.75, (2, 2, 2, 0)),  # 12 10 8 6 of 12 enter, three quarters of all
        ("tome", "none", 0.01, (6, 3, 1, 1)),  # half of what is there, each time
        ("cropr", "last-layer", 0.75, (2, 3, 0, 0)),
    ],
)
def test_by_hand(method: str, fusion: Fusion, wanted: float, removed: tuple[int, ...]) -> None:
    """Of 12 patches in 4 blocks."""
    own = strengths(method, 12, 4, fusion)
    found = own.choices[own.nearest(wanted)]
    assert found.schedule.removed == removed
    assert method != "random" or found.strength == "2.0 patches a block"


@pytest.mark.parametrize("method", METHODS)
def test_no_setting_is_nearer(method: str) -> None:
    """All settings, each once, from nothing to the most; bisection finds the nearest of all."""
    own = strengths(method, 64, 8)
    costs = [own.cost(number) for number in range(len(own.choices))]
    assert len({choice.schedule for choice in own.choices}) == len(costs)
    assert not any(own.choices[0].schedule.removed)
    assert costs == sorted(costs, reverse=True)
    for wanted in (share / 500 for share in range(1, 501)):
        assert abs(own.cost(own.nearest(wanted)) - wanted) == min(abs(cost - wanted) for cost in costs)


@pytest.mark.parametrize("method", METHODS)
def test_the_model_really_costs_that(method: str) -> None:
    """Built for real and counted by torch, it uses the share that was asked for."""
    solution = meet(configuration(method), Budget(macs=0.63))
    assert solution.meets
    import torch

    backbone = create_backbone("vit_tiny_patch16_224", OPTIONS, 10).eval()
    image = torch.zeros(1, 3, 64, 64)
    whole = count_macs(backbone, image).full
    model = reduce(backbone, method, solution.choice.schedule.removed).deploy()
    assert count_macs(model, image).full / whole == pytest.approx(solution.share, rel=2e-3)


def test_tokens_are_another_budget() -> None:
    """Mean tokens per block fall more slowly than multiply-accumulates do where attention counts."""
    tokens, macs = (meet(configuration("random"), Budget(**{kind: 0.6})) for kind in ("tokens", "macs"))
    assert tokens.meets
    assert tokens.choice.schedule.removed != macs.choice.schedule.removed
    model = reduce(create_backbone("vit_tiny_patch16_224", OPTIONS, 10), "random", tokens.choice.schedule.removed)
    mean = sum(65 - 64 + left for left in model.method.context.schedule.entering) / 8 / 65
    assert mean == pytest.approx(tokens.share)


def test_a_study_may_say_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row has counts of its own under one label; the cells are those of the counts."""
    monkeypatch.chdir(tmp_path)
    rows = ["none", "random", "tome", {"method": "cropr", "fusion": "last-layer"}]
    study = STUDY | {"schedules": [{"budget": {"macs": 0.8}}], "methods": rows, "speed": None}
    (tmp_path / "trial.yaml").write_text(json.dumps(study))
    cells = [cell for cell in expand(load("trial.yaml").study) if cell.kind == "accuracy"]
    counts = {cell.row: tuple(cell.identity["removed"]) for cell in cells}
    assert len(set(counts.values())) == 4
    assert {cell.schedule for cell in cells} == {"none", "0.8 of MACs (full)"}
    (tmp_path / "plain.yaml").write_text(
        json.dumps(study | {"schedules": [{"removed": counts["tome"]}], "methods": ["tome"]})
    )
    plain = {cell.cell_id for cell in expand(load("plain.yaml").study) if cell.row == "tome"}
    assert plain == {cell.cell_id for cell in cells if cell.row == "tome"}


@pytest.mark.parametrize("rule", [{"constant": 3, "blocks": "0-2"}, {"budget": {"macs": 0.8}}])
def test_a_study_may_round_its_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: dict[str, Any]) -> None:
    """Blocks leave 16, 12, 8 or 4 tokens, with the class token; a cell is the one of these counts, said outright."""
    monkeypatch.chdir(tmp_path)
    study = STUDY | {"methods": ["random", "tome", "evit"], "speed": None}
    (tmp_path / "rounded.yaml").write_text(json.dumps(study | {"schedules": [rule | {"multiple_of": 4}]}))
    cells = [cell for cell in expand(load("rounded.yaml").study) if cell.kind == "accuracy"]
    for cell in cells:
        counts = cell.identity["removed"]
        left = [17 - sum(counts[: block + 1]) for block in range(4)]
        assert {tokens % 4 for tokens in left if tokens < 17} == {0}, counts
        (tmp_path / "said.yaml").write_text(
            json.dumps(study | {"schedules": [{"removed": counts}], "methods": [cell.row]})
        )
        assert cell.cell_id in {same.cell_id for same in expand(load("said.yaml").study)}
    (tmp_path / "plain.yaml").write_text(json.dumps(study | {"schedules": [rule]}))
    assert not {cell.cell_id for cell in cells} & {cell.cell_id for cell in expand(load("plain.yaml").study)}


def test_halves_are_not_exceeded_by_rounding() -> None:
    """ToMe's least in multiples of 16: half of 64 patches would be rounded from 33 tokens to 32, one too many."""
    solution = meet(configuration("tome"), Budget(macs=0.05), 16)
    pairs = zip(solution.choice.schedule.removed, solution.choice.schedule.entering, strict=True)
    assert all(2 * removed <= entering for removed, entering in pairs)
    assert {(1 + left) % 16 for left in solution.choice.schedule.leaving if left < 64} == {0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedules": [{"budget": {}}]}, "a budget is either of macs or of tokens"),
        (
            {"schedules": [{"budget": {"macs": 1.5}}]},
            "schedules.0.budget.macs: must be at most 1",
        ),
        (
            {"schedules": [{"budget": {"latency": 0.6}}]},
            "schedules.0.budget.latency: a study has no budget of latency: .* may not depend on the machine.*`removed`",
        ),
        (
            {"schedules": [{"budget": {"tokens": 0.6, "convention": "full"}}]},
            "schedules.0.budget: tokens are counted in one way only",
        ),
        (
            {"schedules": [{"budget": {"macs": 0.5}, "multiple_of": 1}]},
            "schedules.0.multiple_of: must be at least 2, found 1",
        ),
        (
            {"schedules": [{"constant": 1, "blocks": "0-2", "multiple_of": 18}]},
            "no multiple of 18 lies between 2 and 17",
        ),
        ({"schedules": [{"budget": {"macs": 0.5}, "constant": 1}]}, "exactly one of .*; found constant, budget"),
        (
            {"schedules": [{"budget": {"macs": 0.5}}], "methods": [{"method": "cropr", "settings": {"queries": 0}}]},
            "methods.0.settings.queries",
        ),
    ],
)
def test_impossible_budgets_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    """By place and cause."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trial.yaml").write_text(json.dumps(STUDY | changes))
    with pytest.raises(UserError, match=message):
        load("trial.yaml")


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    """One line for each method; what cannot be asked for is said."""
    done = suite(tmp_path, "budget", "deit_tiny_patch16_224", "--macs", "0.63", "--methods", "random,evit,idlevit")
    assert done.returncode == 0, done.stderr
    for name in ("random", "evit", "idlevit"):
        assert sum(line.strip().startswith(name) for line in done.stdout.splitlines()) == 1
    refused = suite(tmp_path, "budget", "deit_tiny_patch16_224", "--macs", "0.6", "--setting", "queries=4")
    assert refused.returncode == 2
    assert "attention-topk: queries: unknown key" in refused.stderr
