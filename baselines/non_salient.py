"""Non-salient: the patches that Cropr would keep leave first.

A control in Token Cropr (arXiv 2412.00965, Table 1); the official repository does not contain it.

As published:
- ViT-L, R=8 with last-layer fusion, Cropr's Table 1: `{constant: 8, blocks: 0-21, extra_first: 1}`, `fusion:
  last-layer`.

Departures:
1. Whose scores the paper turns around is not known to us; here a Cropr is trained whose own scores are, so its heads
   learn what the task needs and the backbone learns to do without it.
"""

from baselines import cropr
from suite.methods import Projection, Tensor, Tokens


class Settings(cropr.Settings):
    """Those of Cropr."""


class NonSalient(cropr.Cropr):
    """score_n = minus that of Cropr."""

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return -super().score(tokens, projection, layer)

    def direction(self, layer: int) -> Tensor:
        return -super().direction(layer)
