"""MCTF again, one image and one pair at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from backbones import BACKBONES, PATCHES, build, draw_images
from test_oracles import Sequence, assert_near, attended, begin, dense_read_out, mlp, project, read_out, reduced
from torch import Tensor, nn

from suite.methods import attend, attend_by, attention_map
from suite.reduction.blocks import embed

REMOVED = (20, 0, 13, 6)
CHANGES: list[dict[str, Any]] = [
    {},
    {"both_ways": False},
    {"similarity": 0.0},
    {"information": 0.0},
    {"size": 0.0},
    {"similarity": 0.5, "information": 2.0, "size": 3.0},
]


Targets = dict[int, int]  # into which token each token that is merged goes


def targets(tokens: Sequence, received: Tensor, prefix: int, count: int, settings: Any) -> tuple[Targets, list[int]]:
    """Merges, and the others in their new order: what is left of A, and B from the best pairs down."""

    def weight(a: int, b: int) -> float:
        unusual, small = received.min() / received, 1 / tokens.size
        found = 1.0
        if settings.similarity:
            cosine = F.cosine_similarity(tokens.x[a].detach(), tokens.x[b].detach(), dim=0).item()
            found *= ((cosine + 1) / 2) ** (1 / settings.similarity)
        if settings.information:
            found *= float(unusual[a] * unusual[b]) ** (1 / settings.information)
        if settings.size:
            found *= float(small[a] * small[b]) ** (1 / settings.size)
        return found

    in_a = [i for i in range(prefix, len(tokens.x)) if i % 2 == 0]
    in_b = [i for i in range(prefix, len(tokens.x)) if i % 2 == 1]
    back = count - count // 2 if settings.both_ways else 0
    into_b = {a: max((weight(a, b), -b) for b in in_b) for a in in_a}
    sources = sorted(in_a, key=lambda a: -into_b[a][0])[: count - back]
    rest = [a for a in in_a if a not in sources]
    into_a = {b: max((weight(a, b), -a) for a in rest) for b in in_b}
    returning = sorted(in_b, key=lambda b: -into_a[b][0])[:back]
    found = {b: -into_a[b][1] for b in returning}
    staying = sorted((b for b in in_b if b not in found), key=lambda b: -into_a[b][0] if back else b)
    found |= {a: found.get(-into_b[a][1], -into_b[a][1]) for a in sources}
    return found, [*range(prefix), *rest, *staying]


def merged(tokens: Sequence, weight: Tensor, target: Targets, order: list[int]) -> tuple[Sequence, Tensor]:
    """Tokens in that order, and attention (H, T, T) between them, after the merges."""
    received = weight.mean((0, 1)).detach()
    groups = {i: [i, *(source for source in target if target[source] == i)] for i in order}
    columns = torch.stack([weight[:, :, group].sum(2) for group in groups.values()], 2)

    def mean(rows: Tensor, group: list[int]) -> Tensor:
        share = received[group] * tokens.size[group]
        return torch.einsum("g,hgd->hd", share / share.sum(), rows[:, group])

    x = torch.stack([mean(tokens.x[None], group)[0] for group in groups.values()])
    members = [[patch for i in group for patch in tokens.members[i]] for group in groups.values()]
    size = torch.stack([tokens.size[group].sum() for group in groups.values()])
    rows = torch.stack([mean(columns, group) for group in groups.values()], 1)
    return Sequence(x, [tokens.position[i] for i in groups], members, size), rows


def mctf_again(model: nn.Module, image: Tensor, settings: Any) -> Sequence:
    """The attention of a block first, then what it does with fewer tokens."""
    tokens, tables = begin(model, image)
    for block, table, count in zip(model.blocks, tables, REMOVED, strict=True):
        query, key, value = project(block, tokens, table)
        logits = query @ key.transpose(1, 2) + tokens.size.log()
        if count:
            weight = logits.softmax(-1)
            found = targets(tokens, weight.detach().mean((0, 1)), model.num_prefix_tokens, count, settings)
            tokens, weight = merged(tokens, weight, *found)
            logits, value = weight.log(), project(block, tokens, table)[2]
        x = tokens.x + attended(block, logits, value)
        tokens = Sequence(x + mlp(block, x), tokens.position, tokens.members, tokens.size)
    return tokens


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("name", ["vit", "vit without class token", "vit with registers", "eva02", "eva mixed rope"])
@torch.no_grad()
def test_mctf_equals_loops(name: str, changes: dict[str, Any]) -> None:
    """Logits, sizes, positions, and the features of every patch."""
    model = reduced(name, "mctf", REMOVED, **changes)
    images = draw_images(model.backbone)
    logits, dense, tokens = model(images), model.dense(images), model.tokens(images, track=True)
    prefix = model.backbone.num_prefix_tokens
    assert tokens.size is not None
    assert tokens.position is not None
    for i, image in enumerate(images):
        again = mctf_again(model.backbone, image, model.method.settings)
        assert tokens.size[i].tolist() == again.size[prefix:].tolist()
        assert tokens.position[i].tolist() == again.position[prefix:]
        assert_near(logits[i], read_out(model.backbone, again))
        assert_near(dense[i], dense_read_out(model.backbone, again))
    assert tokens.size.max() > 2
    assert int(tokens.size[0].sum()) == PATCHES


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_attention_that_is_known_is_that_of_the_block(name: str) -> None:
    """The map of queries and keys alone, and the residual from it, against the attention of the whole block."""
    backbone = build(name).eval()
    tokens, rotary = embed(backbone, draw_images(backbone))
    for block, table in zip(backbone.blocks, rotary, strict=True):
        placed = tokens if table is None else type(tokens)(tokens.x, tokens.prefix, tokens.grid, rotary=table)
        expected, _ = attend(block, placed)
        assert_near(attend_by(block, placed, attention_map(block, placed)).x, expected.x)


def test_weights_carry_no_gradient() -> None:
    """Officially neither what is merged nor by which weights does; the attention that is merged has one, of course."""
    model = reduced("vit", "mctf", REMOVED).requires_grad_(True)
    image, weight = draw_images(model.backbone)[:1], model.backbone.blocks[0].attn.qkv.weight
    with torch.enable_grad():
        (found,) = torch.autograd.grad(model(image).square().sum(), weight)
        again = read_out(model.backbone, mctf_again(model.backbone, image[0], model.method.settings))
        (expected,) = torch.autograd.grad(again.square().sum(), weight)
    assert_near(found, expected, 1e-4)


@torch.no_grad()
def test_attention_that_is_almost_hard_is_finite() -> None:
    """Some patches then get none."""
    model = reduced("vit", "mctf", REMOVED)
    for block in model.backbone.blocks:
        block.attn.qkv.weight *= 50
    assert model(draw_images(model.backbone)).isfinite().all()
