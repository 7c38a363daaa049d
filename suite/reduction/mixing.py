"""Methods that replace the patches after a block by fewer tokens, each a weighted sum of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import nn

from suite.reduction import blocks
from suite.reduction.method import Context, Method
from suite.reduction.settings import MethodSettings, Stage
from suite.reduction.tokens import Tokens


class MixingSettings(MethodSettings):
    """Settings of such a method: how many tokens a block leaves is a shape of its weights."""

    reduces: ClassVar[Literal["merges"]] = "merges"
    strength_parameter: ClassVar[Literal["stages"]] = "stages"
    has_fixed_counts: ClassVar[bool] = True

    def verb(self) -> str:
        return "mixes"

    def removal_stage(self) -> Stage:
        return "post"


class MixingMethod(Method, ABC):
    """A module for each block that removes patches.

    Attributes:
        mixers: them by block; each returns, of patches (B, N, D), weights (B, K, N) and the features to be summed,
            (B, N, D).
    """

    def __init__(self, context: Context, settings: MethodSettings) -> None:
        super().__init__(context, settings)
        schedule = context.schedule
        self.mixers = nn.ModuleDict(
            {
                str(layer): self.mixer(schedule.leaving[layer])
                for layer, removed in enumerate(schedule.removed)
                if removed
            }
        )

    @abstractmethod
    def mixer(self, tokens: int) -> nn.Module:
        """A module that makes so many tokens."""

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens = blocks.run(block, tokens)
        if not self.counts[layer]:
            return tokens
        weight, features = self.mixers[str(layer)](tokens.patches)
        return tokens.mix(weight, features)
