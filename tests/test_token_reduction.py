"""Checkpoints of TokenReduction: how many tokens each block gets, what weights and arguments say, what is refused."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from test_official import CASES, LIMIT, assert_equal, case_of, load, options_of, save, weights_of
from torch import Tensor, nn

from suite import official
from suite.errors import UserError
from suite.kinds.official.weights import images
from suite.measure.tokens import count_tokens
from suite.reduction.model import reduce
from suite.tasks.classification.train import training_loss

NAMES = [name for name in CASES if name.startswith("token-reduction-")]
DYNAMICVIT = [name for name in NAMES if name.startswith("token-reduction-dyvit-")]
WHOLE = [f"token-reduction-dyvit-{rate}" for rate in (0.25, 0.5)]  # where shares are of whole patches
LEARN = {"dpcknn", "patchmerger", "sit", "sinkhorn", "dyvit"}  # methods with weights of their own
COUNTED = {"patchmerger", "sit", "sinkhorn"}  # whose weights say how many tokens stay


def pixels_of(case: dict[str, Any]) -> Tensor:
    """The case's images."""
    return torch.from_numpy(images(**case["image"]))


@pytest.mark.parametrize("name", NAMES)
def test_every_block_has_the_official_tokens(name: str) -> None:
    """As many enter each MLP; of ATS, which pads images to another length here, as many are no padding."""
    case = case_of(name)
    model, pixels = load(case), pixels_of(case)
    if "tokens_of_images" in case:
        assert [tokens.lengths.tolist() for tokens in model.steps(pixels)] == case["tokens_of_images"]
    else:
        assert list(count_tokens(model, pixels).mlp) == case["tokens"]


@pytest.mark.parametrize("name", NAMES)
def test_the_arguments_in_a_file_say_everything(name: str, tmp_path: Path) -> None:
    """Layout, method, blocks, rates and settings are read off what the training script saves."""
    case = case_of(name)
    options = case["options"]
    rate = options["keep_rate"]
    arguments = {key: value for key, value in options.items() if key not in ("heads", "method", "first_medoid")}
    arguments |= {"model": f"{options['method']}_small_patch16_224", "lr": 1e-3}
    arguments["keep_rate"] = rate if isinstance(rate, list) else [rate]
    content = {"model": weights_of(case["shapes"], case["seed"]), "args": argparse.Namespace(**arguments), "epoch": 3}
    more = {key: options[key] for key in ("heads", "first_medoid") if key in options}
    released = official.resolve(save(tmp_path, content), **more)
    assert released.layout.name == "token-reduction"
    assert released.origin["method"] == "checkpoint"
    with torch.no_grad():
        assert_equal(released.model(pixels_of(case)), case["logits"])


@pytest.mark.parametrize("name", [name for name in NAMES if case_of(name)["options"]["method"] in LEARN])
def test_weights_of_a_method_say_what_they_can(name: str) -> None:
    """Which method it is, and where they do how many tokens stay."""
    case = case_of(name)
    options, method = options_of(case), case["options"]["method"]
    seen = {"method", "keep_rate"} if method in COUNTED else {"method"}
    if not options.get("equal_weight", False):
        model = official.load(
            weights_of(case["shapes"], case["seed"]), **{key: x for key, x in options.items() if key not in seen}
        )
        with torch.no_grad():
            assert_equal(model(pixels_of(case)), case["logits"])


