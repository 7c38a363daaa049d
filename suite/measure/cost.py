"""Multiply-accumulates of one image by closed formula, part by part; nothing runs, and torch's counter has no say.

A block of T tokens that attend and M that enter its MLP, of widths D, Q (queries), K (keys and values), G (gate) and F
(hidden), costs

    T D (Q + 2K + G)  queries, keys, values          2 T^2 Q   attention products, Q K^T and its product with V
    T Q D             output projection              2 M D F   MLP; 3 M D F if gated, as SwiGLU

and what the method says that it adds (`Method.own_cost`). Only matrix products and convolutions count: norms, softmax,
activations, rotations, LayerScale, sorting, moving tokens and their distances on the patch grid do not, in either
convention (see `measure.macs`; norms, for those who count them, are in `measure.norms`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from suite.measure.macs import Macs
from suite.measure.tokens import expected_tokens
from suite.reduction.method import BlockShape, OwnCost
from suite.reduction.model import ReducedModel
from suite.reduction.shape import Shape, shape_of

INPUT, FUSION, READ_OUT = "input", "fusion", "read-out"  # places besides the blocks
PROJECTION, PRODUCTS, OUTPUT, MLP = "queries, keys, values", "attention products", "output projection", "MLP"
PATCHES, METHOD, HEAD = "patch embedding", "method", "head"
HEADS, CROSS = "heads of removed patches", "projections"


class Part(NamedTuple):
    """One entry of the account.

    Attributes:
        place: `input`, `block 0` and so on, `fusion` or `read-out`.
        what: is computed there.
        macs: multiply-accumulates for one image.
    """

    place: str
    what: str
    macs: int


def account(model: ReducedModel, dense: bool = False) -> list[Part]:
    """All parts of a deployed model that cost anything, in order.

    With `dense` it is read out for every pixel, as `tasks.segmentation.pixels.PixelModel` does; else it classifies.

    Raises:
        UserError: for a backbone with a part whose cost is not known.
    """
    shape, ledger = shape_of(model.backbone), expected_tokens(model)
    parts = [Part(INPUT, PATCHES, shape.patches * shape.values * shape.width)]
    for layer, (block, entering) in enumerate(zip(shape.blocks, entering_patches(model, shape), strict=True)):
        place, own = f"block {layer}", model.method.own_cost(entering, block, layer)
        parts += [Part(place, *part) for part in _block(block, ledger.attention[layer], ledger.mlp[layer], own)]
    parts += [Part(FUSION, *part) for part in _fusion(model, shape, ledger.leaving[-1], dense)]
    parts.append(Part(READ_OUT, HEAD, _read_out(model, shape, ledger.leaving[-1], dense)))
    return [part for part in parts if part.macs]


def total(parts: Iterable[Part]) -> Macs:
    """The sum in both conventions."""
    entries = list(parts)
    full = sum(part.macs for part in entries)
    return Macs(full, full - sum(part.macs for part in entries if part.what == PRODUCTS))


def entering_patches(model: ReducedModel, shape: Shape) -> list[int]:
    """Patches in the sequence before each block."""
    after = [tokens - shape.prefix for tokens in expected_tokens(model).leaving]
    before = [shape.patches, *after[:-1]]
    return [*before[:-1], shape.patches] if model.method.context.fusion == "last-layer" else before


def _block(block: BlockShape, attending: int, mlp: int, own: OwnCost) -> Iterator[tuple[str, int]]:
    projected = attending + own.projected
    yield PROJECTION, projected * block.width * (block.query + 2 * block.key + block.gate)
    yield PRODUCTS, 2 * attending**2 * block.query
    yield OUTPUT, attending * block.query * block.width
    yield MLP, mlp * block.width * block.hidden * (3 if block.gated else 2)
    yield METHOD, own.macs


def _fusion(model: ReducedModel, shape: Shape, last: int, dense: bool) -> Iterator[tuple[str, int]]:
    """What a fusion learns; `last` tokens leave the last block. The others only move tokens."""
    context = model.method.context
    if context.fusion == "logits" and model.method.settings.reduces != "nothing":
        yield HEADS, sum(context.schedule.removed) * shape.width * shape.classes
    if context.fusion == "cross-attention" and dense:
        yield CROSS, (2 * last + shape.patches) * shape.width**2
        yield PRODUCTS, 2 * shape.patches * last * shape.width


def _read_out(model: ReducedModel, shape: Shape, last: int, dense: bool) -> int:
    """Heads, and average pooling where it is a sum weighted by the sizes of `last` tokens."""
    if dense:
        return shape.patches * shape.width * shape.classes
    weighted = model.method.weighs_pooling() and shape.pooling == "avg"
    return shape.heads * shape.width * shape.classes + (last * shape.width if weighted else 0)
