"""DPC-KNN: patches are merged around centres of high density that are far from any denser patch.

Clustering of TCFormer (Zeng et al., arXiv 2204.08680; github zengwang430521/TCFormer, 1ea72a8), as compared by Haurum
et al., "Which Tokens to Use?", arXiv 2308.04657; github JoakimHaurum/TokenReduction (88fe07e), `dpcknn.py`.

After a block, with d_ij = |x_i - x_j| / sqrt(D): density rho_i = exp(-mean of the k smallest d_ij^2), itself included;
delta_i = the smallest d_ij to a denser patch, for the densest the largest distance in the image. The patches of largest
rho delta are centres; each other patch joins its nearest. A cluster becomes sum w x / (sum w + 1e-6), w = exp(a linear
score) or 1. Tokens carry no sizes, and attention is not weighted.

As published:
- DeiT, 0.7 (`--keep_rate 0.7 --reduction_loc 3 6 9`): `{stages: 0.7, first: 3, length: 3}`.

Departures:
1. No noise of 1e-6 is added to densities; of equal ones (with k = 2 those of all mutual nearest neighbours) the first
   patch counts as denser.
2. Patches are merged after a block; officially before the next, which is the same but for the first block.
3. TCFormer also has a convolution before the clustering, and its scores weigh attention; the comparison has neither.
4. Where fewer than k patches are left, all of them count; officially that fails.
5. What Cropr's paper ran (k, weights) is not known.
"""

import torch

from suite.methods import Context, Field, Method, MethodSettings, Stage, Tensor, Tokens, nn, run


class Settings(MethodSettings):
    """`neighbours`: k. `equal_weight`: w = 1, which needs no training."""

    strength_parameter = "stages"
    reduces = "merges"
    neighbours: int = Field(5, ge=1)
    equal_weight: bool = False

    def removal_stage(self) -> Stage:
        return "post"


class DPCKNN(Method):
    """A linear score for each block that merges, unless weights are equal."""

    settings: Settings

    def __init__(self, context: Context, settings: Settings) -> None:
        super().__init__(context, settings)
        layers = (
            [] if settings.equal_weight else [layer for layer, count in enumerate(context.schedule.removed) if count]
        )
        self.weights = nn.ModuleDict({str(layer): nn.Linear(context.width, 1) for layer in layers})

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens = run(block, tokens)
        if not self.counts[layer]:
            return tokens
        x = tokens.patches
        centres, owner = clusters(x, tokens.count - self.counts[layer], self.settings.neighbours)
        weight = x.new_ones(x.shape[:2]) if self.settings.equal_weight else self.weights[str(layer)](x)[..., 0].exp()
        everyone = torch.arange(tokens.count, device=x.device).expand_as(owner)
        return tokens.absorb(centres, everyone, owner).with_patches(weighted_means(x, weight, owner, centres.shape[1]))


@torch.no_grad()
def clusters(x: Tensor, count: int, neighbours: int) -> tuple[Tensor, Tensor]:
    """Centres, (B, count), of patches, (B, N, D), and for each patch the place of its own among them, (B, N)."""
    distance = torch.cdist(x.float(), x.float()) / x.shape[2] ** 0.5
    density = distance.topk(min(neighbours, x.shape[1]), largest=False).values.square().mean(-1).neg().exp()
    rank = density.argsort(descending=True, stable=True).argsort()
    is_denser = rank.unsqueeze(1) < rank.unsqueeze(2)
    farthest = distance.amax((1, 2), keepdim=True)
    delta = torch.where(is_denser, distance, farthest).amin(-1)
    centres = (density * delta).topk(count).indices
    owner = distance.gather(2, centres.unsqueeze(1).expand(-1, x.shape[1], -1)).argmin(-1)
    itself = torch.arange(count, device=x.device).expand_as(centres)
    return centres, owner.scatter(1, centres, itself)


def weighted_means(x: Tensor, weight: Tensor, owner: Tensor, count: int) -> Tensor:
    """Means, (B, count, D), of patches, (B, N, D), of the same `owner`, (B, N), weighted by `weight`, (B, N)."""
    total = weight.new_zeros(len(x), count).scatter_add(1, owner, weight) + 1e-6
    share = (weight / total.gather(1, owner)).unsqueeze(-1).to(x.dtype)
    return x.new_zeros(len(x), count, x.shape[2]).scatter_add(1, owner.unsqueeze(-1).expand_as(x), x * share)
