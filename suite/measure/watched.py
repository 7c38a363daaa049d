"""Which patches still have a token of their own after each block, and a copy that keeps those that another run kept."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from suite.reduction import blocks
from suite.reduction.model import ReducedModel
from suite.reduction.projection import Projection
from suite.reduction.scoring import ScoringMethod
from suite.reduction.tokens import Tokens


class Watched(nn.Module):
    """Logits, (B, classes), and which first patches each block left with a token of their own, (B, depth, N0).

    For an idling method it is which patches each block changed. Nothing more is followed than positions, which costs
    next to nothing.
    """

    def __init__(self, model: ReducedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        last, present = _followed(self.model, images)
        return blocks.finish(self.model.backbone, last)[0], present


def _followed(model: ReducedModel, images: Tensor) -> tuple[Tokens, Tensor]:
    tokens, rotary = blocks.embed(model.backbone, images)
    before = replace(tokens, tracked=True)
    steps = list(model.walk(before, rotary))
    rows = [tokens.is_kept() for tokens in steps]
    if model.method.settings.reduces == "idles":
        rows = [(new.patches != old.patches).any(-1) for old, new in pairwise([before, *steps])]
    return steps[-1], torch.stack(rows, 1)


@torch.no_grad()
def presence(model: ReducedModel, images: Tensor) -> Tensor:
    """What `Watched` says of patches, (B, depth, N0), in evaluation mode; a merged patch has no token of its own."""
    return _followed(model.eval(), images)[1]


def left_after(present: Tensor) -> Tensor:
    """The first block after which a patch had no token of its own, (B, N0); the depth if it always had.

    Patches that come back, by last-layer fusion or because they only idled, have left all the same.
    """
    return present.long().cumprod(1).sum(1)


def can_replay(model: ReducedModel) -> bool:
    """Whether `replay` can stand in for the method's scores: it must do nothing with them but to keep the highest."""
    method = model.method
    return isinstance(method, ScoringMethod) and method.settings.action == "prune"


def replay(model: ReducedModel, present: Tensor) -> Watched:
    """A copy of the model that keeps the patches that `present`, (B, depth, N0), says, whatever they score."""
    twin = copy.deepcopy(model)

    def score(tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return present[:, layer].gather(1, tokens.where).to(tokens.x.dtype)

    vars(twin.method)["score"] = score
    return Watched(twin)
