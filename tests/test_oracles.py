"""Oracles that share no code with the suite: every method again, one image and one token at a time, in plain torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from backbones import BACKBONES, CLASSES, HEADS, PATCHES, ROTARY, WIDTH, build, draw_images
from torch import Tensor, nn

from suite.reduction.blocks import finish, run
from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.projection import Projection
from suite.reduction.registry import modules
from suite.reduction.scoring import ScoringMethod
from suite.reduction.tokens import Tokens

METHODS = sorted(modules())
STOCHASTIC = {"random"}
REMOVED = (9, 8, 8, 0)
REMOVED_EARLY = (9, 8, 0, 0)
WITH_CLASS_TOKEN = ("vit", "vit with layer scale", "vit with registers", "eva02 with layer scale", "eva mixed rope")


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    """Gradients are off except where a test asks for them."""
    with torch.no_grad():
        yield


def reduced(
    name: str, method: str, removed: tuple[int, ...] | None = None, fusion: str = "none", **settings: object
) -> ReducedModel:
    """Backbone `name` under a method, in evaluation mode; a need it cannot meet skips the test with its reason."""
    try:
        return reduce(build(name), method, removed, settings, fusion).eval()  # type: ignore[arg-type]
    except UnmetNeed as unmet:
        pytest.skip(str(unmet))


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Same shape, finite, and no element further away than `tolerance` times the largest magnitude, or 1."""
    assert found.shape == expected.shape
    assert expected.isfinite().all()
    limit = tolerance * max(1.0, expected.abs().max().item())
    assert (found - expected).abs().max().item() <= limit


# ---------------------------------------------------------------- an independent ViT, one image at a time


@dataclass
class Sequence:
    """Tokens of one image: features (T, D), the patch each came from, the patches each stands for, log-sizes (T,)."""

    x: Tensor
    position: list[int | None]
    members: list[list[int]]
    size: Tensor

    def pick(self, order: list[int]) -> Sequence:
        """The tokens `order`, in that order."""
        return Sequence(
            self.x[order], [self.position[i] for i in order], [self.members[i] for i in order], self.size[order]
        )


def begin(model: nn.Module, image: Tensor) -> tuple[Sequence, list[Tensor | None]]:
    """Tokens before the first block, and each block's rotary table, by timm's own embedding."""
    embedded = model._pos_embed(model.patch_embed(image[None]))
    x, table = embedded if isinstance(embedded, tuple) else (embedded, None)
    x, prefix = model.norm_pre(x)[0], model.num_prefix_tokens
    tables = list(table) if table is not None and table.dim() == 4 else [table] * len(model.blocks)
    patches = list(range(len(x) - prefix))
    members = [[] for _ in range(prefix)] + [[patch] for patch in patches]
    return Sequence(x, [None] * prefix + patches, members, torch.ones(len(x))), tables


def rotate(heads: Tensor, position: list[int | None], table: Tensor | None) -> Tensor:
    """Rotate pairs of neighbouring channels, token by token; a token without a position is left alone."""
    if table is None:
        return heads
    out = heads.clone()
    for token, patch in enumerate(position):
        if patch is None:
            continue
        sine, cosine = table[..., patch, :].expand(heads.shape[0], -1).chunk(2, -1)
        even, odd = heads[:, token, 0::2], heads[:, token, 1::2]
        out[:, token, 0::2] = even * cosine[:, 0::2] - odd * sine[:, 0::2]
        out[:, token, 1::2] = odd * cosine[:, 1::2] + even * sine[:, 1::2]
    return out


