"""When each patch left: which patches still have a token of their own after each block."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from suite.reduction.blocks import embed
from suite.reduction.model import ReducedModel


@torch.no_grad()
def presence(model: ReducedModel, images: Tensor) -> Tensor:
    """Whether each first patch has a token of its own after each block, (B, depth, N0), in evaluation mode.

    A merged patch has none, its destination has. For an idling method it is whether the block computed it.
    """
    model.eval()
    steps = list(model.steps(images, track=True))
    if model.method.settings.reduces != "idles":
        return torch.stack([tokens.is_kept() for tokens in steps], 1)
    rows = [embed(model.backbone, images)[0].patches, *(tokens.patches for tokens in steps)]
    return torch.stack([(after != before).any(-1) for before, after in pairwise(rows)], 1)


def left_after(present: Tensor) -> Tensor:
    """The first block after which a patch had no token of its own, (B, N0); the depth if it always had.

    Takes what `presence` gives, (B, depth, N0). Patches that come back, by last-layer fusion or because they only
    idled, have left all the same.
    """
    return present.long().cumprod(1).sum(1)
