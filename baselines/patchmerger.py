"""PatchMerger: learned queries attend to the patches, and what they see replaces them.

Renggli et al., "Learning to Merge Tokens in Vision Transformers", arXiv 2202.12015 (no official code was found), as
compared by Haurum et al., "Which Tokens to Use?", arXiv 2308.04657; github JoakimHaurum/TokenReduction (88fe07e),
`patchmerger.py`.

After a block: y = softmax_n(Q LN(x)^T) LN(x), Q (K, D). What comes out is normalised, so the scale of the residual
stream is lost.

As published:
- DeiT, 0.7 (`--keep_rate 0.7 --reduction_loc 3 6 9`): `{stages: 0.7, first: 3, length: 3}`.

Departures:
1. There is no factor D^-0.5 in the softmax, as in the comparison; `scaled` adds it, as github lucidrains/vit-pytorch
   does.
2. It may follow any block; the paper's is in the middle. In the comparison it stands before the next block, which is
   the same but for the first.
3. Prefix tokens are not merged, as in the comparison; the paper's models have none.
4. What Cropr's paper ran is not known.
"""

import torch

from suite.methods import MixingMethod, MixingSettings, Tensor, nn


class Settings(MixingSettings):
    """`scaled`: divide the products of queries and patches by sqrt(D)."""

    scaled: bool = False


class Merger(nn.Module):
    """Queries, (K, D), on normalised patches."""

    def __init__(self, width: int, tokens: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.norm = nn.LayerNorm(width)
        self.queries = nn.Parameter(torch.randn(tokens, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(x)
        return (self.queries @ x.transpose(1, 2) * self.scale).softmax(-1), x


class PatchMerger(MixingMethod):
    """Queries are drawn from a normal distribution, as officially."""

    settings: Settings

    def mixer(self, tokens: int) -> nn.Module:
        return Merger(self.context.width, tokens, self.context.width**-0.5 if self.settings.scaled else 1.0)
