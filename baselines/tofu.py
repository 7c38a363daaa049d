"""ToFu: similar patches are pruned in early blocks and merged in later ones, in a way that preserves norms.

Kim et al., "Token Fusion: Bridging the Gap between Token Pruning and Token Merging", arXiv 2312.01026; no official
repository was found. Facts of the implementation are of github hchautran/PiToMe (550b5de), `algo/tofu`.

Pairs are those of ToMe. Up to the block `prunes_until` the source of a pair leaves; later it is merged into its
destination: y = m / |x_d| * max(|x_d|, |x_s|, ...), m the mean of the destination x_d and its sources x_s. Tokens carry
no sizes: neither attention nor pooling counts them.

As published:
- ViT with a ratio r of tokens kept in each block (`model.ratio = r`): counts as `removed`, floor((1 - r) T) of T
  tokens.

Departures:
1. The mean is divided by the norm of the destination, as in that implementation, so that y has the largest of the norms
   only where mean and destination are equally long; the paper's text was not at hand.
2. By default blocks up to half the depth prune, as there.
3. In a dense read-out a pruned patch is represented by its destination.
4. As in ToMe, whose matching it is, all prefix tokens are protected, unmatched patches keep their order, and more than
   half the patches are refused.
"""

from baselines.tome import bipartite_matching
from suite.methods import Field, Method, MethodSettings, Tensor, Tokens, attend, feed_forward, nn, take


class Settings(MethodSettings):
    """`prunes_until`: the last block that prunes, -1 for none; by default half the depth, rounded down."""

    strength_parameter = "merges"
    reduces = "merges"
    prunes_until: int | None = Field(None, ge=-1)


class ToFu(Method):
    """Bipartite soft matching on keys; pruning, then merging."""

    settings: Settings

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens, projection = attend(block, tokens)
        if self.counts[layer]:
            keep, source, destination = bipartite_matching(projection.keys(), tokens.prefix, self.counts[layer])
            kept, sources = tokens.absorb(keep, source, destination), take(tokens.x, source + tokens.prefix)
            merges = layer > self.last_pruning
            tokens = kept.with_patches(preserving_norms(kept.patches, sources, destination)) if merges else kept
        return feed_forward(block, tokens)

    @property
    def last_pruning(self) -> int:
        """The last block that prunes."""
        until = self.settings.prunes_until
        return self.context.depth // 2 if until is None else until


def preserving_norms(patches: Tensor, sources: Tensor, destination: Tensor) -> Tensor:
    """Patches, (B, K, D), after `sources`, (B, R, D), were merged into those at `destination`, (B, R)."""
    mean = patches.scatter_reduce(1, destination.unsqueeze(-1).expand_as(sources), sources, "mean")
    norm: Tensor = patches.norm(dim=-1)
    largest = norm.scatter_reduce(1, destination, sources.norm(dim=-1), "amax")
    return mean * (largest / norm.clamp(min=1e-12)).unsqueeze(-1)