@pytest.mark.parametrize(
    ("name", "option", "other"),
    [
        ("kmedoids-1-iteration", "cluster_iters", 3),
        ("kmedoids-8-iterations", "cluster_iters", 1),
        ("kmedoids-equal-weight", "equal_weight", False),
        ("kmedoids-equal-weight-patch-21", "first_medoid", 0),
        ("dpcknn-3-neighbours", "k_neighbors", 5),
        ("sinkhorn-eps-0.1", "sinkhorn_eps", 1.0),
        ("sinkhorn-7-iterations", "cluster_iters", 1),
        ("topk-deit", "reduction_loc", [2, 5, 8]),
    ],
)
def test_every_option_matters(name: str, option: str, other: Any) -> None:
    """Another value gives other logits than the official code with this one."""
    case = case_of(f"token-reduction-{name}")
    with torch.no_grad():
        logits = load(case, **{option: other})(pixels_of(case))
    assert (logits - torch.tensor(case["logits"])).abs().max() > 1e-4


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("dynamicvit-")])
def test_dynamicvits_own_checkpoints_say_their_rate(name: str, tmp_path: Path) -> None:
    """Its training script saves a base rate."""
    case = case_of(name)
    arguments = argparse.Namespace(base_rate=case["options"]["keep_rate"], model="deit-s")
    path = save(tmp_path, {"model": weights_of(case["shapes"], case["seed"]), "args": arguments})
    released = official.resolve(path, heads=4, reduction_loc=case["options"]["reduction_loc"])
    assert released.origin["keep_rate"] == "checkpoint"
    with torch.no_grad():
        assert_equal(released.model(pixels_of(case)), case["logits"])
    assert list(count_tokens(released.model, pixels_of(case)).mlp) == case["tokens"]


def trained(case: dict[str, Any]) -> tuple[Any, Any]:
    """The model in training mode as officially, and its teacher."""
    removed = load(case).method.counts
    model = reduce(load(case).backbone, "dynamicvit", removed, {"distillation_weight": 0.5})
    model.method.load_state_dict(load(case).method.state_dict())
    teacher = model.unpruned()
    teacher.backbone.load_state_dict(weights_of(**case["training"]["teacher"]))
    return model.requires_grad_(True).train(), teacher


@pytest.mark.parametrize("name", DYNAMICVIT)
def test_dynamicvit_decides_as_officially(name: str) -> None:
    """While it trains, of the same random numbers: which patches stay, logits, and each part of the loss."""
    case = case_of(name)
    (model, teacher), recorded, pixels = trained(case), case["training"], pixels_of(case)
    torch.manual_seed(recorded["draws_seed"])
    with torch.no_grad():
        output, reference = model.outputs(pixels), teacher.outputs(pixels)
    for kept, expected in zip(output.auxiliary[:-1], recorded["kept"], strict=True):
        assert kept.int().tolist() == expected
    assert_equal(output.logits, recorded["logits"])
    if name in WHOLE:
        ratio = model.method.auxiliary_loss(output.auxiliary, torch.tensor([0]), nn.CrossEntropyLoss())
        assert ratio.item() == pytest.approx(2 * recorded["ratio"], rel=LIMIT)
    distilled = model.method.distillation_loss(output, reference)
    assert distilled.item() == pytest.approx(0.5 * (recorded["kl"] + recorded["token_mse"]), rel=LIMIT)


@pytest.mark.parametrize("name", WHOLE)
def test_dynamicvit_learns_as_officially(name: str) -> None:
    """The whole loss before each of five updates of all weights by AdamW."""
    case = case_of(name)
    (model, teacher), recorded, pixels = trained(case), case["training"], pixels_of(case)
    optimizer, losses = torch.optim.AdamW(model.parameters(), recorded["rate"], weight_decay=0.05), []
    for _ in recorded["losses"]:
        torch.manual_seed(recorded["draws_seed"])
        loss = training_loss(model, pixels, torch.arange(len(pixels)), nn.CrossEntropyLoss(), teacher)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == pytest.approx(recorded["losses"], rel=1e-4)
    assert losses[-1] < 0.9 * losses[0]


def test_dpcknn_without_scores_weighs_equally() -> None:
    """Its weights say so, as long as nobody says otherwise."""
    case = case_of("token-reduction-dpcknn-equal-weight")
    options = {key: value for key, value in options_of(case).items() if key != "equal_weight"}
    with torch.no_grad():
        model = official.load(weights_of(case["shapes"], case["seed"]), "token-reduction", **options)
        assert_equal(model(pixels_of(case)), case["logits"])


