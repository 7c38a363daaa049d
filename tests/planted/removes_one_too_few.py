"""Wrong: where it should remove c patches it removes c-1."""

from suite.methods import Context, MethodSettings, Projection, ScoringMethod, ScoringSettings, Tensor, Tokens


class Settings(ScoringSettings):
    """No settings of its own."""


class RemovesOneTooFew(ScoringMethod):
    """Patches of small norm leave after the block."""

    def __init__(self, context: Context, settings: MethodSettings) -> None:
        super().__init__(context, settings)
        self.counts = tuple(max(count - 1, 0) for count in self.counts)

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return tokens.patches.norm(dim=-1)
