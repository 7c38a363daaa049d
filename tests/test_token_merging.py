"""Checkpoints of methods that merge: how many tokens each block gets, and that every option matters."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from test_official import CASES, assert_equal, case_of, load, options_of, save, weights_of
from torch import Tensor

from suite import official
from suite.errors import UserError
from suite.kinds.official.weights import images
from suite.measure.tokens import count_tokens

LAYOUTS = ("pitome", "atc", "diffrate", "mctf")
NAMES = [name for name in CASES if case_of(name)["layout"] in LAYOUTS]


def pixels_of(case: dict[str, Any]) -> Tensor:
    """The case's images."""
    return torch.from_numpy(images(**case["image"]))


@pytest.mark.parametrize("name", NAMES)
def test_every_block_has_the_official_tokens(name: str) -> None:
    """As many enter each MLP."""
    case = case_of(name)
    assert list(count_tokens(load(case), pixels_of(case)).mlp) == case["tokens"]


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("pitome-deit-0.9", ("patch",)),
        ("mctf-r-12", ("tau_sim", "tau_info", "tau_size", "bidirection")),
        ("atc-timm-average", ("patch", "linkage", "r_sched")),
        ("atc-mae-average-pool", ("patch", "linkage", "r_sched")),
        ("pitome-mae-0.9-average-pool", ("patch",)),
    ],
)
def test_what_is_left_out_is_read_off_the_weights(name: str, left_out: tuple[str, ...]) -> None:
    """The same logits without it."""
    case = case_of(name)
    options = {key: value for key, value in options_of(case).items() if key not in left_out}
    with torch.no_grad():
        model = official.load(weights_of(case["shapes"], case["seed"]), case["layout"], **options)
        assert_equal(model(pixels_of(case)), case["logits"])


@pytest.mark.parametrize(
    ("name", "option", "other"),
    [
        ("pitome-deit-0.9", "patch", "mae"),
        ("pitome-mae-0.7-token-pool", "patch", "deit"),
        ("pitome-deit-0.9", "ratio", 0.8),
        ("atc-timm-average", "r", 11),
        ("atc-timm-average", "r_sched", "decrease"),
        ("atc-timm-average", "linkage", "complete"),
        ("atc-timm-average", "linkage", "single"),
        ("atc-mae-average-pool", "patch", "timm"),
        ("diffrate-deit", "prune_kept_num", [65, 49, 40, 30]),
        ("diffrate-deit", "merge_kept_num", [65, 44, 32, 21]),
        ("mctf-r-12", "r", 11),
        ("mctf-r-12", "activate_layer", [1, 2]),
        ("mctf-r-12", "tau_sim", 30),
        ("mctf-r-12", "tau_info", 2),
        ("mctf-r-12", "tau_size", 1),
        ("mctf-r-12", "bidirection", False),
    ],
)
def test_every_option_matters(name: str, option: str, other: Any) -> None:
    """Another value gives other logits than the official code with this one."""
    case = case_of(name)
    with torch.no_grad():
        logits = load(case, **{option: other})(pixels_of(case))
    assert (logits - torch.tensor(case["logits"])).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        ("pitome-deit-0.9", {"ratio": 0.4}, "ratio: must be at least 0.5, found 0.4"),
        ("pitome-deit-0.9", {"patch": "clip"}, "patch: unknown value 'clip'"),
        ("atc-timm-average", {"r": -1}, "r: must be at least 0, found -1"),
        ("atc-timm-average", {"linkage": "ward"}, "linkage: unknown value 'ward'"),
        (
            "diffrate-deit",
            {"prune_kept_num": [65, 50]},
            "prune_kept_num must be a count .* for each of 4 blocks",
        ),
        ("mctf-r-12", {"r": -1}, "r: must be at least 0.0, found -1"),
        ("diffrate-deit", {"merge_kept_num": [65, 44, 33, 1]}, "merge_kept_num must be a count of tokens from 2 on"),
    ],
)
def test_what_is_refused(name: str, wrong: dict[str, Any], sentence: str) -> None:
    """In a sentence that names the option."""
    case = case_of(name)
    with pytest.raises(UserError, match=sentence):
        load(case, **wrong)


def test_mctf_says_its_own_options(tmp_path: Path) -> None:
    """Its training script saves them; another attention or pooling than that of the published models is refused."""
    case = case_of("mctf-one-way")
    kind = [12, 0, 0, 1, 1, 1, 20, 40, 0, 1, 0]
    arguments = {"mctf_type": kind, "activate_layer": [1, 2, 3]}
    state = {"model": weights_of(case["shapes"], case["seed"]), "args": argparse.Namespace(**arguments)}
    with torch.no_grad():
        assert_equal(official.load(save(tmp_path, state), "mctf", heads=4)(pixels_of(case)), case["logits"])
    arguments["mctf_type"] = [*kind[:9], 3, 0]
    state["args"] = argparse.Namespace(**arguments)
    with pytest.raises(UserError, match=r"mctf_type .* has another attention or pooling than this layout"):
        official.load(save(tmp_path, state), "mctf", heads=4)


def test_atcs_own_checkpoints_of_mae_say_their_options(tmp_path: Path) -> None:
    """Its fine-tuning saves them; one with ToMe's merges is another layout's."""
    case = case_of("atc-mae-average-pool")
    arguments = {"r_count": 12, "r_sched": "constant", "linkage": "average", "merge_fn": "atc"}
    state = {"model": weights_of(case["shapes"], case["seed"]), "args": argparse.Namespace(**arguments)}
    with torch.no_grad():
        assert_equal(official.load(save(tmp_path, state), "atc", heads=4)(pixels_of(case)), case["logits"])
    state["args"].linkage = "complete"
    assert official.load(save(tmp_path, state), "atc", heads=4).method.settings.linkage == "complete"
    state["args"].merge_fn = "tome"
    with pytest.raises(UserError, match="the weights were trained with tome; give layout tome-mae"):
        official.load(save(tmp_path, state), "atc", heads=4)