def test_the_better_weights_are_those_that_the_file_says(tmp_path: Path) -> None:
    """`ema_best` decides, as in the official evaluation, unless somebody asks for others."""
    case = case_of("token-reduction-kmedoids-0.7")
    good, bad = weights_of(case["shapes"], case["seed"]), weights_of(case["shapes"], 7)
    for best, raw, averaged in ((True, bad, good), (False, good, bad)):
        path = save(tmp_path, {"model": raw, "model_ema": averaged, "ema_best": best})
        released = official.resolve(path, "token-reduction", **options_of(case))
        said = "model_ema, better by its ema_best (the file has model" if best else "model (the file has model_ema"
        assert released.weights.startswith(said)
        with torch.no_grad():
            assert_equal(released.model(pixels_of(case)), case["logits"])
        asked = official.resolve(path, "token-reduction", "model", **options_of(case))
        assert asked.weights == "model (the file has model_ema too)"


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("kmedoids-0.7", {"method": None}, "method: this option is required; give method"),
    (
        "kmedoids-0.7",
        {"method": "heuristic"},
        "method: unknown value 'heuristic'; valid: atc, ats, dpcknn, dyvit, evit, kmedoids",
    ),
    ("kmedoids-0.7", {"keep_rate": None}, "the weights do not say how many patches stay; give keep_rate"),
    ("kmedoids-0.7", {"keep_rate": 1.2}, "a keep_rate must be above 0 and at most 1"),
    ("kmedoids-0.7", {"keep_rate": [40.5, 20, 10]}, "several values of keep_rate are counts of patches, found"),
    (
        "kmedoids-0.7",
        {"keep_rate": [40, 20]},
        "keep_rate has 2 values for 3 blocks in reduction_loc; give one for each",
    ),
    ("kmedoids-0.7", {"keep_rate": [40, 20, 30]}, "block 2 should keep 30 of 20 patches"),
    ("kmedoids-0.7", {"keep_rate": 0.01}, "block 0 should keep 0 of 64 patches"),
    ("kmedoids-0.7", {"reduction_loc": [0, 2]}, "reduction_loc must be some of the blocks 1 to 3 .* before the first"),
    ("kmedoids-0.7", {"reduction_loc": [2, 4]}, "reduction_loc must be some of the blocks 1 to 3 in order, found"),
    ("kmedoids-0.7", {"reduction_loc": []}, "reduction_loc must be some of the blocks 1 to 3 in order, found"),
    ("tome-0.7", {"reduction_loc": [4]}, "reduction_loc must be some of the blocks 0 to 3 in order, found"),
    ("kmedoids-0.7", {"sinkhorn_eps": 1.0}, "kmedoids has no sinkhorn_eps; leave it out"),
    ("kmedoids-0.7", {"method": "dpcknn", "equal_weight": False}, "lacks weights.0.bias and 5 more tensors"),
    ("sinkhorn-0.7", {"keep_rate": 0.5}, r"has mixers.0.v of shape \(44, 48\) instead of \(32, 48\)"),
    ("sinkhorn-0.7", {"reduction_loc": [1, 2]}, "have 3 modules that reduce, but reduction_loc names 2 blocks"),
    ("patchmerger-0.25", {"reduction_loc": [2], "keep_rate": None}, "have 2 modules that reduce, .* names 1 blocks"),
    ("kmedoids-0.7", {"method": "sit", "keep_rate": None}, "have 0 modules that reduce, but reduction_loc names 3"),
    ("sinkhorn-0.7", {"method": "kmedoids"}, "the weights are of another method than kmedoids: they have 0.v"),
    ("sinkhorn-0.7", {"method": "patchmerger"}, "the weights are of another method than patchmerger: they have 0.v"),
    ("ats-0.7", {"keep_rate": 1.0}, "there is a sample point for each patch that enters block 1; give a lower"),
    ("ats-each-stage", {"keep_rate": [41, 42]}, "block 2 should keep 42 of 40 patches"),
    ("ats-0.7", {"equal_weight": True}, "ats has no equal_weight; leave it out"),
    ("dyvit-0.7", {"keep_rate": [0.7, 0.5, 1.5]}, "a keep_rate must be above 0 and at most 1, found shares of"),
]


@pytest.mark.parametrize(("name", "changed", "message"), WRONG)
def test_wrong_requests_are_refused(name: str, changed: dict[str, Any], message: str) -> None:
    """In one line that says what stands in the way."""
    case = case_of(f"token-reduction-{name}")
    options = {"layout": "token-reduction"} | options_of(case) | changed
    with pytest.raises(UserError, match=message) as refused:
        official.load(
            weights_of(case["shapes"], case["seed"]),
            **{key: value for key, value in options.items() if value is not None},
        )
    assert "\n" not in str(refused.value)
