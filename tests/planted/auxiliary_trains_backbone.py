"""Wrong: the features that the auxiliary head reads are not detached, so its loss trains the backbone."""

from collections.abc import Sequence

from suite.methods import (
    Context,
    Criterion,
    MethodSettings,
    Projection,
    ScoringMethod,
    ScoringSettings,
    Tensor,
    Tokens,
    nn,
)


class Settings(ScoringSettings):
    """No settings of its own."""


class AuxiliaryTrainsBackbone(ScoringMethod):
    """One head predicts the class from the mean patch; its weights also score patches."""

    def __init__(self, context: Context, settings: MethodSettings) -> None:
        super().__init__(context, settings)
        self.head = nn.Linear(context.width, context.classes)

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return self.head(tokens.patches).amax(-1)

    def observe(self, tokens: Tokens, layer: int) -> Tokens:
        return tokens.with_auxiliary(self.head(tokens.patches.mean(1))) if self.training else tokens

    def auxiliary_loss(self, auxiliary: Sequence[Tensor], target: Tensor, criterion: Criterion) -> Tensor:
        return sum(criterion(prediction, target) for prediction in auxiliary)
