"""Sinkhorn: patches are spread over learned centres by a few steps of optimal transport.

Tokeniser of Haurum et al., "Multi-scale Hybrid Vision Transformer and Sinkhorn Tokenizer" (github JoakimHaurum/MSHViT,
7096edc), as they compare it, "Which Tokens to Use?", arXiv 2308.04657; github JoakimHaurum/TokenReduction (88fe07e),
`sinkhorn.py`.

After a block, of K centres v_k and N patches x_n, all of length 1: Z = v x^T / eps; a few times u_k = -log(K+N) -
lse_n(Z + w), then w_n = -log(K+N) - lse_k(Z + u); y = exp(Z + u + w) (K+N) x. The two conditions contradict each other
and the last one holds: each patch gives 1, a centre gets about N/K. What comes out is at most N/K long, so the scale of
the residual stream is lost.

As published:
- DeiT, 0.7 (`--keep_rate 0.7 --reduction_loc 3 6 9`): `{stages: 0.7, first: 3, length: 3}`.

Departures:
1. Centres are normalised in every pass and their gradient goes through that; officially they are overwritten by their
   normalised values in every forward, in evaluation too, and get the gradient as it is.
2. It follows a block; officially it stands before the next, which is the same but for the first.
3. What Cropr's paper ran (eps, iterations) is not known.
"""

import math

import torch

from suite.methods import Field, MixingMethod, MixingSettings, Tensor, nn


class Settings(MixingSettings):
    """`eps`: strength of the entropy term. `iterations` of the two conditions."""

    eps: float = Field(1.0, gt=0)
    iterations: int = Field(3, ge=1)


class Tokenizer(nn.Module):
    """Centres, (K, D), and the transport to them."""

    def __init__(self, width: int, tokens: int, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.v = nn.Parameter(torch.randn(tokens, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, centres = nn.functional.normalize(x, dim=-1), nn.functional.normalize(self.v, dim=-1)
        logits = (centres @ x.transpose(1, 2)).float() / self.settings.eps
        return transport(logits, self.settings.iterations).to(x.dtype), x


class Sinkhorn(MixingMethod):
    """Centres are drawn from a normal distribution, as officially."""

    settings: Settings

    def mixer(self, tokens: int) -> nn.Module:
        return Tokenizer(self.context.width, tokens, self.settings)


def transport(logits: Tensor, iterations: int) -> Tensor:
    """Weights, (B, K, N), whose columns add up to 1, from logits, (B, K, N)."""
    marginal = -math.log(logits.shape[1] + logits.shape[2])
    of_patches = torch.zeros_like(logits[:, :1])
    for _ in range(iterations):
        of_centres = marginal - (logits + of_patches).logsumexp(2, keepdim=True)
        of_patches = marginal - (logits + of_centres).logsumexp(1, keepdim=True)
    return (logits + of_centres + of_patches - marginal).exp()
