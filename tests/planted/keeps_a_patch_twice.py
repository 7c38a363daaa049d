"""Wrong: an empty cluster is represented by the patch that already represents another."""

from suite.methods import Method, MethodSettings, Tokens, nn, run


class Settings(MethodSettings):
    """No settings of its own."""


class KeepsAPatchTwice(Method):
    """Patches of large norm stay, the largest twice."""

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens = run(block, tokens)
        if not self.counts[layer]:
            return tokens
        keep = tokens.patches.norm(dim=-1).topk(tokens.count - self.counts[layer]).indices
        return tokens.select(keep.where(keep != keep[:, 1:2], keep[:, :1]))
