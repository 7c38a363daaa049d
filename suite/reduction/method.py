"""The base class of every token-reduction method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from suite.reduction import blocks
from suite.reduction.schedule import Schedule
from suite.reduction.settings import Fusion, MethodSettings
from suite.reduction.tokens import Tokens

Criterion = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Context:
    """What a method is built for.

    Attributes:
        depth, width, heads, prefix: of the backbone; `prefix` counts prefix tokens.
        grid: rows and columns of patches.
        has_class_token: whether the first prefix token is a class token.
        classes: number of classes of the task.
        schedule: patches removed in each block, at full strength.
        fusion: how removed patches come back, see `suite.reduction.fusion`.
    """

    depth: int
    width: int
    heads: int
    prefix: int
    grid: tuple[int, int]
    has_class_token: bool
    classes: int
    schedule: Schedule
    fusion: Fusion = "none"


@dataclass(frozen=True)
class BlockShape:
    """Widths of a block: all that its multiply-accumulates depend on, besides the number of tokens.

    Attributes:
        width: D, channels of a token.
        heads: H.
        query, key: channels of the queries of all heads, and of their keys, fewer where queries share them.
        gate: channels of a gate on what the attention returns; 0 without.
        hidden: channels inside the MLP.
        gated: whether the MLP has a third matrix, as SwiGLU has.
        folds_keys: see `blocks.folds_keys`.
        pre_norm: whether norms come before attention and MLP, not after them.
    """

    width: int
    heads: int
    query: int
    key: int
    gate: int
    hidden: int
    gated: bool
    folds_keys: bool
    pre_norm: bool


class OwnCost(NamedTuple):
    """What a method computes in a block beyond the block itself, for one image.

    Attributes:
        macs: multiply-accumulates of its own matrix products, such as scores or similarities.
        projected: tokens whose queries, keys and values it computes besides those of the tokens that attend.
        normed: tokens that enter a norm of width D besides those that attend or are `projected`.
    """

    macs: int = 0
    projected: int = 0
    normed: int = 0


class Output(NamedTuple):
    """What training reads.

    Attributes:
        logits: (B, classes), or a map of them for a dense task.
        feature: what the head read, (B, D), or (B, N0, D) for a dense task.
        auxiliary: outputs of the method that only training needs.
    """

    logits: Tensor
    feature: Tensor
    auxiliary: tuple[Tensor, ...]


class UnmetNeed(ValueError):
    """The backbone lacks what a method needs; a study records the cell as skipped with this reason."""


class Method(nn.Module):
    """A token-reduction method; overriding `forward_block` is all that is required.

    As it stands it runs every block unchanged, which is the unpruned baseline.

    Attributes:
        context: what it was built for.
        settings: an instance of the class `Settings` in the method's own file.
        counts: patches to remove in each block now; a curriculum may change it between epochs.
    """

    def __init__(self, context: Context, settings: MethodSettings) -> None:
        super().__init__()
        self.context = context
        self.settings = settings
        self.counts: tuple[int, ...] = context.schedule.removed
        settings.check(context.schedule, context.fusion)
        if "class token" in settings.needs and not context.has_class_token:
            raise UnmetNeed(f"{type(self).__name__} needs a class token and the backbone has none")

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        """Run block number `layer` on `tokens` and remove what the method removes there."""
        return blocks.run(block, tokens)

    def auxiliary_loss(self, auxiliary: Sequence[Tensor], target: Tensor, criterion: Criterion) -> Tensor | None:
        """Loss on the outputs in `Tokens.auxiliary`, or None; `criterion` and `target` are the task's."""
        return None

    def distillation_loss(self, student: Output, teacher: Output) -> Tensor:
        """Loss against the unpruned model; called only if the settings say that the method `learns_from_teacher`."""
        raise NotImplementedError(f"{type(self).__name__} asks for a teacher and has no distillation_loss")

    def own_cost(self, patches: int, block: BlockShape, layer: int) -> OwnCost:
        """What the method adds, deployed, to block `layer`, which so many patches enter; `suite flops` counts it."""
        return OwnCost()

    def weighs_pooling(self) -> bool:
        """Whether tokens reach average pooling with sizes, so that it becomes a weighted sum."""
        return self.settings.reduces == "merges" and any(self.counts)

    def deploy(self) -> None:
        """Drop or fold what only training needs; outputs in evaluation mode stay as they were."""


def paired(predictions: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Each of M predictions per image, (B, M, classes), with its label, both flat.

    `target` is a label for each image, (B,) or soft (B, classes), which all M share; or one for each patch, (B, M).

    Raises:
        ValueError: if there are labels of patches and not as many predictions.
    """
    if target.dim() == 1 or target.is_floating_point():
        return predictions.flatten(0, 1), target.repeat_interleave(predictions.shape[1], 0)
    if target.shape[1] != predictions.shape[1]:
        raise ValueError(f"{target.shape[1]} labels for {predictions.shape[1]} queries; set queries: {target.shape[1]}")
    return predictions.flatten(0, 1), target.flatten()


def initialise(module: nn.Module) -> None:
    """Draw the weights of all linear layers anew, as timm does: truncated normal of deviation 0.02, biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
