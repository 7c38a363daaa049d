"""What a call of a torch function makes on the meta device, and what it computes.

torch's own counter looks at the operators of a call, of which torch finds the shapes by decompositions in Python: up to
two milliseconds for a norm. Of the functions that models call most, both follow from shapes at once, and what only
selects, moves, sorts or adds up is not looked into.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import MethodWrapperType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

FUSED_ON_CPU = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
LAYER_NORM = torch.ops.aten.native_layer_norm
PER_VALUE, WITHOUT_WEIGHTS = 5, 4  # operations


class Call(NamedTuple):
    """What a call made, FLOPs of its matrix products and convolutions, and operations of norms in it."""

    result: Any
    flops: int = 0
    norms: int = 0


def call(func: Any, args: Any, kwargs: Any) -> Call:
    """Call a torch function; what it makes has the right shape and type, and on the meta device that is all it has."""
    if func in FREE or isinstance(func, MethodWrapperType):  # which reads an attribute, such as a shape
        return Call(func(*args, **kwargs))
    tensors = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
    ruled = func in RULES and all(one.is_meta for one in tensors)
    return (ruled and RULES[func](*args, **kwargs)) or by_torch(func, args, kwargs)


def by_torch(func: Any, args: Any, kwargs: Any) -> Call:
    """The same by torch's counter, on any device."""
    counter = FlopCounterMode(display=False, custom_mapping=MISSING | NORMS)
    with counter:
        result = func(*args, **kwargs)
    flops = counter.flop_counts["Global"]
    norms = flops.pop(LAYER_NORM, 0)
    return Call(result, sum(flops.values()), norms)


def _fused_on_cpu(query: Any, key: Any, value: Any, *_args: Any, **_kwargs: Any) -> int:
    """Fill a gap: torch has no formula for the fused attention kernel of the CPU."""
    flops: int = sdpa_flop_count(query, key, value)
    return flops


def _matrix_vector(matrix: Sequence[int], _vector: Sequence[int], *_: Any, **__: Any) -> int:
    """Fill a gap: torch has no formula for the product of a matrix or vector with a vector."""
    return 2 * math.prod(matrix)


def _added(_to: Sequence[int], first: Sequence[int], second: Sequence[int], *_: Any, **__: Any) -> int:
    """Fill a gap: the same with a sum, of a matrix and a vector or of a batch of matrices each."""
    return 2 * math.prod(first) * (second[-1] if len(second) > 1 else 1)


def _norm(x: Sequence[int], _normalized: Sequence[int], weight: Sequence[int] | None, *_: Any, **__: Any) -> int:
    """Operations of a LayerNorm as fvcore counts them."""
    return math.prod(x) * (WITHOUT_WEIGHTS if weight is None else PER_VALUE)


def _distances(first: Sequence[int], second: Sequence[int], *_: Any, **__: Any) -> int:
    """Fill a gap: torch has no formula for distances of all to all, which are a matrix product and little more."""
    return 2 * math.prod(first) * second[-2]


DISTANCES = (torch.ops.aten.cdist, torch.ops.aten._cdist_forward, torch.ops.aten._euclidean_dist)  # whichever is called
MISSING = {
    FUSED_ON_CPU: _fused_on_cpu,
    **dict.fromkeys((torch.ops.aten.mv, torch.ops.aten.dot, torch.ops.aten.vdot), _matrix_vector),
    **dict.fromkeys((torch.ops.aten.addmv, torch.ops.aten.addbmm), _added),
    **dict.fromkeys(DISTANCES, _distances),
}
NORMS = {LAYER_NORM: _norm}


def _alike(input: Tensor, *_: Any, **__: Any) -> Call | None:  # noqa: A002  (torch's names: they may be keywords)
    if not input.is_floating_point():
        return None
    return Call(input.detach() if input.is_contiguous() else input.new_empty(input.shape))


def _layer_norm(
    input: Tensor,  # noqa: A002
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *_: Any,
    **__: Any,
) -> Call | None:
    own, made = tuple(normalized_shape), _alike(input)
    fits = own == input.shape[-len(own) :] and all(part is None or part.shape == own for part in (weight, bias))
    if made is None or not fits:
        return None
    return Call(made.result, 0, _norm(input.shape, own, None if weight is None else weight.shape))


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Call | None:  # noqa: A002
    if input.shape[-1] != weight.shape[-1] or (bias is not None and bias.shape != weight.shape[:-1]):
        return None
    shape = *input.shape[:-1], *weight.shape[:-1]
    return Call(input.new_empty(shape), 2 * input.numel() * math.prod(weight.shape[:-1]))


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Call | None:
    alike = key.shape == value.shape and query.shape[:2] == key.shape[:2] and query.shape[-1] == key.shape[-1]
    if query.ndim != 4 or not alike:
        return None
    return Call(query.new_empty(query.shape), _fused_on_cpu(query.shape, key.shape, value.shape))


def _elementwise(x: Any, other: Any, **_: Any) -> Call | None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return None
    shape = torch.broadcast_shapes(x.shape, other.shape) if isinstance(other, Tensor) else x.shape
    dtype = torch.result_type(x, other)
    return _alike(x) if (shape, dtype) == (x.shape, x.dtype) else Call(x.new_empty(shape, dtype=dtype))


Rule = Callable[..., Call | None]  # None for a call that it does not fit
RULES: dict[Any, Rule] = {
    F.linear: _linear,
    F.layer_norm: _layer_norm,
    F.scaled_dot_product_attention: _attention,
    **dict.fromkeys((F.gelu, F.dropout, F.normalize, Tensor.square), _alike),
    **dict.fromkeys((Tensor.add, Tensor.sub, Tensor.mul, Tensor.div), _elementwise),
}
FREE = {  # of matrix products, convolutions and norms
    *(Tensor.__getitem__, Tensor.flatten, Tensor.unflatten, Tensor.view, Tensor.permute, Tensor.transpose),
    *(Tensor.expand, Tensor.unsqueeze, Tensor.unbind, Tensor.chunk, torch.cat, torch.arange, F.pad),
    *(Tensor.gather, Tensor.index_select, Tensor.scatter_add, Tensor.topk, Tensor.argsort, torch.argsort),
    *(Tensor.mean, Tensor.sum, Tensor.max),
}
