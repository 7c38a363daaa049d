"""Wrong: a patch's score is compared with the mean over the batch, so an image's patches depend on its mates."""

from suite.methods import Projection, ScoringMethod, ScoringSettings, Tensor, Tokens


class Settings(ScoringSettings):
    """No settings of its own."""


class LeaksAcrossBatch(ScoringMethod):
    """Score: norm of a patch, less that of the mean patch at this place."""

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return (tokens.patches - tokens.patches.mean(0)).norm(dim=-1)
