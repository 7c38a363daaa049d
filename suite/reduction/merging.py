"""Methods that merge groups of patches between attention and MLP, weighted by size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar, Literal

from torch import Tensor, nn

from suite.reduction import blocks
from suite.reduction.method import Method
from suite.reduction.settings import MethodSettings
from suite.reduction.tokens import Tokens

Groups = tuple[Tensor, Tensor, Tensor]


class MergingSettings(MethodSettings):
    """Settings of such a method.

    `proportional_attention`: log(size) of each key is added to the logits. `weighted_pooling`: average pooling counts
    merged tokens by size.
    """

    strength_parameter: ClassVar[Literal["merges", "stages"]] = "merges"
    reduces: ClassVar[Literal["merges"]] = "merges"
    proportional_attention: bool = True
    weighted_pooling: bool = True

    def attends_by_size(self) -> bool:
        return self.proportional_attention


class MergingMethod(Method, ABC):
    """A rule for which patches are merged, by the keys of the block's attention."""

    settings: MergingSettings

    @abstractmethod
    def groups(self, keys: Tensor, prefix: int, layer: int) -> Groups:
        """Choose `self.counts[layer]` merges, R of N patches with mean keys (B, N, d) after `prefix` other tokens.

        Returns the patches that stay, (B, N-R), the sources, (B, R), and the places of their destinations among those
        that stay, (B, R), as `Tokens.merge` takes them.
        """

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens, projection = blocks.attend(block, tokens, proportional=self.settings.proportional_attention)
        if self.counts[layer]:
            tokens = tokens.merge(*self.groups(projection.keys(), tokens.prefix, layer))
        tokens = blocks.feed_forward(block, tokens)
        if layer == self.context.depth - 1 and not self.settings.weighted_pooling:
            return replace(tokens, size=None)
        return tokens
