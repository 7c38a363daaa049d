"""Methods that only score patches: the score is theirs; `stage` and `action` are settings."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from suite.reduction import blocks
from suite.reduction.method import Method
from suite.reduction.projection import Projection
from suite.reduction.settings import ScoringSettings
from suite.reduction.tokens import Tokens


class ScoringMethod(Method, ABC):
    """Removes the patches with the lowest scores, before, inside or after a block."""

    settings: ScoringSettings

    @abstractmethod
    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        """Score each patch, (B, N); high scores stay.

        `projection` is that of the block's attention. Before the block it is None unless `reads_attention` asks for it.
        """

    def direction(self, layer: int) -> Tensor | None:
        """The vector whose product with a token is its score in this block, (D,), of methods that score so."""
        return None

    def observe(self, tokens: Tokens, layer: int) -> Tokens:
        """Look at all tokens before any of them leaves; a place for auxiliary outputs."""
        return tokens

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        if self.settings.stage == "pre":
            return blocks.run(block, self._reduce(block, tokens, None, layer))
        tokens, projection = blocks.attend(block, tokens)
        if self.settings.stage == "mid":
            tokens = self._reduce(block, tokens, projection, layer)
        tokens = blocks.feed_forward(block, tokens)
        return self._reduce(block, tokens, projection, layer) if self.settings.stage == "post" else tokens

    def _reduce(self, block: nn.Module, tokens: Tokens, projection: Projection | None, layer: int) -> Tokens:
        tokens = self.observe(tokens, layer)
        if not self.reduces_in(layer):
            return tokens
        count = self.counts[layer]
        if projection is None and self.reads_attention():
            projection = blocks.project(block, tokens)
        score = self.score(tokens, projection, layer)
        if self.stashes:
            keep, gone = split(score, tokens.count - count)
            return tokens.stash(keep, gone)
        if self.settings.action == "fuse":
            keep, gone = split(score, tokens.count - count - 1)
            return tokens.fuse(keep, gone, score.gather(1, gone))
        return tokens.select(score.topk(tokens.count - count, sorted=False).indices)

    def reduces_in(self, layer: int) -> bool:
        """Whether anything happens to the patches of block `layer` now."""
        return self.counts[layer] > 0

    def reads_attention(self) -> bool:
        """Whether `score` wants a projection even before the block."""
        return False


def split(score: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """Indices of the `kept` patches of highest score, (B, kept), and of all others, each from high to low."""
    order = torch.argsort(score, dim=1, descending=True)
    return order[:, :kept], order[:, kept:]
