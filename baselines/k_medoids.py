"""K-Medoids: each cluster of patches is represented by one of them, and the others leave.

Token Pooling (Marin et al., arXiv 2110.03860; no official code was found), as compared by Haurum et al., "Which Tokens
to Use?", arXiv 2308.04657; github JoakimHaurum/TokenReduction (88fe07e), `kmedoids.py`.

After a block, w_j = attention that patch j received in it, from all tokens and heads. The patches of largest w are the
first medoids. Then, a few times: each patch joins its nearest medoid (Euclidean), and of each cluster the member i of
smallest w_i sum_j d_ij becomes its medoid. The medoids stay, with their own features.

As published:
- DeiT, 0.7 (`--keep_rate 0.7 --reduction_loc 3 6 9`): `{stages: 0.7, first: 3, length: 3}`.

Departures:
1. As in the comparison, w multiplies the candidate and not the sum, and the sum goes over all patches and not over the
   cluster; so patches with little attention win, and the sums never change.
2. A medoid stays in its own cluster, so that no cluster is empty; officially an empty one, which only repeated features
   make, takes patch 0, also when that is another's medoid.
3. With `equal_weight` the first medoid is `first_medoid` instead of a random patch, one for the whole batch.
4. Patches leave after a block; officially before the next, which is the same.
5. What Cropr's paper ran (iterations, weights) is not known.
"""

import torch

from suite.methods import (
    Field,
    Method,
    MethodSettings,
    Projection,
    Stage,
    Tensor,
    Tokens,
    attend,
    feed_forward,
    nn,
    others,
)


class Settings(MethodSettings):
    """`iterations` of the clustering. `equal_weight`: w = 1, and each first medoid is farthest from any before it."""

    strength_parameter = "stages"
    iterations: int = Field(3, ge=1)
    equal_weight: bool = False
    first_medoid: int = Field(0, ge=0)

    def can_stash(self) -> bool:
        return True

    def removal_stage(self) -> Stage:
        return "post"


class KMedoids(Method):
    """Weighted k-medoids on the features after a block."""

    settings: Settings

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens, projection = attend(block, tokens)
        tokens = feed_forward(block, tokens)
        if not self.counts[layer]:
            return tokens
        keep, owner = self.cluster(tokens, projection, tokens.count - self.counts[layer])
        gone = others(keep, tokens.count)
        return tokens.stash(keep, gone) if self.stashes else tokens.absorb(keep, gone, owner.gather(1, gone))

    @torch.no_grad()
    def cluster(self, tokens: Tokens, projection: Projection, count: int) -> tuple[Tensor, Tensor]:
        """Medoids, (B, count), and for each patch the place of its own among them, (B, N)."""
        x = tokens.patches.float()
        distance = torch.cdist(x, x)
        if self.settings.equal_weight:
            medoids, cost = far_apart(distance, self.settings.first_medoid, count), distance.sum(-1)
        else:
            weight = projection.received().float()
            medoids, cost = weight.topk(count).indices, weight * distance.sum(-1)
        owner = nearest(distance, medoids)
        for _ in range(self.settings.iterations):
            medoids = cheapest(cost, owner, count)
            owner = nearest(distance, medoids)
        return medoids, owner


def nearest(distance: Tensor, medoids: Tensor) -> Tensor:
    """For each patch the place of its nearest medoid, (B, N), by distances, (B, N, N), to `medoids`, (B, K)."""
    owner = distance.gather(2, medoids.unsqueeze(1).expand(-1, distance.shape[1], -1)).argmin(-1)
    return owner.scatter(1, medoids, torch.arange(medoids.shape[1], device=medoids.device).expand_as(medoids))


def cheapest(cost: Tensor, owner: Tensor, count: int) -> Tensor:
    """Of each of `count` clusters the member of smallest cost, (B, count), by costs and clusters of patches, (B, N)."""
    is_member = owner.unsqueeze(1) == torch.arange(count, device=owner.device).unsqueeze(1)
    return torch.where(is_member, cost.unsqueeze(1), float("inf")).argmin(-1)


def far_apart(distance: Tensor, first: int, count: int) -> Tensor:
    """Patch `first`, and each time the one whose largest distance to those chosen is largest, (B, count)."""
    chosen = [distance.new_full((len(distance),), first, dtype=torch.long)]
    farthest = torch.zeros_like(distance[:, 0])
    for _ in range(count - 1):
        row = distance.gather(1, chosen[-1].view(-1, 1, 1).expand(-1, 1, distance.shape[2]))[:, 0]
        taken = torch.stack(chosen, 1)
        farthest = torch.maximum(farthest, row)
        chosen.append(farthest.scatter(1, taken, -1.0).argmax(-1))
    return torch.stack(chosen, 1)
