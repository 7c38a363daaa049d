"""Wrong: kept patches are rotated by the first rows of the rotary table instead of the rows of their positions."""

from dataclasses import replace

from suite.methods import Projection, ScoringMethod, ScoringSettings, Tensor, Tokens, nn, run


class Settings(ScoringSettings):
    """No settings of its own."""


class GathersRopeWrongly(ScoringMethod):
    """Patches of small norm leave after the block."""

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return tokens.patches.norm(dim=-1)

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        table = None if tokens.rotary is None else tokens.rotary[: tokens.count]
        done = run(block, replace(tokens, rotary=table, position=None))
        return self._reduce(block, replace(done, position=tokens.position), None, layer)
