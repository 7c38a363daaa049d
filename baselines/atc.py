"""ATC: patches are merged bottom up, the two nearest clusters at a time.

Haurum et al., "Agglomerative Token Clustering", arXiv 2409.11923; github JoakimHaurum/ATC (227c94b), `ATC_setup` and
`SSLBackbone_setup`.

Where ToMe merges, between attention and MLP: agglomerative clustering of the patches, with distances 1 - cos of their
mean keys, until as many clusters are left as the schedule says. Each becomes one token, the mean weighted by size.

As published:
- DeiT, 0.9 (`--reduction_ratio 0.9 --reduction_loc 3 6 9 --linkage average --proportional_attn`): `{stages: 0.9, first:
  4, length: 3}`.
- Off the shelf, r=16 (`--r 16 --linkage average`): `{constant: 15, blocks: 0-11}`, as r counts the class token there.
- MAE off the shelf or fine-tuned with r: `proportional_attention: false`.

Departures:
1. Without `--proportional_attn` a DeiT forgets sizes after each block, so that all tokens of a block weigh equally in
   the next merge; here that is `keeps_size: false`.
2. All images of a batch are clustered at once, a merge at a time; officially by scikit-learn or cuML, one image after
   another. Of pairs that are equally near the first merges.
3. A cluster has the place of its first patch, and its rotary position.
4. Average pooling weighs merged tokens by size, as in the official patch for MAE; DeiT and timm's average them as they
   are (`weighted_pooling: false`).
5. All prefix tokens are protected; officially a distillation token makes the code fail.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from suite.methods import Literal, MergingMethod, MergingSettings, Tensor, Tokens, nn, others


class Settings(MergingSettings):
    """`linkage`: the distance of two clusters is the mean, largest or smallest of their patches. See the departures."""

    strength_parameter = "stages"
    linkage: Literal["average", "complete", "single"] = "average"
    keeps_size: bool = True


class ATC(MergingMethod):
    """Agglomerative clustering on keys, merge weighted by size."""

    settings: Settings

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens = super().forward_block(block, tokens, layer)
        return tokens if self.settings.keeps_size else replace(tokens, size=None)

    @torch.no_grad()
    def groups(self, keys: Tensor, prefix: int, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast("cpu" if keys.is_meta else keys.device.type, enabled=False):  # near ties decide
            unit = nn.functional.normalize(keys.float(), dim=-1)
            first = agglomerated(1 - unit @ unit.transpose(1, 2), self.counts[layer], self.settings.linkage)
        place = torch.arange(keys.shape[1], device=keys.device)
        leads = first == place
        keep = (place + len(place) * ~leads).topk(len(place) - self.counts[layer], largest=False).indices
        source = others(keep, len(place))
        return keep, source, (leads.cumsum(1) - 1).gather(1, first.gather(1, source))


def agglomerated(distance: Tensor, merges: int, linkage: str) -> Tensor:
    """The first patch of each patch's cluster, (B, N), after so many merges by distances of at most 2, (B, N, N).

    A cluster's distances to the others stand in the row and column of its first patch; what has no cluster any more,
    and each to itself, is far (Lance and Williams, 1967).
    """
    batch, count, _ = distance.shape
    images, every = torch.arange(batch, device=distance.device), torch.arange(count, device=distance.device)
    far = distance.new_full((), FAR)  # made once: a number would be copied to a GPU in each step
    distance = torch.where(every == every.unsqueeze(1), far, distance)
    first, size = every.expand(batch, -1), distance.new_ones(batch, count)
    for _ in range(merges):
        low = distance.amin(2).argmin(1)  # of the nearest pair, as both triangles are alike
        one = distance[images, low]
        high = one.argmin(1)
        sizes = size[images, low], size[images, high]
        joined = LINKAGES[linkage](one, distance[images, high], sizes[1] / (sizes[0] + sizes[1]))
        distance[images, low] = joined
        distance[images, :, low] = joined
        distance[images, high] = far
        distance[images, :, high] = far
        distance[images, low, low] = far
        size[images, low] = sizes[0] + sizes[1]
        first = torch.where(first == high.unsqueeze(1), low.unsqueeze(1), first)
    return first


FAR = 1e6
LINKAGES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "average": lambda one, other, share: one.lerp(other, share.unsqueeze(1)),
    "complete": lambda one, other, _: one.maximum(other),
    "single": lambda one, other, _: one.minimum(other),
}
