"""Random pruning: the control that every method has to beat.

Named as a baseline in Token Cropr (arXiv 2412.00965, Table 1); the official repository does not contain it.

As published:
- ViT-L, R=8 with last-layer fusion, Cropr's Table 1: `{constant: 8, blocks: 0-21, extra_first: 1}`, `fusion:
  last-layer`.

Departures:
1. The paper does not say where in a block patches leave; here after the block, where Cropr's modules sit.
2. Draws differ at every call, in evaluation too; they come from torch's default generator, which a cell seeds.
"""

import torch

from suite.methods import Projection, ScoringMethod, ScoringSettings, Tensor, Tokens


class Settings(ScoringSettings):
    """Random pruning has no settings of its own."""


class Random(ScoringMethod):
    """Scores are uniform noise."""

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return torch.rand(tokens.x.shape[0], tokens.count, device=tokens.x.device)
