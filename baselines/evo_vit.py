"""Evo-ViT: patches to which the class token has attended little, averaged over blocks, sit a few blocks out.

Xu et al., "Evo-ViT: Slow-Fast Token Evolution for Dynamic Vision Transformer", arXiv 2108.01390; github
YifanXu74/Evo-ViT (4c5d9b3), `deit/evo_deit.py`.

g_n follows the class token's attention to patch n, mean over heads: in blocks of all patches g = a, in the others
g = (1 - t) g + t a for the patches at work. At the first block that leaves any out, and every few blocks after it, the
patches of largest g are chosen; the others pass by, unchanged, until the next choice, at which all take part.

As published:
- DeiT-S, half of the patches from block 4 on: `{stages: 0.5, first: 4, length: 8}`, `length: 4`.

Departures:
1. The representative token of the patches that sit out, which the paper has, is left out, as in the official code for
   DeiT; only that for LeViT has it.
2. A new choice is also made where the schedule changes how many are at work.
3. The head is the backbone's. Officially it reads the mean of all patches before the norm, and a second head on the
   class token learns too.
4. g carries no gradient, which only the sorting would drop officially.
5. All prefix tokens are at work; officially there is only the class token.
"""

from dataclasses import replace

from suite.methods import Field, Method, MethodSettings, Tensor, Tokens, attend, feed_forward, nn


class Settings(MethodSettings):
    """`tradeoff`: t. `length`: blocks from one choice to the next."""

    strength_parameter = "stages"
    reduces = "idles"
    needs = ("class token",)
    tradeoff: float = Field(0.5, ge=0, le=1)
    length: int = Field(4, ge=1)


class EvoViT(Method):
    """Carries g, (B, N), and the patches at work, (B, K), from block to block."""

    settings: Settings

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        if not sum(self.counts[:layer]):
            tokens, projection = attend(block, tokens)
            return feed_forward(block, replace(tokens, carried=(projection.class_row().detach(),)))
        scores, keep = self.at_work(tokens, layer)
        active, projection = attend(block, tokens, None, keep)
        seen, tradeoff = projection.class_row().detach(), self.settings.tradeoff
        scores = scores.scatter(1, keep, (1 - tradeoff) * scores.gather(1, keep) + tradeoff * seen)
        return replace(tokens.write_back(feed_forward(block, active), keep), carried=(scores, keep))

    def at_work(self, tokens: Tokens, layer: int) -> tuple[Tensor, Tensor]:
        """Scores, (B, N), and the patches at work in this block, (B, K)."""
        idle = [sum(self.counts[:before]) for before in range(layer + 1)]
        first = next(before for before, count in enumerate(idle) if count)
        if idle[layer] == idle[layer - 1] and (layer - first) % self.settings.length:
            scores, keep = tokens.carried
            return scores, keep
        return tokens.carried[0], tokens.carried[0].topk(tokens.count - idle[layer], sorted=False).indices
