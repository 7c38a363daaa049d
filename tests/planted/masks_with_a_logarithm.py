"""Wrong: in training the logarithm of the policy is added to the logits, cut off where masked patches still count."""

from dataclasses import replace

from suite.methods import (
    Literal,
    Projection,
    ScoringMethod,
    ScoringSettings,
    Tensor,
    Tokens,
    attend,
    feed_forward,
    nn,
    project,
)


class Settings(ScoringSettings):
    """No settings of its own."""

    masks_in_training = True
    stage: Literal["post"] = "post"


class MasksWithALogarithm(ScoringMethod):
    """Patches of large norm stay; by how much they exceed the others trains what is before."""

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return tokens.patches.norm(dim=-1)

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        if not self.training:
            return super().forward_block(block, tokens, layer)
        projection, policy = project(block, tokens), tokens.policy
        if policy is not None:
            bias = nn.functional.pad(policy.log().clamp(min=-3), (tokens.prefix, 0))
            projection = replace(projection, bias=bias[:, None, None])
        seen, _ = attend(block, replace(tokens, policy=None), projection)
        tokens = replace(feed_forward(block, seen), policy=policy)
        return tokens.mask(self.decide(tokens, layer)) if self.counts[layer] else tokens

    def decide(self, tokens: Tokens, layer: int) -> Tensor:
        """1 for the patches that stay, with the gradient of a sigmoid."""
        score = self.score(tokens, None, layer)
        score = score if tokens.policy is None else score * tokens.policy
        above = score - score.sort(descending=True).values[:, -sum(self.counts[: layer + 1]), None]
        soft = above.sigmoid()
        return (above > 0).to(soft.dtype) - soft.detach() + soft
