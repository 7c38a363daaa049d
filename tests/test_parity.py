"""Oracle 1: a method that removes nothing equals the untouched timm model bit for bit; unknown insides are refused."""

from __future__ import annotations

import copy

import pytest
import torch
from backbones import BACKBONES, DEPTH, FEW, WIDTH, build, draw_images
from torch import nn

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import Block, ParallelScalingBlock, VisionTransformer

from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import modules

METHODS = sorted(modules())
RUNS = [
    pytest.param(name, method, marks=[pytest.mark.slow] * (name not in FEW and method not in ("none", "cropr")))
    for name in BACKBONES
    for method in METHODS
]


class LookAlike(Block):
    """Has every attribute of a supported block, and another forward."""


def reduced(backbone: nn.Module, method: str, removed: tuple[int, ...] | None = None) -> ReducedModel:
    """The backbone under a method; a need it cannot meet skips the test with its reason."""
    try:
        return reduce(backbone, method, removed)
    except UnmetNeed as unmet:
        pytest.skip(str(unmet))


@pytest.mark.parametrize("mode", ["evaluation", "training"])
@pytest.mark.parametrize(("name", "method"), RUNS)
def test_removing_nothing_is_the_timm_model(name: str, method: str, mode: str) -> None:
    """Logits, and in training gradients too, agree as timm's."""
    backbone = build(name)
    model = reduced(copy.deepcopy(backbone), method)
    images = draw_images(backbone)
    for module in (backbone, model):
        module.train(mode == "training")
    torch.manual_seed(0)
    expected = backbone(images)
    torch.manual_seed(0)
    found = model(images)
    assert torch.equal(found, expected)
    if mode == "training":
        expected.square().sum().backward()
        found.square().sum().backward()
        for (key, ours), theirs in zip(model.backbone.named_parameters(), backbone.parameters(), strict=True):
            assert ours.grad is not None or theirs.grad is None, f"{key} lost its gradient"
            if theirs.grad is not None:
                torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vit stochastic", "eva02 with layer scale"])
def test_training_mode_is_stochastic(name: str) -> None:
    """The backbones with drop path really draw: another seed gives other logits, so their parity means something."""
    model = reduce(build(name), "none").train()
    images = draw_images(model.backbone)
    outputs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        outputs.append(model(images))
    assert not torch.allclose(*outputs, atol=1e-2)


def test_counts_that_do_not_fit_the_backbone_are_refused() -> None:
    """With both numbers."""
    with pytest.raises(ValueError, match="has 2 counts but the backbone has 4 blocks"):
        reduce(build("vit"), "variance", (1, 1))


def _unsupported() -> dict[str, tuple[nn.Module, str]]:
    options = {"img_size": 32, "patch_size": 8, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": 4, "mlp_ratio": 2}
    return {
        "parallel block": (VisionTransformer(block_fn=ParallelScalingBlock, **options), "ParallelScalingBlock"),
        "look-alike block": (VisionTransformer(block_fn=LookAlike, **options), "LookAlike"),
        "differential attention": (VisionTransformer(attn_layer="diff", **options), "DiffAttention"),
        "patch dropout": (VisionTransformer(patch_drop_rate=0.5, **options), "patch dropout"),
        "resnet": (ResNet(BasicBlock, layers=(1, 1, 1, 1), channels=(8, 8, 8, 8)), "ResNet"),
        "swin": (SwinTransformer(img_size=32, window_size=4, embed_dim=12, depths=(1,), num_heads=(2,)), "Swin"),
    }


@pytest.mark.parametrize("kind", _unsupported())
def test_unknown_insides_are_refused_by_name(kind: str) -> None:
    """Whatever is not in a table raises TypeError and is named, for `reduce` and for `ReducedModel` itself."""
    model, named = _unsupported()[kind]
    with pytest.raises(TypeError, match=named):
        reduce(model, "none")
    method = reduce(build("vit"), "none").method
    with pytest.raises(TypeError, match=named):
        ReducedModel(model, method)
