"""The only file that depends on timm's internals: a transformer block, split into functions.

`embed`, `project`, `attend`, `feed_forward`, `run` and `finish` together equal timm's forward bit for bit, and
tokens can be removed between any two of them. Tables are keyed by the exact type of a block or attention;
other types are refused by name, because similar blocks share attribute names and would be silently wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.layers import Attention, AttentionRope, apply_rot_embed_cat
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block, ResPostBlock, VisionTransformer

from suite.reduction.projection import Projection
from suite.reduction.tokens import Tokens

TimmModule = Any  # a timm backbone, block or attention; timm declares few types

BACKBONES = (VisionTransformer, VisionTransformerDistilled, Eva)
PRE_NORM = (Block, EvaBlock)
POST_NORM = (ResPostBlock, EvaBlockPostNorm)
ROTARY = (EvaAttention, AttentionRope)


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
    attention = block.attn
    x = tokens.x if type(block) in POST_NORM else block.norm1(tokens.x)
    query, key, value = PROJECT[type(attention)](attention, x)
    query, key = attention.q_norm(query), attention.k_norm(key)
    if tokens.rotary is not None and type(attention) in ROTARY:
        table = _rotation(tokens)
        query = _rotate(query, table, tokens.prefix, attention.rotate_half).type_as(value)
        key = _rotate(key, table, tokens.prefix, attention.rotate_half).type_as(value)
    if type(attention) is AttentionRope and attention.num_kv_groups > 1:
        key = key.repeat_interleave(attention.num_kv_groups, dim=1)
        value = value.repeat_interleave(attention.num_kv_groups, dim=1)
    gate = None if attention.gate is None else attention.gate(x).sigmoid()
    return Projection(query, key, value, gate, _log_size(tokens), attention.scale, tokens.prefix)


def folds_keys(attention: TimmModule, rotary: bool) -> bool:
    """Whether keys are nothing but a linear map of the tokens: not normalised, rotated or shared by queries."""
    plain = type(attention.k_norm) is nn.Identity and not (rotary and type(attention) in ROTARY)
    query, _, key = _query_and_key(attention)
    return plain and query.shape == key.shape


def class_logits(
    block: TimmModule, tokens: Tokens, projection: Projection | None = None
) -> tuple[Tensor, Projection | None]:
    """Class token's logits on the patches, mean over heads, (B, N), and the projection if there is one.

    Where keys are a linear map of the tokens none is projected: with key weight W, q (W x) = (q W) x, which takes
    D^2 + N D products instead of N D^2. These logits lack the scale and what is equal for all patches of an image.
    """
    if projection is None and folds_keys(block.attn, tokens.rotary is not None):
        x = tokens.x if type(block) in POST_NORM else block.norm1(tokens.x)
        query, bias, key = _query_and_key(block.attn)
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
    attention = block.attn
    used = projection if proportional else replace(projection, bias=None)
    y = _weighted_values(used, tokens.policy, attention.attn_drop.p if attention.training else 0.0)
    y = attention.norm(y.transpose(1, 2).flatten(2))
    if projection.gate is not None:
        y = y * projection.gate
    y = attention.proj_drop(attention.proj(y))
    return replace(tokens, x=tokens.x + block.drop_path1(_attention_branch(block, y))), projection


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


def _joint(attention: TimmModule, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One projection for query, key and value; EVA keeps the biases apart and has none for the key."""
    if type(attention) is EvaAttention and attention.q_bias is not None:
        bias = torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
        separate = attention.qkv_bias_separate
        joint = attention.qkv(x) + bias if separate else F.linear(x, attention.qkv.weight, bias)
    else:
        joint = attention.qkv(x)
    query, key, value = joint.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    return query, key, value


def _separate(attention: TimmModule, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three projections; grouped-query attention has fewer key and value heads."""
    query, key, value = (
        part(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for part in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    return query, key, value


def _query_and_key(attention: TimmModule) -> tuple[Tensor, Tensor | None, Tensor]:
    """Weight and bias of the query projection, and weight of the key projection."""
    if attention.qkv is None:
        return attention.q_proj.weight, attention.q_proj.bias, attention.k_proj.weight
    query, key, _ = attention.qkv.weight.chunk(3)
    if type(attention) is EvaAttention:
        return query, attention.q_bias, key
    return query, None if attention.qkv.bias is None else attention.qkv.bias.chunk(3)[0], key


def _joint_or_separate(attention: TimmModule, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return (_separate if attention.qkv is None else _joint)(attention, x)


PROJECT: dict[Any, Callable[[TimmModule, Tensor], tuple[Tensor, Tensor, Tensor]]] = {
    Attention: _joint,
    EvaAttention: _joint_or_separate,
    AttentionRope: _joint_or_separate,
}


def _rotation(tokens: Tokens) -> Tensor:
    """Rotary table of the tokens where they are now, broadcastable to (B, H, N, d)."""
    table, position = tokens.rotary, tokens.position
    assert table is not None
    if position is None:
        return table
    half = table.shape[-1] // 2
    identity = torch.cat([table.new_zeros(*table.shape[:-2], 1, half), table.new_ones(*table.shape[:-2], 1, half)], -1)
    table = torch.cat([table, identity], -2)  # position -1 is the last row: a fused token is not rotated
    if table.dim() == 2:
        return table[position].unsqueeze(1)
    return table[:, position].transpose(0, 1)


def _rotate(x: Tensor, table: Tensor, prefix: int, half: bool) -> Tensor:
    rotated: Tensor = apply_rot_embed_cat(x[:, :, prefix:], table, half=half)
    return torch.cat([x[:, :, :prefix], rotated], dim=2)


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
