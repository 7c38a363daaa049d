"""Cropr that scores what a patch shows, without what its position alone explains.

Scored are features less their mean at the same position, a running mean over training images (momentum 0.1).
"""

from typing import Any

import torch

from baselines.cropr import Cropr, Settings
from suite.methods import Context, MethodSettings, Projection, Tensor, Tokens

__all__ = ["Method", "Settings"]


class Method(Cropr):
    """Scores are those of Cropr plus a bias for each position, which makes the mean score of all positions equal."""

    means: Tensor

    def __init__(self, context: Context, settings: MethodSettings) -> None:
        super().__init__(context, settings)
        rows, columns = context.grid
        self.register_buffer("means", torch.zeros(context.depth, rows * columns, context.width))

    def observe(self, tokens: Tokens, layer: int) -> Tokens:
        if self.training:
            self._average(tokens, layer)
        return super().observe(tokens, layer)

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        bias = self.means[layer] @ self.croppers[str(layer)].folded()
        return super().score(tokens, projection, layer) - bias[tokens.where]

    @torch.no_grad()
    def _average(self, tokens: Tokens, layer: int) -> None:
        where, mean = tokens.where.flatten(), self.means[layer]
        count = torch.zeros(len(mean)).index_add_(0, where, torch.ones(len(where)))
        total: Any = torch.zeros_like(mean).index_add_(0, where, tokens.patches.detach().flatten(0, 1))
        seen = count > 0
        mean[seen] += 0.1 * (total[seen] / count[seen].unsqueeze(1) - mean[seen])
