"""Multiply-accumulates of one image, counted by torch while the model runs.

Two conventions are in use, and a column must name its own: `full` counts every matrix product and convolution; `linear`
leaves out the two products of the fused attention (Q K^T and its product with V), as counters do that cannot see fused
kernels. Neither counts norms, softmax, activations, rotations, LayerScale, sorting or moving tokens.

Some counters add operations of norms. fvcore takes 5 for each value that enters a LayerNorm, 4 if it has no weights,
and one for a multiply-accumulate (facebookresearch/fvcore, `fvcore/nn/jit_handles.py`, `norm_flop_counter`). Figures of
ToMe, EViT and timm fit to the last digit only so. It knows no RMSNorm, so that one costs nothing here either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

FUSED_ON_CPU = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
LAYER_NORM = torch.ops.aten.native_layer_norm
PER_VALUE, WITHOUT_WEIGHTS = 5, 4  # operations


class Macs(NamedTuple):
    """Multiply-accumulates of one image in both conventions."""

    full: float
    linear: float


def _fused_on_cpu(query: Any, key: Any, value: Any, *_args: Any, **_kwargs: Any) -> int:
    """Fill a gap: torch has no formula for the fused attention kernel of the CPU."""
    flops: int = sdpa_flop_count(query, key, value)
    return flops


def _matrix_vector(matrix: Sequence[int], _vector: Sequence[int], *_: Any, **__: Any) -> int:
    """Fill a gap: torch has no formula for the product of a matrix and a vector, such as Cropr's scores of an image."""
    return 2 * math.prod(matrix)


def _layer_norm(x: Sequence[int], _normalized: Sequence[int], weight: Sequence[int] | None, *_: Any, **__: Any) -> int:
    """Operations of a LayerNorm as fvcore counts them."""
    return math.prod(x) * (WITHOUT_WEIGHTS if weight is None else PER_VALUE)


MISSING = {FUSED_ON_CPU: _fused_on_cpu, torch.ops.aten.mv: _matrix_vector}
NORMS = {LAYER_NORM: _layer_norm}


@torch.inference_mode()
def count_macs(model: nn.Module, images: Tensor) -> Macs:
    """Count the matrix products and convolutions of a forward pass, divided by the number of images."""
    counter = FlopCounterMode(display=False, custom_mapping=MISSING)
    with counter:
        model(images)
    by_operator = counter.get_flop_counts()["Global"]
    full = sum(by_operator.values())
    attention = sum(flops for operator, flops in by_operator.items() if "scaled_dot_product" in str(operator))
    return Macs(full / 2 / len(images), (full - attention) / 2 / len(images))
