"""Tokens that blocks really compute equal the schedule, and counted multiply-accumulates equal a closed formula."""

from __future__ import annotations

import pytest
import torch
from backbones import CLASSES, PATCHES, WIDTH, build, draw_images, scramble
from torch import nn

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.models.vision_transformer import VisionTransformer

from suite.measure.macs import Macs, count_macs
from suite.measure.tokens import TokenCounts, check_tokens, count_tokens, expected_leaving
from suite.reduction import blocks
from suite.reduction.method import Method
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import modules
from suite.reduction.tokens import Tokens

METHODS = sorted(modules())
REMOVED = (9, 8, 8, 0)
ENTERING = (65, 56, 48, 40)  # class token included
LEAVING = (56, 48, 40, 40)
ALL = (65, 65, 65, 65)
KNOWN = {
    "attention-topk": TokenCounts(ENTERING, ENTERING, LEAVING),
    "cropr": TokenCounts(ENTERING, ENTERING, LEAVING),
    "evit": TokenCounts(ENTERING, LEAVING, LEAVING),
    "idlevit": TokenCounts(ENTERING, ENTERING, ALL),
    "none": TokenCounts(ALL, ALL, ALL),
    "random": TokenCounts(ENTERING, ENTERING, LEAVING),
    "tome": TokenCounts(ENTERING, LEAVING, LEAVING),
    "variance": TokenCounts(ENTERING, ENTERING, LEAVING),
}


@pytest.mark.parametrize("method", METHODS)
def test_tokens_follow_the_schedule(method: str) -> None:
    """Every method computes on as many tokens as its schedule says, in the places its paper says."""
    model = reduce(build("vit"), method, REMOVED)
    counts = count_tokens(model, draw_images(model.backbone))
    check_tokens(model, counts)
    assert counts == KNOWN.get(method, counts)
    found = counts.mlp if model.method.settings.reduces == "idles" else counts.leaving
    assert found in (LEAVING, ENTERING, ALL)
    assert (found == ALL) == (model.method.settings.reduces == "nothing")


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("pre", TokenCounts(LEAVING, LEAVING, LEAVING)),
        ("mid", TokenCounts(ENTERING, LEAVING, LEAVING)),
        ("post", TokenCounts(ENTERING, ENTERING, LEAVING)),
    ],
)
@pytest.mark.parametrize("action", ["prune", "fuse"])
@pytest.mark.parametrize("method", ["attention-topk", "evit", "random", "variance"])
def test_stage_and_action(method: str, action: str, stage: str, expected: TokenCounts) -> None:
    """Where patches leave decides which half of the block is shorter; dropped or fused, the counts are the same."""
    model = reduce(build("vit"), method, REMOVED, {"stage": stage, "action": action})
    counts = count_tokens(model, draw_images(model.backbone))
    assert counts == expected
    check_tokens(model, counts)


@pytest.mark.parametrize("method", ["attention-topk", "cropr", "random", "variance"])
def test_fused_last_layer_sees_everybody(method: str) -> None:
    """ViT-L/16 with R=8 and last-layer fusion: 197 188 180 ... 20 and 197 again, as in the training logs."""
    backbone = VisionTransformer(
        img_size=56, patch_size=4, embed_dim=12, depth=24, num_heads=2, mlp_ratio=1, num_classes=CLASSES
    )
    scramble(backbone)
    model = reduce(backbone, method, (9, *[8] * 21, 0, 0), fusion="last-layer")
    counts = count_tokens(model, draw_images(backbone, 2))
    check_tokens(model, counts)
    assert counts.attention == counts.mlp == (197, *range(188, 19, -8), 197)
    assert counts.leaving == (*range(188, 19, -8), 20, 197)
    assert expected_leaving(model) == counts.leaving


class OneTooFew(Method):
    """Keeps one patch more than it should."""

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens = blocks.run(block, tokens)
        count = max(0, self.counts[layer] - 1)
        return tokens.select(torch.arange(count, tokens.count).expand(len(tokens.x), -1))


class TooIdle(Method):
    """Removes for good what should sit out."""

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        return blocks.run(block, tokens.select(torch.arange(tokens.count - 1).expand(len(tokens.x), -1)))


@pytest.mark.parametrize(("kind", "like"), [(OneTooFew, "variance"), (OneTooFew, "none"), (TooIdle, "idlevit")])
def test_a_method_that_cheats_is_found(kind: type[Method], like: str) -> None:
    """One patch too many or too few raises RuntimeError with both token counts."""
    honest = reduce(build("vit"), like, REMOVED)
    model = ReducedModel(honest.backbone, kind(honest.method.context, honest.method.settings))
    counts = count_tokens(model, draw_images(model.backbone))
    with pytest.raises(RuntimeError, match=rf"{kind.__name__} does not keep to its schedule: tokens \[.*\] instead of"):
        check_tokens(model, counts)
    check_tokens(honest, count_tokens(honest, draw_images(model.backbone)))


def vit_macs(attention: tuple[int, ...], mlp: tuple[int, ...]) -> Macs:
    """Matrix products of the plain ViT when blocks compute on these numbers of tokens.

    Patch embedding P * 3 * 4 * 4 * D; query, key, value and output 4 T D^2, two attention products of T^2 D each; an
    MLP of ratio 2, 4 T D^2; the head reads one token.
    """
    outside = PATCHES * 3 * 4 * 4 * WIDTH + WIDTH * CLASSES
    linear = outside + sum(4 * tokens * WIDTH**2 for tokens in (*attention, *mlp))
    return Macs(linear + sum(2 * tokens**2 * WIDTH for tokens in attention), linear)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("method", ["none", "variance", "random"])
def test_macs_equal_the_formula(method: str, count: int) -> None:
    """Unpruned, timm's own forward and two methods without products of their own, per image, to the last product."""
    model = reduce(build("vit"), method, REMOVED)
    images = draw_images(model.backbone, count)
    expected = vit_macs(KNOWN[method].attention, KNOWN[method].mlp)
    assert count_macs(model, images) == expected
    assert count_macs(model.backbone, images) == vit_macs(ALL, ALL)
    assert (expected.full < vit_macs(ALL, ALL).full) == (method != "none")
