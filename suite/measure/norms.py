"""Operations of norms for one image by closed formula, which some counters add to multiply-accumulates; nothing runs.

fvcore takes 5 operations for each value that enters a LayerNorm, 4 if it has no weights, and one for a
multiply-accumulate (facebookresearch/fvcore, `fvcore/nn/jit_handles.py`, `norm_flop_counter`). Figures of ToMe, EViT
and timm fit to the last digit only so. It knows no RMSNorm, so that one costs nothing here either.

    before the blocks      (P + N0) D, if the backbone has a norm there
    block                  (T + M) D; T (Q + K) for norms of queries and keys, T Q inside the attention, M F in the MLP
    after the blocks       T D before pooling, D after it; for every pixel N0 D instead

in values, with the letters of `measure.cost`, P prefix tokens and N0 patches. Of a method's own norms those count that
it states in `own_cost`; Cropr's `pre_norm`, off by default, is not stated.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from suite.measure.cost import account, entering_patches, total
from suite.measure.macs import Macs
from suite.measure.tokens import expected_tokens
from suite.reduction.blocks import TimmModule
from suite.reduction.method import BlockShape, OwnCost
from suite.reduction.model import ReducedModel
from suite.reduction.shape import Shape, shape_of

PER_VALUE, WITHOUT_WEIGHTS = 5, 4  # operations


class Counts(NamedTuple):
    """Both conventions of `measure.macs`, and what a counter says that adds the operations of norms to them."""

    full: float
    linear: float
    full_with_norms: float
    linear_with_norms: float

    @property
    def norms(self) -> float:
        """Operations of norms alone."""
        return self.full_with_norms - self.full


def counts(model: ReducedModel, dense: bool = False) -> Counts:
    """What counters say of a deployed model, which is read out for every pixel if `dense`.

    Raises:
        UserError: for a backbone with a part whose cost is not known.
    """
    macs, norms = total(account(model, dense)), norm_operations(model, dense)
    return Counts(*macs, *Macs(macs.full + norms, macs.linear + norms))


def norm_operations(model: ReducedModel, dense: bool = False) -> int:
    """Operations of all norms of a deployed model, which is read out for every pixel if `dense`.

    Raises:
        UserError: for a backbone with a part whose cost is not known.
    """
    backbone, shape, ledger = model.backbone, shape_of(model.backbone), expected_tokens(model)
    operations = _of(backbone.patch_embed.norm, shape.patches * shape.width)
    operations += _of(backbone.norm_pre, (shape.prefix + shape.patches) * shape.width)
    for layer, patches in enumerate(entering_patches(model, shape)):
        widths = shape.blocks[layer]
        own = model.method.own_cost(patches, widths, layer)
        operations += _block(backbone.blocks[layer], widths, ledger.attention[layer], ledger.mlp[layer], own)
    return operations + _after(model, shape, ledger.leaving[-1], dense)


def _block(block: TimmModule, widths: BlockShape, attending: int, mlp: int, own: OwnCost) -> int:
    attention, projected = block.attn, attending + own.projected
    return (
        _of(block.norm1, (projected if widths.pre_norm else attending) * widths.width)
        + _of(attention.q_norm, projected * widths.query)
        + _of(attention.k_norm, projected * widths.key)
        + _of(attention.norm, attending * widths.query)
        + _of(block.norm2, mlp * widths.width)
        + _of(block.mlp.norm, mlp * widths.hidden)
        + PER_VALUE * own.normed * widths.width
    )


def _after(model: ReducedModel, shape: Shape, last: int, dense: bool) -> int:
    """After the blocks, which `last` tokens leave; with some fusions removed patches are back before the norm."""
    backbone, context = model.backbone, model.method.context
    back = dense and context.fusion in ("concatenation", "logits")
    operations = _of(backbone.norm, (shape.prefix + shape.patches if back else last) * shape.width)
    operations += _of(backbone.fc_norm, (shape.patches if dense else 1) * shape.width)
    if context.fusion == "logits" and model.method.settings.reduces != "nothing":
        operations += PER_VALUE * sum(context.schedule.removed) * shape.width
    return operations


def _of(norm: nn.Module, values: int) -> int:
    """Operations of a norm that so many values enter; 0 where there is none."""
    if not isinstance(norm, nn.LayerNorm):
        return 0
    return values * (WITHOUT_WEIGHTS if norm.weight is None else PER_VALUE)
