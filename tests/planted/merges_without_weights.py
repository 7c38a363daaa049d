"""Wrong: merged patches are averaged as they are, although they carry sizes."""

from baselines.tome import bipartite_matching
from suite.methods import Method, MethodSettings, Tokens, attend, feed_forward, nn, take


class Settings(MethodSettings):
    """No settings of its own."""

    reduces = "merges"


class MergesWithoutWeights(Method):
    """ToMe, but for the mean."""

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens, projection = attend(block, tokens)
        if self.counts[layer]:
            keep, source, destination = bipartite_matching(projection.keys(), tokens.prefix, self.counts[layer])
            kept, sources = tokens.absorb(keep, source, destination).patches, take(tokens.x, source + tokens.prefix)
            mean = kept.scatter_reduce(1, destination.unsqueeze(-1).expand_as(sources), sources, "mean")
            tokens = tokens.merge(keep, source, destination).with_patches(mean)
        return feed_forward(block, tokens)
