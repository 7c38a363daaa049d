"""How removed patches come back in a dense read-out, against timm's own blocks and plain torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from backbones import CLASSES, HEADS, PATCHES, WIDTH, build, draw_images
from test_oracles import assert_near, dense_blocks, keep_given, kept_tokens, reduced
from torch import Tensor, nn

from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.registry import modules
from suite.reduction.settings import STASHING

METHODS = sorted(modules())
FUSIONS = ("none", "last-layer", "concatenation", "logits", "cross-attention")
GONE = (0, 20, 0, 0)  # patches that leave in block 1 only
NAMES = ("vit", "vit without class token", "vit with registers", "eva02")


def expected_dense(model: ReducedModel, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By timm's blocks: patches after block 1, normalised patches after the last with the others masked, who stays."""
    backbone, prefix = model.backbone, model.backbone.num_prefix_tokens
    stays = kept_tokens(model, PATCHES - sum(GONE))
    x, arguments = dense_blocks(backbone, images)
    left = x
    for layer, block in enumerate(backbone.blocks):
        mask = stays if layer > 1 else torch.ones_like(stays)
        x = block(x, attn_mask=mask[:, None, None].expand(-1, -1, x.shape[1], -1), **arguments[layer])
        left = x if layer == 1 else left
    return left[:, prefix:], backbone.norm(x)[:, prefix:], stays[:, prefix:]


