"""What images take without their padding, where a method keeps different numbers of their patches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from suite.measure.count import METHOD, MLP, OUTPUT, PRODUCTS, PROJECTION, Count, Macs
from suite.reduction.model import ReducedModel

IMAGES = 100  # that studies look at, the first ones


class Unpadded(NamedTuple):
    """Means over images: tokens that leave each block, prefix included, and multiply-accumulates."""

    tokens: tuple[float, ...]
    macs: Macs


@torch.inference_mode()
def unpadded(model: ReducedModel, batches: Iterable[Tensor], counted: Count) -> Unpadded:
    """Run images, (B, 3, height, width), in evaluation mode; `counted` is what `count` says of the padded model.

    Each part of a block's multiply-accumulates grows with the tokens that enter it, that leave it, or with both.
    """
    model.eval()
    lengths = [torch.stack([tokens.lengths for tokens in model.steps(images)], 1) for images in batches]
    own = torch.cat(lengths).double().cpu()
    shares = _shares(model, own, torch.tensor([counted.tokens.leaving]))
    full = linear = 0.0
    for part in counted.parts:
        name, _, layer = part.place.partition(" ")
        macs = part.macs * (float(shares[part.what][:, int(layer)].mean()) if name == "block" else 1.0)
        full, linear = full + macs, linear + macs * (part.what != PRODUCTS)
    return Unpadded(tuple(own.mean(0).tolist()), Macs(full, linear))


def _shares(model: ReducedModel, own: Tensor, padded: Tensor) -> dict[str, Tensor]:
    """Of each part, what images need of it in each block, (B, depth), by the tokens that leave the blocks."""
    entering = _entering(model, own) / _entering(model, padded)
    leaving, stage = own / padded, model.method.settings.removal_stage()
    keys = leaving if stage == "pre" else entering
    attention = leaving if stage in ("pre", "within") else entering
    mlp = entering if stage == "post" else leaving
    return {PROJECTION: keys, PRODUCTS: attention * keys, OUTPUT: attention, MLP: mlp, METHOD: entering}


def _entering(model: ReducedModel, leaving: Tensor) -> Tensor:
    """Tokens that enter each block, (B, depth), by those that leave each."""
    context = model.method.context
    entering = leaving.roll(1, 1)
    entering[:, 0] = context.prefix + context.schedule.patches
    if context.fusion == "last-layer":
        entering[:, -1] = entering[:, 0]
    return entering
