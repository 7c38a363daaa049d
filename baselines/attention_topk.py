"""Attention top-k: patches to which the class token attends least leave first.

Named as a baseline in Token Cropr (arXiv 2412.00965, Table 1); the official repository does not contain it.

As published:
- ViT-L, R=8 with last-layer fusion, Cropr's Table 1: `{constant: 8, blocks: 0-21, extra_first: 1}`, `fusion:
  last-layer`.

Departures:
1. Attention is the mean over heads of the same block's class row, as in EViT; the paper's text was not at hand.
2. Patches leave after the block, where Cropr's modules sit; EViT's is `stage: mid`.
"""

from suite.methods import Projection, ScoringMethod, ScoringSettings, Tensor, Tokens


class Settings(ScoringSettings):
    """Attention top-k has no settings of its own."""

    needs = ("class token",)


class AttentionTopK(ScoringMethod):
    """score_n = mean over heads of softmax(q_class K^T)_n."""

    def reads_attention(self) -> bool:
        return True

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        assert projection is not None
        return projection.class_row()
