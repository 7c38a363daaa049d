"""Depends on timm's internals, as only it and attention.py do: a transformer block, split into functions.

`embed`, `project`, `attend`, `feed_forward`, `run` and `finish` together equal timm's forward bit for bit, and
tokens can be removed between any two of them. Tables are keyed by the exact type of a block or attention;
other types are refused by name, because similar blocks share attribute names and would be silently wrong.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block, ResPostBlock, VisionTransformer

from suite.reduction.attention import (
    PROJECT,
    TimmModule,
    folds_keys,
    for_queries,
    gate_of,
    placed,
    query_and_key,
    some_projected,
)
from suite.reduction.projection import Projection
from suite.reduction.tokens import Tokens

BACKBONES = (VisionTransformer, VisionTransformerDistilled, Eva)
PRE_NORM = (Block, EvaBlock)
POST_NORM = (ResPostBlock, EvaBlockPostNorm)


def check_supported(model: TimmModule) -> None:
    """Refuse a model of unsupported type; TypeError naming the type found and the types supported."""
    _refuse_unknown(model, BACKBONES, "backbone")
    if type(model.patch_drop) not in (nn.Identity, type(None)):
        raise TypeError("a backbone with patch dropout removes patches by itself; build it with patch_drop_rate=0")
    for block in model.blocks:
        _refuse_unknown(block, PRE_NORM + POST_NORM, "block")
        _refuse_unknown(block.attn, tuple(PROJECT), "attention")


def embed(model: TimmModule, images: Tensor, track: bool = False) -> tuple[Tokens, tuple[Tensor | None, ...]]:
    """Embed images, (B, 3, height, width); returns the tokens and the rotary table of each block.

    With `track` the tokens also have representatives of all patches, for a dense read-out.

    ValueError for images of another size than the model takes.
    """
    _check_size(model.patch_embed, images)
    grid = model.patch_embed.dynamic_feat_size(images.shape[-2:])
    if type(model) is Eva:
        x, rotary = model._pos_embed(model.patch_embed(images))
        x = model.norm_pre(x)
    else:
        x, rotary = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images)))), None
    depth = len(model.blocks)
    tables = tuple(rotary) if rotary is not None and rotary.dim() == 4 else (rotary,) * depth
    tokens = Tokens(x, model.num_prefix_tokens, grid, tracked=track or rotary is not None)
    return (replace(tokens, representative=tokens.where) if track else tokens), tables


def project(block: TimmModule, tokens: Tokens) -> Projection:
    """Queries, keys and values of all tokens, without attending."""
    attention, x = block.attn, _input(block, tokens)
    query, key, value = PROJECT[type(attention)](attention, x)
    query, key = placed(attention, tokens, query, key)
    value, gate = for_queries(attention, value), gate_of(attention, x)
    return Projection(query, key, value, gate, _log_size(tokens), attention.scale, tokens.prefix)


def attention_map(block: TimmModule, tokens: Tokens) -> Tensor:
    """Attention of all tokens to all, (B, H, P+N, P+N), without projecting values."""
    query, key = placed(block.attn, tokens, *some_projected(block.attn, _input(block, tokens), 0, 2))
    none = query.new_empty(0)
    return Projection(query, key, none, None, _log_size(tokens), block.attn.scale, tokens.prefix).attention()


def class_logits(
    block: TimmModule, tokens: Tokens, projection: Projection | None = None
) -> tuple[Tensor, Projection | None]:
    """Class token's logits on the patches, mean over heads, (B, N), and the projection if there is one.

    Where keys are a linear map of the tokens none is projected: with key weight W, q (W x) = (q W) x, which takes
    D^2 + N D products instead of N D^2. These logits lack the scale and what is equal for all patches of an image.
    """
    if projection is None and folds_keys(block.attn, tokens.rotary is not None):
        x = _input(block, tokens)
        query, bias, key = query_and_key(block.attn)
        folded = F.linear(x[:, 0], query, bias) @ key
        return (x @ folded.unsqueeze(-1))[:, tokens.prefix :, 0], None
    projection = project(block, tokens) if projection is None else projection
    return projection.class_logits(), projection


def attend(
    block: TimmModule,
    tokens: Tokens,
    projection: Projection | None = None,
    keep: Tensor | None = None,
    proportional: bool = True,
) -> tuple[Tokens, Projection]:
    """Attention residual of a block, among all tokens or only the prefix and the patches `keep`, (B, K).

    Pass the `projection` of all tokens if it is known already; without it only those that attend are projected. With
    `Projection.asked_by` they attend to more tokens than themselves. Returns the tokens that took part, and the
    projection they attended with. Once tokens carry sizes, attention is proportional to them (ToMe, section 3) unless
    `proportional` is off; of size 0, padding is no key. See `Projection.masked` for tokens with a policy.
    """
    if keep is not None:
        projection = None if projection is None else projection.select(tokens.with_prefix(keep))
        tokens = tokens.select(keep)
    projection = project(block, tokens) if projection is None else projection
    used = projection if proportional else replace(projection, bias=None)
    y = _weighted_values(used, tokens.policy, _dropout(block.attn))
    return _added(block, tokens, y, projection.gate), projection


def attend_by(block: TimmModule, tokens: Tokens, weight: Tensor) -> Tokens:
    """Attention residual of a block by attention that is known, (B, H, P+N, P+N); only values are projected."""
    attention, x = block.attn, _input(block, tokens)
    (value,) = some_projected(attention, x, 2, 3)
    y = F.dropout(weight, _dropout(attention)) @ for_queries(attention, value)
    return _added(block, tokens, y, gate_of(attention, x))


def _added(block: TimmModule, tokens: Tokens, y: Tensor, gate: Tensor | None) -> Tokens:
    """Tokens with sums of values, (B, H, P+N, d), as the residual."""
    attention = block.attn
    y = attention.norm(y.transpose(1, 2).flatten(2))
    y = y if gate is None else y * gate
    y = attention.proj_drop(attention.proj(y))
    return replace(tokens, x=tokens.x + block.drop_path1(_attention_branch(block, y)))


def _dropout(attention: TimmModule) -> float:
    return attention.attn_drop.p if attention.training else 0.0


def _weighted_values(projection: Projection, policy: Tensor | None, dropout: float) -> Tensor:
    """Sums of values by attention, (B, H, P+N, d); a policy, (B, N), masks patches."""
    if policy is not None:
        return projection.masked(policy, dropout)
    query, bias = projection.query, projection.bias
    mask = None if bias is None else bias.expand(-1, -1, query.shape[2], -1)
    return F.scaled_dot_product_attention(query, projection.key, projection.value, mask, dropout)


def feed_forward(block: TimmModule, tokens: Tokens) -> Tokens:
    """MLP residual of a block."""
    y = block.mlp(tokens.x if type(block) in POST_NORM else block.norm2(tokens.x))
    return replace(tokens, x=tokens.x + block.drop_path2(_mlp_branch(block, y)))


def drop_no_path(block: TimmModule) -> None:
    """Take stochastic depth out of a block, as Cropr's official recipes do with the last."""
    block.drop_path1, block.drop_path2 = nn.Identity(), nn.Identity()


