"""EViT: keep the patches the class token attends to, fuse the others into one token.

Liang et al., "Not All Patches are What You Need", arXiv 2202.07800; github youweiliang/evit.

Inside a block, after its attention and before its MLP: a_n = mean over heads of softmax(q_class K^T)_n. The patches of
lowest a_n become one more token, sum_n a_n x_n with the weights as they are (eq. 3); from then on it is an ordinary
token and may be fused again.

Departures:
1. Weights are taken before attention dropout (official: after); they differ only where attn_drop > 0.
2. A schedule counts by how much the sequence gets shorter, so a fusion of c+1 tokens into one counts as c; fusing a
   single token, which changes no count, does not happen.
3. Registers and a distillation token are protected; the official code treats them as patches.
"""

from typing import Literal

from torch import Tensor

from suite.reduction.blocks import Projection
from suite.reduction.scoring import ScoringMethod
from suite.reduction.settings import ScoringSettings
from suite.reduction.tokens import Tokens


class Settings(ScoringSettings):
    """`fate: fuse` is EViT, `fate: drop` its variant without fusion."""

    needs = ("class token",)
    place: Literal["before", "between", "after"] = "between"
    fate: Literal["drop", "fuse"] = "fuse"


class EViT(ScoringMethod):
    """score_n = a_n, which is also the weight of a fused patch."""

    def reads_attention(self) -> bool:
        return True

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        assert projection is not None
        return projection.class_row()
