"""EViT: keep the patches the class token attends to, fuse the others into one token.

Liang et al., "Not All Patches are What You Need", arXiv 2202.07800; github youweiliang/evit (5ca95a7).

Inside a block, after its attention and before its MLP: a_n = mean over heads of softmax(q_class K^T)_n. The patches of
lowest a_n become one more token, sum_n a_n x_n with the weights as they are (eq. 3); from then on it is an ordinary
token and may be fused again.

As published:
- DeiT-S, 0.7 (`--base_keep_rate 0.7 --drop_loc "(3, 6, 9)" --fuse_token`): `{keep_rate: 0.7, blocks: "3,6,9", fused:
  true}`.
- Without `--fuse_token`: `action: prune`, `{keep_rate: 0.7, blocks: "3,6,9"}`.

Departures:
1. Weights are taken before attention dropout (official: after); they differ only where attn_drop > 0.
2. A schedule counts by how much the sequence gets shorter, so a fusion of c+1 tokens into one counts as c. Fusing a
   single token changes no count and does not happen, except in the blocks `fuse_single` (officially it does).
3. Registers and a distillation token are protected; the official code treats them as patches.
"""

from suite.methods import (
    Fusion,
    Literal,
    Projection,
    Schedule,
    ScoringMethod,
    ScoringSettings,
    Tensor,
    Tokens,
)


class Settings(ScoringSettings):
    """`action: fuse` is EViT, `action: prune` its variant without fusion.

    In the blocks `fuse_single` the patch of lowest score becomes a fused token by itself where the schedule removes
    none: it is scaled by its attention.
    """

    strength_parameter = "keep_rate"
    needs = ("class token",)
    stage: Literal["pre", "mid", "post"] = "mid"
    action: Literal["prune", "fuse"] = "fuse"
    fuse_single: tuple[int, ...] = ()

    def check(self, schedule: Schedule, fusion: Fusion) -> None:
        super().check(schedule, fusion)
        idle = [block for block in self.fuse_single if not 0 <= block < schedule.depth]
        if idle or (self.fuse_single and self.action == "prune"):
            raise ValueError(f"fuse_single names blocks {list(self.fuse_single)}, which do not exist or do not fuse")


class EViT(ScoringMethod):
    """score_n = a_n, which is also the weight of a fused patch."""

    settings: Settings

    def reduces_in(self, layer: int) -> bool:
        return super().reduces_in(layer) or layer in self.settings.fuse_single

    def reads_attention(self) -> bool:
        return True

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        assert projection is not None
        return projection.class_row()
