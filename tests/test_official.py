"""Official checkpoints: the numbers of the official code, the facts of its logs, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite import official

FOLDER = Path(__file__).parent / "official"
sys.path.insert(0, str(FOLDER))
from weights import fill, images  # noqa: E402

CASES = sorted(path.stem for path in FOLDER.glob("*.json"))
NOT_OPTIONS = {"llf", "class_token", "distilled"}  # these are read off the weights
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
    options = {key: value for key, value in case["options"].items() if value is not None and key not in NOT_OPTIONS}
    if "inflection" in options:
        options["inflect"] = options.pop("inflection")
    if case["layout"] not in ("tome",):
        options.pop("global_pool", None)
    options.pop("rotary_reference_grid", None)
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