def project(block: nn.Module, tokens: Sequence, table: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (already scaled), keys and values of a pre-norm block, each (H, T, d)."""
    h, attention = block.norm1(tokens.x), block.attn
    if attention.qkv is None:
        parts = [attention.q_proj(h), attention.k_proj(h), attention.v_proj(h)]
    else:
        parts = list(attention.qkv(h).chunk(3, -1))
    query, key, value = (part.reshape(len(h), attention.num_heads, -1).permute(1, 0, 2) for part in parts)
    query, key = attention.q_norm(query), attention.k_norm(key)
    query, key = (rotate(heads, tokens.position, table) for heads in (query, key))
    return query / math.sqrt(query.shape[-1]), key, value


def attended(block: nn.Module, logits: Tensor, value: Tensor) -> Tensor:
    """The attention branch, (T, D), from logits (H, T, T)."""
    out = block.attn.norm(torch.einsum("hqk,hkd->qhd", logits.softmax(-1), value).flatten(1))
    return scaled(block, block.attn.proj(out), 1)


def mlp(block: nn.Module, x: Tensor) -> Tensor:
    """The MLP branch, (T, D)."""
    return scaled(block, block.mlp(block.norm2(x)), 2)


def scaled(block: nn.Module, y: Tensor, branch: int) -> Tensor:
    """Layer scale, by either of timm's two spellings."""
    if isinstance(getattr(block, f"ls{branch}", None), nn.Module):
        return getattr(block, f"ls{branch}")(y)
    gamma = getattr(block, f"gamma_{branch}")
    return y if gamma is None else y * gamma


def whole_block(block: nn.Module, tokens: Sequence, table: Tensor | None) -> Sequence:
    """One unchanged block."""
    query, key, value = project(block, tokens, table)
    x = tokens.x + attended(block, query @ key.transpose(1, 2), value)
    return Sequence(x + mlp(block, x), tokens.position, tokens.members, tokens.size)


def read_out(model: nn.Module, tokens: Sequence) -> Tensor:
    """Logits, (classes,); average pooling counts a token once for each patch it stands for."""
    x = model.norm(tokens.x)
    if model.global_pool == "token":
        return model.forward_head(x[None])[0]
    prefix = model.num_prefix_tokens
    first = 0 if getattr(model, "pool_include_prefix", False) else prefix
    repeated = [x[i] for i in range(first, prefix)]
    for i in range(prefix, len(x)):
        repeated += [x[i]] * int(tokens.size[i])
    return model.head(model.fc_norm(torch.stack(repeated).mean(0)))


def dense_read_out(model: nn.Module, tokens: Sequence) -> Tensor:
    """Normalised features of every patch, (N0, D), from the token that it became part of."""
    x = model.norm(tokens.x)
    found = {patch: x[i] for i, members in enumerate(tokens.members) for patch in members}
    return torch.stack([found[patch] for patch in sorted(found)])


# ---------------------------------------------------------------- the methods again


def tome_again(model: nn.Module, image: Tensor, removed: tuple[int, ...]) -> Sequence:
    """ToMe with loops: propose, sort, merge."""
    tokens, tables = begin(model, image)
    prefix = model.num_prefix_tokens
    for block, table, count in zip(model.blocks, tables, removed, strict=True):
        query, key, value = project(block, tokens, table)
        x = tokens.x + attended(block, query @ key.transpose(1, 2) + tokens.size.log(), value)
        tokens = Sequence(x, tokens.position, tokens.members, tokens.size)
        if count:
            tokens = tome_merge(tokens, key.mean(0), prefix, count)
        tokens.x = tokens.x + mlp(block, tokens.x)
    return tokens


def tome_merge(tokens: Sequence, keys: Tensor, prefix: int, count: int) -> Sequence:
    """Merge the `count` best pairs of one token at an even and one at an odd place."""
    even = [i for i in range(prefix, len(keys)) if i % 2 == 0]
    odd = [i for i in range(prefix, len(keys)) if i % 2 == 1]
    proposals = []
    for a in even:
        similarity, b = max((F.cosine_similarity(keys[a], keys[b], dim=0).item(), b) for b in odd)
        proposals.append((similarity, a, b))
    chosen = sorted(proposals, reverse=True)[:count]
    joins: dict[int, list[int]] = {}
    for _, a, b in chosen:
        joins.setdefault(b, []).append(a)
    gone = {a for _, a, _ in chosen}
    x, size, members = tokens.x.clone(), tokens.size.clone(), list(tokens.members)
    for b, sources in joins.items():
        group = [b, *sources]
        size[b] = sum(tokens.size[i] for i in group)
        x[b] = sum(tokens.x[i] * tokens.size[i] for i in group) / size[b]
        members[b] = [patch for i in group for patch in tokens.members[i]]
    order = [*range(prefix), *(a for a in even if a not in gone), *odd]
    return Sequence(x, tokens.position, members, size).pick(order)


def evit_again(model: nn.Module, image: Tensor, kept: tuple[int | None, ...], fuse: bool) -> Sequence:
    """EViT with loops: in block i the class token's `kept[i]` favourites stay, the others become one token or none."""
    tokens, tables = begin(model, image)
    prefix = model.num_prefix_tokens
    for block, table, keep in zip(model.blocks, tables, kept, strict=True):
        query, key, value = project(block, tokens, table)
        logits = query @ key.transpose(1, 2)
        x = tokens.x + attended(block, logits, value)
        tokens = Sequence(x, tokens.position, tokens.members, tokens.size)
        if keep is not None:
            attention = logits.softmax(-1)[:, 0].mean(0)
            ranked = sorted(range(prefix, len(x)), key=lambda i: -attention[i].item())
            stay, leave = ranked[:keep], ranked[keep:]
            fused = sum(attention[i] * x[i] for i in leave)
            members = [patch for i in leave for patch in tokens.members[i]]
            tokens = tokens.pick([*range(prefix), *stay])
            if fuse:
                tokens.x = torch.cat([tokens.x, fused[None]])
                tokens.size = torch.ones(len(tokens.x))
                tokens.position.append(None)
                tokens.members.append(members)
        tokens.x = tokens.x + mlp(block, tokens.x)
    return tokens


def idlevit_again(model: nn.Module, image: Tensor, active: tuple[int, ...]) -> Sequence:
    """IdleViT as its training is written: the dense model with idle keys masked and idle updates multiplied by 0."""
    tokens, tables = begin(model, image)
    prefix = model.num_prefix_tokens
    for block, table, count in zip(model.blocks, tables, active, strict=True):
        query, key, value = project(block, tokens, table)
        logits = query @ key.transpose(1, 2)
        score = logits[:, 0].mean(0)
        works = torch.zeros(len(tokens.x))
        works[:prefix] = 1
        works[prefix + score[prefix:].argsort(descending=True)[:count]] = 1
        masked = logits - 100_000 * (1 - works)
        x = tokens.x + works[:, None] * attended(block, masked, value)
        tokens.x = x + works[:, None] * mlp(block, x)
    return tokens


def ranked_again(
    model: nn.Module, image: Tensor, removed: tuple[int, ...], score: object, fusion: bool
) -> tuple[Sequence, Sequence, list[Tensor]]:
    """Any method that drops after a block; `score(layer, patches)` ranks them, one patch at a time.

    Returns the tokens after the last block, those that entered it, and all tokens where patches were about to leave.
    """
    tokens, tables = begin(model, image)
    prefix, seen, left = model.num_prefix_tokens, [], []
    for layer, (block, table, count) in enumerate(zip(model.blocks, tables, removed, strict=True)):
        if layer == len(removed) - 1:
            for group in left if fusion else ():
                tokens = Sequence(
                    torch.cat([tokens.x, group.x]),
                    tokens.position + group.position,
                    tokens.members + group.members,
                    torch.cat([tokens.size, group.size]),
                )
            entering = tokens
        tokens = whole_block(block, tokens, table)
        if count:
            seen.append(tokens.x)
            scores = {i: score(layer, tokens.x[i]) for i in range(prefix, len(tokens.x))}  # type: ignore[operator]
            ranked = sorted(scores, key=lambda i: -scores[i])
            stay = ranked[: len(ranked) - count]
            left.append(tokens.pick([i for i in ranked if i not in stay]))
            tokens = tokens.pick([*range(prefix), *stay])
    return tokens, entering, seen


def variance_of(_layer: int, features: Tensor) -> float:
    """Variance over channels, in Python."""
    values = features.tolist()
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / len(values)


# ---------------------------------------------------------------- 1. keeping a subset is masking


class Supplied(ScoringMethod):
    """Scores are given from outside, one for each first patch."""

    given: Tensor

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return self.given


def keep_given(name: str, removed: tuple[int, ...], fusion: str = "none", **settings: object) -> ReducedModel:
    """A model that keeps the patches with the highest of some random numbers."""
    model = reduced(name, "variance", removed, fusion, **settings)
    method = Supplied(model.method.context, model.method.settings)
    patches = model.method.context.schedule.patches
    method.given = torch.rand(HEADS, patches, generator=torch.Generator().manual_seed(7))
    return ReducedModel(model.backbone, method).eval()


def kept_tokens(model: ReducedModel, kept: int) -> Tensor:
    """Which tokens stay, (B, P+N0), True for the prefix and the `kept` patches of highest score."""
    given = model.method.given
    stays = torch.zeros(HEADS, model.method.context.prefix + given.shape[1], dtype=torch.bool)
    stays[:, : model.method.context.prefix] = True
    stays.scatter_(1, model.method.context.prefix + given.argsort(descending=True)[:, :kept], True)
    return stays


def dense_blocks(backbone: nn.Module, images: Tensor) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Embedded tokens, and the rotary argument that timm passes to each block."""
    embedded = backbone._pos_embed(backbone.patch_embed(images))
    if not isinstance(embedded, tuple):
        return backbone.norm_pre(embedded), [{} for _ in backbone.blocks]
    x, table = embedded
    mixed = table is not None and table.dim() == 4
    return backbone.norm_pre(x), [{"rope": table[i] if mixed else table} for i in range(len(backbone.blocks))]


@pytest.mark.parametrize("stage", ["pre", "mid", "post"])
@pytest.mark.parametrize("name", BACKBONES)
def test_keeping_a_subset_is_masking_keys(name: str, stage: str) -> None:
    """Removed patches are as good as masked keys in timm's own blocks; each image loses other patches."""
    patches = reduced(name, "none").method.context.schedule.patches
    model = keep_given(name, (0, patches // 3, 0, 0), stage=stage)
    backbone, images = model.backbone, draw_images(model.backbone)
    stays = kept_tokens(model, patches - patches // 3)
    x, arguments = dense_blocks(backbone, images)
    masked_from = 1 if stage == "pre" else 2
    for layer, block in enumerate(backbone.blocks):
        mask = stays if layer >= masked_from else torch.ones_like(stays)
        x = block(x, attn_mask=mask[:, None, None].expand(-1, -1, x.shape[1], -1), **arguments[layer])
    kept = torch.stack([row[stay] for row, stay in zip(backbone.norm(x), stays, strict=True)])
    assert_near(model(images), backbone.forward_head(kept), 4e-6)


@pytest.mark.parametrize("name", BACKBONES)
def test_patches_that_rejoin_stood_still(name: str) -> None:
    """Last-layer fusion is masking keys for some blocks and giving removed patches their old features back.

    Kept patches are shuffled by then, so rotary positions must have moved along.
    """
    patches = reduced(name, "none").method.context.schedule.patches
    model = keep_given(name, (patches // 2, 0, 0, 0), "last-layer")
    backbone, images = model.backbone, draw_images(model.backbone)
    stays = kept_tokens(model, patches - patches // 2)
    x, arguments = dense_blocks(backbone, images)
    old = x
    for layer, block in enumerate(backbone.blocks):
        if layer == len(backbone.blocks) - 1:
            x = torch.where(stays[:, :, None], x, old)
        mask = stays if 0 < layer < len(backbone.blocks) - 1 else torch.ones_like(stays)
        x = block(x, attn_mask=mask[:, None, None].expand(-1, -1, x.shape[1], -1), **arguments[layer])
        old = x if layer == 0 else old
    assert_near(model(images), backbone.forward_head(backbone.norm(x)), 4e-6)
    assert_near(model.dense(images), backbone.norm(x)[:, backbone.num_prefix_tokens :], 4e-6)
    position = model.tokens(images, track=True).position
    assert position is not None
    assert not torch.equal(position, position.sort(1).values)


@pytest.mark.parametrize("name", ROTARY)
def test_order_does_not_matter_with_rotary_positions(name: str) -> None:
    """Blocks on shuffled tokens give shuffled outputs, with as many images as heads and with fewer."""
    backbone = build(name)
    for count in (1, HEADS - 1, HEADS):
        images = draw_images(backbone, count)
        x, arguments = dense_blocks(backbone, images)
        order = torch.stack([torch.randperm(PATCHES, generator=torch.Generator().manual_seed(i)) for i in range(count)])
        tokens = Tokens(x, backbone.num_prefix_tokens, (8, 8), tracked=True).select(order)
        for block, argument in zip(backbone.blocks, arguments, strict=True):
            x = block(x, **argument)
            moved = Tokens(tokens.x, tokens.prefix, tokens.grid, True, tokens.position, rotary=argument["rope"])
            tokens = run(block, moved)
        expected = torch.stack([row[backbone.num_prefix_tokens :][o] for row, o in zip(x, order, strict=True)])
        assert_near(tokens.patches, expected, 4e-6)


# ---------------------------------------------------------------- 2. merging equals is lossless


@pytest.mark.parametrize("name", ["vit", "vit without class token", "vit with registers, average", "eva fused"])
def test_merging_identical_patches_is_lossless(name: str) -> None:
    """Groups of 1 to 5 identical patches, merged into one each: no later block, pooling or head sees it."""
    backbone = build(name)
    prefix, draw = backbone.num_prefix_tokens, torch.Generator().manual_seed(3)
    group = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 4])[torch.randperm(13, generator=draw)]
    distinct = torch.randn(2, prefix + 5, WIDTH, generator=draw)
    x = torch.cat([distinct[:, :prefix], distinct[:, prefix:][:, group]], 1)
    first = [group.tolist().index(member) for member in range(5)]
    rest = [i for i in range(13) if i not in first]
    keep, source = (torch.tensor(rows).expand(2, -1) for rows in (first, rest))
    tokens = Tokens(x, prefix, (1, 13)).merge(keep, source, group[rest].expand(2, -1))
    assert tokens.size is not None
    assert tokens.size[0].tolist() == [5, 3, 2, 1, 2]
    for block in backbone.blocks:
        x, tokens = block(x), run(block, tokens)
    assert_near(tokens.x, x[:, [*range(prefix), *(prefix + i for i in first)]], 2e-6)
    assert_near(finish(backbone, tokens)[0], backbone.forward_head(backbone.norm(x)), 2e-6)


@pytest.mark.parametrize("name", ["vit", "vit without class token", "vit with registers, average", "eva fused"])
def test_tome_is_lossless_on_twins(name: str) -> None:
    """Where each patch has an identical neighbour, merging the pairs changes no logit."""
    model = reduced(name, "tome", (PATCHES // 2, 0, 0, 0))
    model.backbone.pos_embed.zero_()
    images = draw_images(model.backbone)
    images = images.unflatten(3, (4, 2, 4))[:, :, :, :, :1].expand(-1, -1, -1, -1, 2, -1).flatten(3)
    assert_near(model(images), model.backbone(images), 2e-6)
    assert_near(model.dense(images), model.backbone.forward_features(images)[:, -PATCHES:], 2e-6)
    unaware = reduced(name, "tome", (PATCHES // 2, 0, 0, 0), proportional_attention=False)
    unaware.backbone.pos_embed.zero_()
    other = draw_images(model.backbone, seed=5)
    assert (unaware(other) - model(other)).abs().max() > 1e-3


# ---------------------------------------------------------------- 3. the methods against loops


@pytest.mark.parametrize(
    "name",
    ["vit", "vit without class token", "vit with registers", "vit with layer scale", "eva02", "eva mixed rope"],
)
def test_tome_equals_loops(name: str) -> None:
    """Four merging blocks in a row: logits, sizes, positions, and which token represents each patch."""
    removed = (20, 12, 8, 6)
    model = reduced(name, "tome", removed)
    images = draw_images(model.backbone)
    logits, dense, tokens = model(images), model.dense(images), model.tokens(images, track=True)
    prefix = model.backbone.num_prefix_tokens
    for i, image in enumerate(images):
        again = tome_again(model.backbone, image, removed)
        assert tokens.size is not None
        assert tokens.position is not None
        assert tokens.representative is not None
        assert tokens.size[i].tolist() == again.size[prefix:].tolist()
        assert tokens.position[i].tolist() == again.position[prefix:]
        representative = {patch: token for token, members in enumerate(again.members[prefix:]) for patch in members}
        assert tokens.representative[i].tolist() == [representative[patch] for patch in range(PATCHES)]
        assert_near(logits[i], read_out(model.backbone, again))
        assert_near(dense[i], dense_read_out(model.backbone, again))
    assert tokens.size is not None
    assert tokens.size.max() > 2


@pytest.mark.parametrize("name", WITH_CLASS_TOKEN)
def test_evit_with_fusion_equals_loops(name: str) -> None:
    """Rate 0.7 three times: 45, 33 and 24 of 64, 46 and 34 stay and one token is added; it may be fused again."""
    removed, kept = (0, 18, 12, 9), (None, 45, 33, 24)
    model = reduced(name, "evit", removed)
    images = draw_images(model.backbone)
    logits, dense = model(images), model.dense(images)
    for i, image in enumerate(images):
        again = evit_again(model.backbone, image, kept, fuse=True)
        assert len(again.members[-1]) >= 10
        assert_near(logits[i], read_out(model.backbone, again))
        assert_near(dense[i], dense_read_out(model.backbone, again))


@pytest.mark.parametrize("name", WITH_CLASS_TOKEN)
def test_evit_without_fusion_equals_loops(name: str) -> None:
    """Rate 0.7 three times, dropped patches leave no trace: 45, 32 and 23 stay."""
    model = reduced(name, "evit", (0, 19, 13, 9), action="prune")
    images = draw_images(model.backbone)
    logits = model(images)
    for i, image in enumerate(images):
        again = evit_again(model.backbone, image, (None, 45, 32, 23), fuse=False)
        assert_near(logits[i], read_out(model.backbone, again))


@pytest.mark.parametrize("name", WITH_CLASS_TOKEN)
def test_idlevit_equals_masked_dense_training(name: str) -> None:
    """The official training form, masks and all, in every block; each patch represents itself."""
    model = reduced(name, "idlevit", (32, 8, 8, 0))
    images = draw_images(model.backbone)
    logits, dense, tokens = model(images), model.dense(images), model.tokens(images, track=True)
    assert tokens.representative is not None
    assert torch.equal(tokens.representative, torch.arange(PATCHES).expand(len(images), -1))
    for i, image in enumerate(images):
        again = idlevit_again(model.backbone, image, (64, 32, 24, 16))
        assert_near(logits[i], read_out(model.backbone, again))
        assert_near(dense[i], dense_read_out(model.backbone, again))


@pytest.mark.parametrize("prefix", [1, 3])
def test_token_cut_loss_equals_loops(prefix: int) -> None:
    """Attention inside and across the selected and the idle tokens, pair by pair; keys of the prefix cross freely."""
    cut_loss = import_module("baselines.idlevit").token_cut_loss
    draw, images, tokens = torch.Generator().manual_seed(5), 2, prefix + 7
    logits = torch.randn(images, tokens, tokens, generator=draw)
    selected = torch.tensor([[*range(prefix), prefix + 1, prefix + 4], [*range(prefix), prefix, prefix + 6]])
    inside, across = [], []
    for image in range(images):
        weight = logits[image].softmax(1)
        chosen = set(selected[image].tolist())
        for i in range(tokens):
            own = [weight[i, j] for j in range(tokens) if i in chosen and j in chosen]
            inside.append(sum(own) - 1.0 if i in chosen else 0.0)
            across.append(sum(weight[i, j] for j in range(prefix, tokens) if (i in chosen) != (j in chosen)))
    intra, inter = (sum(float(part) ** 2 for part in parts) / len(parts) for parts in (inside, across))
    assert inter > 0.01 < intra
    assert cut_loss(logits, selected, prefix, "intra").item() == pytest.approx(intra, rel=1e-5)
    assert cut_loss(logits, selected, prefix, "inter").item() == pytest.approx(inter, rel=1e-5)
    assert cut_loss(logits, selected, prefix, "both").item() == pytest.approx(intra + inter, rel=1e-5)


def cropr_score(model: ReducedModel) -> object:
    """sum_m Q_m . x_n, query by query."""
    queries = {layer: module.queries[0] for layer, module in model.method.croppers.items()}
    return lambda layer, features: sum(torch.dot(query, features).item() for query in queries[str(layer)])


def cropr_prediction(module: nn.Module, x: Tensor) -> Tensor:
    """What an auxiliary head says of the tokens x, (T, D), query by query: (M, classes)."""
    out, parts = [], module.aggregator
    for query in module.queries[0]:
        weights = torch.stack([torch.dot(query, token) for token in x]) / math.sqrt(x.shape[1])
        seen = (weights.softmax(0)[:, None] * x).sum(0)
        hidden = F.layer_norm(seen, (WIDTH,), parts.mlp[0].weight, parts.mlp[0].bias, eps=1e-6)
        hidden = F.gelu(F.linear(hidden, parts.mlp[1].weight, parts.mlp[1].bias))
        seen = seen + F.linear(hidden, parts.mlp[3].weight, parts.mlp[3].bias)
        seen = F.layer_norm(seen, (WIDTH,), parts.head[0].weight, parts.head[0].bias, eps=1e-5)
        out.append(F.linear(seen, parts.head[1].weight, parts.head[1].bias))
    return torch.stack(out)


def cropr_model(name: str, removed: tuple[int, ...], fusion: str = "none", queries: int = 1) -> ReducedModel:
    """Cropr whose modules have random biases and norms too."""
    model = reduced(name, "cropr", removed, fusion, queries=queries)
    draw = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for module in model.method.croppers.values():
            for parameter in module.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return model


@pytest.mark.parametrize("fusion", ["none", "last-layer"])
@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("name", ["vit", "vit with layer scale", "vit with registers, average", "eva02"])
def test_cropr_equals_loops(name: str, queries: int, fusion: str) -> None:
    """Logits in both modes, and in training the predictions of every auxiliary head."""
    removed = (9, 8, 0, 0) if fusion == "last-layer" else (9, 8, 8, 0)
    model = cropr_model(name, removed, fusion, queries)
    images = draw_images(model.backbone)
    logits = model(images)
    trained, _, auxiliary = model.train().outputs(images)
    assert len(auxiliary) == len(model.method.croppers) == sum(count > 0 for count in removed)
    for i, image in enumerate(images):
        again, _, seen = ranked_again(model.backbone, image, removed, cropr_score(model), fusion != "none")
        assert_near(logits[i], read_out(model.backbone, again))
        assert_near(trained[i], logits[i])
        for prediction, module, x in zip(auxiliary, model.method.croppers.values(), seen, strict=True):
            assert_near(prediction[i], cropr_prediction(module, x))
    assert model.eval().outputs(images).auxiliary == ()


def test_cropr_auxiliary_norms_differ_in_eps() -> None:
    """The MLP's norm has eps 1e-6 and the head's 1e-5; on features this faint it shows."""
    model = cropr_model("vit", (9, 0, 0, 0))
    module = model.method.croppers["0"]
    for parameter in module.aggregator.mlp[3].parameters():
        parameter.mul_(1e-3)
    x = 1e-3 * torch.randn(1, 20, WIDTH, generator=torch.Generator().manual_seed(1))
    found = module.predict(x)[0]
    assert_near(found, cropr_prediction(module, x[0]))


@torch.enable_grad()
def test_cropr_gradients_stay_apart() -> None:
    """The auxiliary loss, a plain sum, gives the backbone no gradient; the main loss gives the modules none."""
    model = cropr_model("vit", REMOVED).train()
    images, labels = draw_images(model.backbone), torch.tensor([1, 2, 3, 4])
    criterion = nn.CrossEntropyLoss()
    _, _, auxiliary = model.outputs(images)
    loss = model.method.auxiliary_loss(auxiliary, labels, criterion)
    assert loss is not None
    assert_near(loss, torch.stack([criterion(prediction[:, 0], labels) for prediction in auxiliary]).sum())
    loss.backward()
    assert [name for name, parameter in model.backbone.named_parameters() if parameter.grad is not None] == []
    for name, parameter in model.method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    model.zero_grad(set_to_none=True)
    criterion(model.outputs(images).logits, labels).backward()
    assert [name for name, parameter in model.method.named_parameters() if parameter.grad is not None] == []
    for name, parameter in model.backbone.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize("queries", [1, 5])
def test_deployed_cropr_is_one_vector_a_module(queries: int) -> None:
    """Deploying folds the queries, drops the aggregators and keeps the outputs."""
    model = cropr_model("vit", REMOVED, queries=queries)
    images = draw_images(model.backbone)
    before = model(images)
    summed = {layer: module.queries.sum(1, keepdim=True) for layer, module in model.method.croppers.items()}
    deployed = model.deploy()
    for layer, module in deployed.method.croppers.items():
        assert_near(module.queries, summed[layer], 1e-6)
    assert not deployed.training
    assert_near(deployed(images), before, 1e-6)
    assert {key: tuple(value.shape) for key, value in deployed.method.state_dict().items()} == {
        f"croppers.{layer}.queries": (1, 1, WIDTH) for layer in range(3)
    }
    with pytest.raises(ValueError, match="has no auxiliary heads left"):
        deployed.train().outputs(images)


# ---------------------------------------------------------------- 4. who draws


@pytest.mark.parametrize("method", METHODS)
def test_only_stochastic_methods_draw(method: str) -> None:
    """Twice the same images give the same bits, except where a method says that it draws."""
    model = reduced("vit", method, REMOVED)
    images = draw_images(model.backbone)
    torch.manual_seed(0)
    first, second = model(images), model(images)
    assert torch.equal(first, second) == (method not in STOCHASTIC)
    torch.manual_seed(0)
    assert torch.equal(model(images), first)


# ---------------------------------------------------------------- 5. last-layer fusion


@pytest.mark.parametrize("name", ["vit", "vit without class token", "eva02", "eva mixed rope"])
def test_fusion_brings_everybody_back_as_they_left(name: str) -> None:
    """What enters the last block are all first patches, with the features of an independent loop, once each."""
    model = reduced(name, "variance", REMOVED_EARLY, "last-layer")
    images = draw_images(model.backbone)
    entered: list[Tensor] = []
    hook = model.backbone.blocks[-1].norm1.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    tokens = model.tokens(images, track=True)
    hook.remove()
    logits, dense, prefix = model(images), model.dense(images), model.backbone.num_prefix_tokens
    assert tokens.position is not None
    assert tokens.representative is not None
    assert entered[0].shape[1] == prefix + PATCHES
    for i, image in enumerate(images):
        again, entering, _ = ranked_again(model.backbone, image, REMOVED_EARLY, variance_of, fusion=True)
        ours = {patch: entered[0][i, prefix + k] for k, patch in enumerate(tokens.position[i].tolist())}
        theirs = dict(zip(entering.position[prefix:], entering.x[prefix:], strict=True))
        assert sorted(ours) == list(range(PATCHES)) == sorted(theirs)
        assert_near(torch.stack([ours[p] for p in range(PATCHES)]), torch.stack([theirs[p] for p in range(PATCHES)]))
        representative = tokens.representative[i].tolist()
        assert sorted(representative) == list(range(PATCHES))
        assert [tokens.position[i, token].item() for token in representative] == list(range(PATCHES))
        assert_near(dense[i], dense_read_out(model.backbone, again))
        assert_near(logits[i], read_out(model.backbone, again))


# ---------------------------------------------------------------- 6. representatives of removed patches


@pytest.mark.parametrize("name", ["vit", "vit not square", "eva02"])
@pytest.mark.parametrize("method", ["attention-topk", "cropr", "random", "variance"])
def test_the_nearest_kept_patch_represents_a_dropped_one(method: str, name: str) -> None:
    """The representative of a representative that is dropped is a kept patch than which none is nearer in the grid."""
    model = reduced(name, method, REMOVED)
    images = draw_images(model.backbone)
    columns = model.method.context.grid[1]
    patches = model.method.context.schedule.patches
    before = [{patch: patch for patch in range(patches)} for _ in images]
    changed = 0
    for tokens in model.steps(images, track=True):
        assert tokens.representative is not None
        for i in range(len(images)):
            where = tokens.where[i].tolist()
            for patch in range(patches):
                old, new = before[i][patch], where[tokens.representative[i, patch]]
                nearest = min(math.dist(divmod(old, columns), divmod(kept, columns)) for kept in where)
                assert math.dist(divmod(old, columns), divmod(new, columns)) == nearest
                before[i][patch] = new
                changed += old != new
    assert changed >= len(images) * sum(REMOVED)


@pytest.mark.parametrize("method", METHODS)
def test_tracking_changes_no_logits(method: str) -> None:
    """The tokens are the same with and without representatives and positions."""
    model = reduced("vit", method, REMOVED)
    images = draw_images(model.backbone)
    torch.manual_seed(0)
    bare = model.tokens(images)
    torch.manual_seed(0)
    tracked = model.tokens(images, track=True)
    assert torch.equal(bare.x, tracked.x)
    assert bare.representative is None
    with pytest.raises(ValueError, match="track=True"):
        bare.dense()
    torch.manual_seed(0)
    assert model.dense(images).shape == (HEADS, PATCHES, WIDTH)
    assert model(images).shape == (HEADS, CLASSES)
