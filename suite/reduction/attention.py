"""What is inside timm's attention: its projections, norms, rotations and gates. See blocks.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.layers import Attention, AttentionRope, apply_rot_embed_cat
from timm.models.eva import EvaAttention

from suite.reduction.tokens import Tokens

TimmModule = Any  # a timm backbone, block or attention; timm declares few types
ROTARY = (EvaAttention, AttentionRope)


def folds_keys(attention: TimmModule, rotary: bool) -> bool:
    """Whether keys are nothing but a linear map of the tokens: not normalised, rotated or shared by queries."""
    plain = type(attention.k_norm) is nn.Identity and not (rotary and type(attention) in ROTARY)
    query, _, key = query_and_key(attention)
    return plain and query.shape == key.shape


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


def some_projected(attention: TimmModule, x: Tensor, first: int, end: int) -> tuple[Tensor, ...]:
    """Of query, key and value those from `first` to before `end`; grouped queries have fewer keys and values."""
    if attention.qkv is None:
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)[first:end]
        return tuple(part(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for part in parts)
    width, bias = attention.qkv.weight.shape[0] // 3, attention.qkv.bias
    if type(attention) is EvaAttention and attention.q_bias is not None:
        bias = torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
    rows = slice(first * width, end * width)
    joint = F.linear(x, attention.qkv.weight[rows], None if bias is None else bias[rows])
    return tuple(joint.unflatten(-1, (end - first, attention.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0))


def query_and_key(attention: TimmModule) -> tuple[Tensor, Tensor | None, Tensor]:
    """Weight and bias of the query projection, and weight of the key projection."""
    if attention.qkv is None:
        return attention.q_proj.weight, attention.q_proj.bias, attention.k_proj.weight
    query, key, _ = attention.qkv.weight.chunk(3)
    if type(attention) is EvaAttention:
        return query, attention.q_bias, key
    return query, None if attention.qkv.bias is None else attention.qkv.bias.chunk(3)[0], key


def _joint_or_separate(attention: TimmModule, x: Tensor) -> tuple[Tensor, ...]:
    return some_projected(attention, x, 0, 3) if attention.qkv is None else _joint(attention, x)


PROJECT: dict[Any, Callable[[TimmModule, Tensor], tuple[Tensor, ...]]] = {
    Attention: _joint,
    EvaAttention: _joint_or_separate,
    AttentionRope: _joint_or_separate,
}


def gate_of(attention: TimmModule, x: Tensor) -> Tensor | None:
    """Factor on the attention's output, (B, P+N, H*d), if it has one."""
    return None if attention.gate is None else attention.gate(x).sigmoid()


def placed(attention: TimmModule, tokens: Tokens, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys, normalised, rotated, and as many of one as of the other."""
    kind = key.dtype
    query, key = attention.q_norm(query), attention.k_norm(key)
    if tokens.rotary is not None and type(attention) in ROTARY:
        table = _rotation(tokens)
        query = _rotate(query, table, tokens.prefix, attention.rotate_half).to(kind)
        key = _rotate(key, table, tokens.prefix, attention.rotate_half).to(kind)
    return query, for_queries(attention, key)


def for_queries(attention: TimmModule, x: Tensor) -> Tensor:
    """Keys or values, (B, H', T, d), of which a group of queries may share one."""
    groups = attention.num_kv_groups if type(attention) is AttentionRope else 1
    return x if groups == 1 else x.repeat_interleave(groups, dim=1)


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