@torch.no_grad()
def shaken(module: nn.Module) -> nn.Module:
    """With random weights in all its parameters."""
    draw = torch.Generator().manual_seed(4)
    for parameter in module.parameters():
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return module


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_concatenation_shows_patches_as_they_left(name: str) -> None:
    """A removed patch has the features of its last block, normalised; the others never see it again."""
    model = keep_given(name, GONE, "concatenation")
    images = draw_images(model.backbone)
    left, last, stays = expected_dense(model, images)
    dense = model.dense_outputs(images)
    assert torch.equal(dense.is_kept, stays)
    assert dense.predicted is None
    assert_near(dense.features, torch.where(stays[..., None], last, model.backbone.norm(left)), 4e-6)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_logit_fusion_predicts_where_patches_left(name: str) -> None:
    """By the head of the block in which they left, at the places of removed patches only."""
    model = keep_given(name, GONE, "logits")
    assert list(model.fusion.heads) == ["1"]
    norm, head = shaken(model.fusion).heads["1"]
    images = draw_images(model.backbone)
    left, last, stays = expected_dense(model, images)
    dense = model.dense_outputs(images)
    assert torch.equal(dense.is_kept, stays)
    assert_near(dense.features[stays], last[stays], 4e-6)
    expected = F.linear(F.layer_norm(left, (WIDTH,), norm.weight, norm.bias, 1e-6), head.weight, head.bias)
    assert dense.predicted.shape == (HEADS, PATCHES, CLASSES)
    assert_near(dense.predicted, torch.where(stays[..., None], 0.0, expected), 4e-6)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_cross_attention_reads_removed_patches_off_the_others(name: str) -> None:
    """A learned query for each patch attends, head by head, to the normalised kept tokens, prefix included."""
    model = keep_given(name, GONE, "cross-attention")
    fusion, images = shaken(model.fusion), draw_images(model.backbone)
    _, last, stays = expected_dense(model, images)
    dense = model.dense_outputs(images)
    tokens = model.backbone.norm(model.tokens(images).x)
    for image in range(len(images)):
        out = []
        for patch in range(PATCHES):
            heads = []
            for part in range(HEADS):
                rows = slice(part * WIDTH // HEADS, (part + 1) * WIDTH // HEADS)
                key, value = fusion.key(tokens[image])[:, rows], fusion.value(tokens[image])[:, rows]
                weight = (key @ fusion.queries[0, patch, rows] * (WIDTH // HEADS) ** -0.5).softmax(0)
                heads.append(weight @ value)
            out.append(torch.cat(heads))
        expected = torch.where(stays[image][:, None], last[image], fusion.output(torch.stack(out)))
        assert_near(dense.features[image], expected, 4e-6)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_every_method_is_dense(method: str, fusion: str) -> None:
    """Each patch has features under every fusion; what a method cannot do is refused with its name and what it does."""
    merges, mixes = ("tome", "tofu", "dpc-knn", "pitome", "atc", "diffrate", "mctf"), ("patchmerger", "sit", "sinkhorn")
    does = (
        {"idlevit": "idles", "evo-vit": "idles", "evit": "fuses"}
        | dict.fromkeys(merges, "merges")
        | dict.fromkeys(mixes, "mixes")
    )
    if (method, fusion) == ("ats", "logits"):
        with pytest.raises(
            ValueError, match=r"logits fusion needs removed patches .* this method pads with them where"
        ):
            reduced("vit", method, (9, 8, 0, 0), fusion)
        return
    if method in does and fusion in STASHING:
        with pytest.raises(
            ValueError, match=f"{fusion} fusion needs removed patches .* this method {does[method]} them"
        ):
            reduced("vit", method, (9, 8, 0, 0), fusion)
        return
    if method == "dynamicvit" and fusion in ("logits", "cross-attention"):
        with pytest.raises(ValueError, match=f"{fusion} fusion learns from removed .* this method only masks them in"):
            reduced("vit", method, (9, 8, 0, 0), fusion)
        return
    model = reduced("vit", method, (9, 8, 0, 0), fusion)
    images = draw_images(model.backbone)
    dense = model.dense_outputs(images)
    assert dense.features.shape == (HEADS, PATCHES, WIDTH)
    assert dense.features.isfinite().all()
    stays_all = method in ("none", "idlevit", "evo-vit") or fusion == "last-layer"
    fused = 2 if method == "evit" else 0  # each fusion removes one more, to make room for the fused token
    expected = PATCHES if stays_all else 0 if method in mixes else PATCHES - 17 - fused
    fewer = {"evit": 1, "ats": 0 if stays_all else expected - 1}.get(method, 0)
    assert ((dense.is_kept.sum(1) - expected).abs() <= fewer).all()
    assert (dense.predicted is not None) == (fusion == "logits" and method != "none")


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("name", ["vit", "eva02"])
@torch.no_grad()
def test_keeping_all_is_dense_bit_for_bit(name: str, fusion: str) -> None:
    """Where nothing is removed, no fusion changes a bit."""
    images = draw_images(build(name))
    for method in METHODS:
        try:
            model = reduce(build(name), method, None, fusion=fusion).eval()
        except (UnmetNeed, ValueError):
            continue
        expected = model.backbone.forward_features(images)[:, model.backbone.num_prefix_tokens :]
        assert torch.equal(model.dense_outputs(images).features, expected), method


@pytest.mark.parametrize("fusion", ["logits", "cross-attention"])
def test_what_a_fusion_learns_is_reached(fusion: str) -> None:
    """Every parameter has a gradient, has its own keys in the state, and is kept when deployed."""
    model = reduced("vit", "variance", (9, 8, 0, 0), fusion).train()
    dense = model.dense_outputs(draw_images(model.backbone))
    read = dense.features if dense.predicted is None else dense.predicted
    read.square().sum().backward()
    names = [name for name, _ in model.named_parameters() if name.startswith("fusion.")]
    assert len(names) == {"logits": 8, "cross-attention": 7}[fusion]
    for name, parameter in model.fusion.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert set(names) <= set(model.deploy().state_dict())


def test_a_query_for_each_patch_predicts_its_label() -> None:
    """Cropr's auxiliary loss on a label map, (B, N0): query n predicts patch n; fewer queries are refused."""
    model = reduced("vit", "cropr", (9, 8, 0, 0), "last-layer", queries=PATCHES).train()
    images = draw_images(model.backbone)
    labels = torch.randint(0, CLASSES, (HEADS, PATCHES), generator=torch.Generator().manual_seed(2))
    labels[:, ::7] = 255
    auxiliary = model.dense_outputs(images).auxiliary
    assert [prediction.shape for prediction in auxiliary] == [(HEADS, PATCHES, CLASSES)] * 2
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    found = model.method.auxiliary_loss(auxiliary, labels, criterion)
    counted = [
        -prediction[image, patch].log_softmax(0)[labels[image, patch]]
        for prediction in auxiliary
        for image in range(HEADS)
        for patch in range(PATCHES)
        if labels[image, patch] != 255
    ]
    assert_near(found, 2 * torch.stack(counted).mean())
    deployed = model.deploy()
    assert deployed.method.croppers["0"].queries.shape == (1, 1, WIDTH)
    few = reduced("vit", "cropr", (9, 8, 0, 0), queries=3).train()
    with pytest.raises(ValueError, match="64 labels for 3 queries; set queries: 64"):
        few.method.auxiliary_loss(few.dense_outputs(images).auxiliary, labels, criterion)
