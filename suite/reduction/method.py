"""The base class of every token-reduction method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from suite.reduction import blocks
from suite.reduction.schedule import Schedule
from suite.reduction.settings import STASHING, Fusion, MethodSettings
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

    @property
    def stashes(self) -> bool:
        """Whether removed patches are stashed, for the fusion to bring them back."""
        return self.context.fusion in STASHING

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        """Run block number `layer` on `tokens` and remove what the method removes there."""
        return blocks.run(block, tokens)

    def observe_last(self, tokens: Tokens) -> Tokens:
        """Look at all tokens after the final norm, while a classifier trains; a place for auxiliary outputs."""
        return tokens

    def auxiliary_loss(self, auxiliary: Sequence[Tensor], target: Tensor, criterion: Criterion) -> Tensor | None:
        """Loss on the outputs in `Tokens.auxiliary`, or None; `criterion` and `target` are the task's."""
        return None

    def teacher(self) -> Method:
        """How the unpruned model runs that teaches, if the settings say that this method learns from one."""
        return Method(self.context, MethodSettings())

    def distillation_loss(self, student: Output, teacher: Output) -> Tensor:
        """Loss against the unpruned model; called only if the settings say that the method `learns_from_teacher`."""
        raise NotImplementedError(f"{type(self).__name__} asks for a teacher and has no distillation_loss")

    def uncounted_macs(self, patches: int, layer: int) -> int:
        """Multiply-accumulates for one image that torch cannot count, such as of a kernel of the method's own.

        They are of the deployed method in block `layer`, which so many patches enter. Only what runs an operator
        outside of `torch.ops.aten` needs it; see `suite.measure.count`.
        """
        return 0

    def deploy(self) -> None:
        """Drop or fold what only training needs; outputs in evaluation mode stay as they were."""


class Observed(Method):
    """The unpruned model as a teacher whose auxiliary outputs are the patches after each block, (B, N0, D)."""

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens = blocks.run(block, tokens)
        return tokens.with_auxiliary(tokens.patches)


class ObservedLast(Method):
    """The unpruned model as a teacher whose one auxiliary output is the patches after the final norm, (B, N0, D)."""

    def observe_last(self, tokens: Tokens) -> Tokens:
        return tokens.with_auxiliary(tokens.patches)


def paired(predictions: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Each of M predictions per image, (B, M, classes), with its label, both flat.

    `target` is a label for each image, (B,) or soft (B, classes), which all M share; or one for each patch, (B, M).

    ValueError if there are labels of patches and not as many predictions.
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
