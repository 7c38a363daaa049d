"""The token ledger: how many tokens each block really computes, read off the tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from suite.reduction.model import ReducedModel


@dataclass(frozen=True)
class TokenCounts:
    """Tokens, prefix included, for each block.

    Attributes:
        attention: that attend, at the output projection of the attention.
        mlp: that enter the MLP.
        leaving: in the sequence after the block; idle tokens are still in it.
    """

    attention: tuple[int, ...]
    mlp: tuple[int, ...]
    leaving: tuple[int, ...]


@torch.inference_mode()
def count_tokens(model: ReducedModel, images: Tensor) -> TokenCounts:
    """Run images, (B, 3, height, width), once in evaluation mode and read the shapes."""
    model.eval()
    attention: list[int] = []
    mlp: list[int] = []

    def into(counts: list[int]) -> object:
        return lambda _module, inputs: counts.append(inputs[0].shape[1])

    hooks = [
        part.register_forward_pre_hook(into(counts))
        for block in model.backbone.blocks
        for part, counts in ((block.attn.proj, attention), (block.mlp, mlp))
    ]
    try:
        leaving = tuple(tokens.x.shape[1] for tokens in model.steps(images))
    finally:
        for hook in hooks:
            hook.remove()
    return TokenCounts(tuple(attention), tuple(mlp), leaving)


def expected_tokens(model: ReducedModel) -> TokenCounts:
    """Tokens of each block by schedule, fusion and settings alone, at full strength; nothing runs.

    A masking method removes nothing from the sequence.
    """
    context, settings = model.method.context, model.method.settings
    schedule = context.schedule
    everything = [schedule.patches] * schedule.depth
    entering, leaving = list(schedule.entering), list(schedule.leaving)
    if context.fusion == "last-layer":
        entering[-1] = leaving[-1] = schedule.patches
    places = {
        "pre": (leaving, leaving, leaving),
        "mid": (entering, leaving, leaving),
        "post": (entering, entering, leaving),
    }
    parts = places[settings.leaves()]
    if settings.reduces in ("nothing", "masks"):
        parts = (everything, everything, everything)
    elif settings.reduces == "idles":
        parts = (entering, entering, everything)
    attention, mlp, after = (tuple(context.prefix + patches for patches in part) for part in parts)
    return TokenCounts(attention, mlp, after)


def expected_leaving(model: ReducedModel) -> tuple[int, ...]:
    """Tokens that should leave each block by the schedule; for an idling method, that should compute in each block."""
    ledger = expected_tokens(model)
    return ledger.mlp if model.method.settings.reduces == "idles" else ledger.leaving


def check_tokens(model: ReducedModel, ledger: TokenCounts) -> None:
    """Refuse a model that does not keep to its schedule.

    Raises:
        RuntimeError: with both token counts.
    """
    found = ledger.mlp if model.method.settings.reduces == "idles" else ledger.leaving
    if found != expected_leaving(model):
        raise RuntimeError(
            f"{type(model.method).__name__} does not keep to its schedule: tokens {list(found)} "
            f"instead of {list(expected_leaving(model))}"
        )