def run(block: TimmModule, tokens: Tokens) -> Tokens:
    """The whole block, unchanged."""
    return feed_forward(block, attend(block, tokens)[0])


def finish(model: TimmModule, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Final norm, pooling and head: logits, (B, classes), and the feature, (B, D), that the head reads."""
    return read(model, normed(model, tokens))


def normed(model: TimmModule, tokens: Tokens) -> Tokens:
    """Tokens after the final norm."""
    return replace(tokens, x=model.norm(tokens.x))


def read(model: TimmModule, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """What `finish` returns, of tokens after the final norm.

    Average pooling weighs tokens by their size and skips padding and masked ones; everything else is timm's own head.

    ValueError for padding or masked tokens under another pooling that reads patches.
    """
    x = tokens.x
    if type(model) is VisionTransformerDistilled:  # two heads, whose features timm averages
        return model.forward_head(x), model.forward_head(x, pre_logits=True)
    feature = _pool(model, x, tokens)
    return model.head(feature), feature


def _pool(model: TimmModule, x: Tensor, tokens: Tokens) -> Tensor:
    size, policy = tokens.size, tokens.policy
    if (policy is not None or tokens.padded) and model.global_pool not in ("avg", "token"):
        what = "padding" if policy is None else "masked patches"
        raise ValueError(f"global_pool {model.global_pool!r} would read {what}; use 'avg' or 'token'")
    seen = policy if size is None else size if policy is None else size * policy
    if seen is None or model.global_pool != "avg":
        return model.forward_head(x, pre_logits=True)  # type: ignore[no-any-return]
    with_prefix = type(model) is not Eva and model.pool_include_prefix
    weight = F.pad(seen, (tokens.prefix, 0), value=1.0 if with_prefix else 0.0)
    total = weight.sum(1, keepdim=True)
    total = total if policy is None else total.clamp(min=1)  # an image may have nothing left
    pooled = torch.einsum("bt,btd->bd", (weight / total).to(x.dtype), x)
    return model.head_drop(model.fc_norm(pooled))  # type: ignore[no-any-return]


def _attention_branch(block: TimmModule, y: Tensor) -> Tensor:
    if type(block) is Block:
        return block.ls1(y)  # type: ignore[no-any-return]
    if type(block) is EvaBlock:
        return y if block.gamma_1 is None else block.gamma_1 * y
    return block.norm1(y)  # type: ignore[no-any-return]


def _mlp_branch(block: TimmModule, y: Tensor) -> Tensor:
    if type(block) is Block:
        return block.ls2(y)  # type: ignore[no-any-return]
    if type(block) is EvaBlock:
        return y if block.gamma_2 is None else block.gamma_2 * y
    return block.norm2(y)  # type: ignore[no-any-return]


def _input(block: TimmModule, tokens: Tokens) -> Tensor:
    """What a block's attention reads."""
    return tokens.x if type(block) in POST_NORM else block.norm1(tokens.x)


def _log_size(tokens: Tokens) -> Tensor | None:
    if tokens.size is None:
        return None
    return F.pad(tokens.size.log(), (tokens.prefix, 0))[:, None, None]


def _check_size(patch_embed: TimmModule, images: Tensor) -> None:
    wanted, found = patch_embed.img_size, tuple(images.shape[-2:])
    if patch_embed.strict_img_size and wanted is not None and found != tuple(wanted):
        raise ValueError(
            f"the images have {found[0]} x {found[1]} pixels but the model takes {wanted[0]} x {wanted[1]}; "
            "resize them, or build the model for their size"
        )


def _refuse_unknown(module: nn.Module, known: tuple[Any, ...], what: str) -> None:
    if type(module) not in known:
        raise TypeError(
            f"{what} {type(module).__module__}.{type(module).__qualname__} is not supported; "
            f"supported: {', '.join(kind.__qualname__ for kind in known)}"
        )
