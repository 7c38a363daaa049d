"""How many tokens each block computes, read off the tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def token_counters(model: ReducedModel) -> Iterator[tuple[list[int], list[int]]]:
    """While it is open, two lists get the number of tokens of every attention and of every MLP that runs."""
    attention: list[int] = []
    mlp: list[int] = []

    def into(counts: list[int]) -> Callable[..., None]:
        return lambda _module, inputs: counts.append(inputs[0].shape[1])

    hooks = [
        part.register_forward_pre_hook(into(counts))
        for block in model.backbone.blocks
        for part, counts in ((block.attn.proj, attention), (block.mlp, mlp))
    ]
    try:
        yield attention, mlp
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def count_tokens(model: ReducedModel, images: Tensor) -> TokenCounts:
    """Run images, (B, 3, height, width), once in evaluation mode and read the shapes."""
    model.eval()
    with token_counters(model) as (attention, mlp):
        leaving = tuple(tokens.x.shape[1] for tokens in model.steps(images))
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
        "within": (leaving, leaving, leaving),
        "mid": (entering, leaving, leaving),
        "post": (entering, entering, leaving),
    }
    parts = places[settings.removal_stage()]
    if settings.reduces in ("nothing", "masks"):
        parts = (everything, everything, everything)
    elif settings.reduces == "idles":
        parts = (entering, entering, everything)
    attention, mlp, after = (tuple(context.prefix + patches for patches in part) for part in parts)
    return TokenCounts(attention, mlp, after)


def expected_leaving(model: ReducedModel) -> tuple[int, ...]:
    """Tokens that should leave each block by the schedule; for an idling method, that should compute in each block."""
    counts = expected_tokens(model)
    return counts.mlp if model.method.settings.reduces == "idles" else counts.leaving


def unexpected_tokens(model: ReducedModel, counts: TokenCounts) -> list[str]:
    """A sentence for every block on other tokens than schedule and settings say."""
    expected = expected_tokens(model)
    says = {"attention": "its attention computes on", "mlp": "its MLP computes on", "leaving": "it is left by"}
    return [
        f"block {layer}: {what} {found} tokens, and by schedule and Settings.removal_stage it should be {wanted}"
        for name, what in says.items()
        for layer, (found, wanted) in enumerate(zip(getattr(counts, name), getattr(expected, name), strict=True))
        if found != wanted
    ]


def check_tokens(model: ReducedModel, counts: TokenCounts) -> None:
    """Refuse, by a RuntimeError with both token counts, a model that does not keep to its schedule."""
    found = counts.mlp if model.method.settings.reduces == "idles" else counts.leaving
    if found != (expected := expected_leaving(model)):
        name = type(model.method).__name__
        raise RuntimeError(f"{name} does not keep to its schedule: tokens {list(found)} instead of {list(expected)}")
