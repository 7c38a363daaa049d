"""ATC: patches are merged bottom up, the two nearest clusters at a time.

Haurum et al., "Agglomerative Token Clustering", arXiv 2409.11923; github JoakimHaurum/ATC (227c94b), `ATC_setup` and
`SSLBackbone_setup`.

Where ToMe merges, between attention and MLP: agglomerative clustering of the patches, with distances 1 - cos of their
mean keys, until as many clusters are left as the schedule says. Each becomes one token, the mean weighted by size.

As published:
- DeiT, 0.9 (`--keep_rate 0.9 --reduction_loc 3 6 9 --linkage complete --proportional_attn`): `{stages: 0.9, first: 4,
  length: 3}`, `linkage: complete`.
- Off the shelf, r=16 (`--r 16 --linkage average`): `{constant: 16, blocks: 0-11}`.
- MAE off the shelf or fine-tuned with r: `proportional_attention: false`.

Departures:
1. The linkage has to be chosen officially; here it is `average` by default.
2. Without `--proportional_attn` a DeiT forgets sizes after each block, so that all tokens of a block weigh equally in
   the next merge; here that is `forgets_size`.
3. A cluster has the rotary position of its first patch.
4. Average pooling weighs merged tokens by size, as in the official patch for MAE; DeiT and timm's average them as they
   are (`weighted_pooling: false`).
5. All prefix tokens are protected; officially a distillation token makes the code fail.
6. As officially the clustering is scikit-learn's, image by image on the processor, so it stops a GPU in each block that
   merges, and cannot be captured in a CUDA graph or turned into ONNX; the version with cuML is not here.
"""

from dataclasses import replace

import torch

from suite.methods import Literal, MergingMethod, MergingSettings, Tensor, Tokens, nn, others


class Settings(MergingSettings):
    """`linkage`: the distance of two clusters is the mean, largest or smallest of their patches. See the departures."""

    strength_parameter = "stages"
    linkage: Literal["average", "complete", "single"] = "average"
    forgets_size: bool = False


class ATC(MergingMethod):
    """Agglomerative clustering on keys, merge weighted by size."""

    settings: Settings

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens = super().forward_block(block, tokens, layer)
        return replace(tokens, size=None) if self.settings.forgets_size else tokens

    @torch.no_grad()
    def groups(self, keys: Tensor, prefix: int, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        patches, count = keys.shape[1], keys.shape[1] - self.counts[layer]
        unit = nn.functional.normalize(keys, dim=-1)
        cluster = agglomerate(1 - unit @ unit.transpose(1, 2), count, self.settings.linkage)
        place = torch.arange(patches, device=keys.device).expand_as(cluster)
        first = place.new_full((len(keys), count), patches).scatter_reduce(1, cluster, place, "amin")
        source = others(first, patches)
        return first, source, cluster.gather(1, source)

    def uncounted_macs(self, patches: int, layer: int) -> int:
        """Of mean distances, two products for every other cluster at each merge; other linkages only compare."""
        others = (patches - merged - 2 for merged in range(self.counts[layer]))
        return 2 * sum(others) if self.settings.linkage == "average" else 0


@torch.library.custom_op("cropr_suite::agglomerate", mutates_args=())
def agglomerate(distance: Tensor, count: int, linkage: str) -> Tensor:
    """The cluster of each patch, (B, N), from 0 to `count` - 1, by distances, (B, N, N)."""
    from sklearn.cluster import AgglomerativeClustering

    clustering = AgglomerativeClustering(count, metric="precomputed", linkage=linkage)
    labels = [torch.from_numpy(clustering.fit_predict(image)) for image in distance.float().cpu().numpy()]
    return torch.stack(labels).to(distance.device)


@agglomerate.register_fake
def _(distance: Tensor, count: int, linkage: str) -> Tensor:
    return distance.new_empty(distance.shape[:2], dtype=torch.int64)
