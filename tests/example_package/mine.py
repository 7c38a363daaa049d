"""Keep the patches with the largest features.

Departures: none.
"""

from suite.methods import Projection, ScoringMethod, ScoringSettings, Tensor, Tokens


class Settings(ScoringSettings):
    """No settings of its own."""


class Mine(ScoringMethod):
    """score_n = |x_n|."""

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return tokens.patches.norm(dim=-1)
