"""Cropr that scores what a patch shows, without what its position alone explains.

Scored are features less their mean at the same position, a running mean over training images (momentum 0.1).
"""

from dataclasses import replace

import torch

from baselines.cropr import Cropr, Settings
from suite.methods import Context, MethodSettings, Projection, Tensor, Tokens, nn

__all__ = ["Method", "Settings"]


class Method(Cropr):
    """Scores are those of Cropr plus a bias for each position, which makes the mean score of all positions equal."""

    means: Tensor  # (depth, N0, D)
    seen: Tensor  # whether there is a mean, (depth, N0)

    def __init__(self, context: Context, settings: MethodSettings) -> None:
        super().__init__(context, settings)
        places = context.depth, context.grid[0] * context.grid[1]
        self.register_buffer("means", torch.zeros(*places, context.width))
        self.register_buffer("seen", torch.zeros(*places, dtype=torch.bool))

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        return super().forward_block(block, replace(tokens, tracked=True), layer)  # positions are needed in every block

    def observe(self, tokens: Tokens, layer: int) -> Tokens:
        if self.training:
            self._average(tokens, layer)
        return super().observe(tokens, layer)

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        bias = self.means[layer] @ self.croppers[str(layer)].folded()
        return super().score(tokens, projection, layer) - bias[tokens.where]

    @torch.no_grad()
    def _average(self, tokens: Tokens, layer: int) -> None:
        where, means, seen = tokens.where.flatten(), self.means[layer], self.seen[layer]
        count = means.new_zeros(len(means)).index_add_(0, where, torch.ones_like(where, dtype=means.dtype))
        total = torch.zeros_like(means).index_add_(0, where, tokens.patches.detach().flatten(0, 1).to(means.dtype))
        now = count > 0
        momentum = torch.where(seen[now], 0.1, 1.0).unsqueeze(1)
        means[now] += momentum * (total[now] / count[now].unsqueeze(1) - means[now])
        seen |= now
