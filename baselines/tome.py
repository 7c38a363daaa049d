"""ToMe: merge the most similar patches.

Bolya et al., "Token Merging: Your ViT But Faster", arXiv 2210.09461; github facebookresearch/ToMe (af95e4b).

In every block, between attention and MLP: tokens at even positions (A) each propose the most similar token at an odd
position (B) by the cosine of their mean keys; the `removed` best proposals are merged, weighted by size (section 3).
Attention is proportional: log(size) is added to the logits of each key. The decreasing schedule of the paper is the
schedule rule `linear` with `inflect: -1`.

As published:
- r=13 (`model.r = 13`): `{constant: 13, blocks: 0-11}`.
- r=16 on ViT-B/16, which asks for more than half at the end: `{constant: 16, blocks: 0-11, clamp: true}`.
- Decreasing r (`model.r = (13, -1.0)`): `{linear: 13, inflect: -1}`.
- On MAE (`tome.patch.mae(model)`): `proportional_attention: false`.

Departures:
1. All prefix tokens are protected; the official code protects a class and a distillation token and merges registers.
2. Unmerged A tokens keep their order; the official code sorts them by similarity where there is no class token, which
   decides who meets whom in the next block (`order: by similarity`).
3. A merged token keeps the rotary position of its destination; the official code knows no rotary positions.
4. More merges than half the patches are refused; the official code clamps them, as a schedule does with `clamp: true`.
5. Under average pooling merged tokens count by size, as in the official patch for MAE; the one for timm averages them
   as they are (`weighted_pooling: false`). Attention pooling ignores sizes.
6. LayerScale and query/key norms act as in the backbone; the official patch drops them on current timm.
"""

import torch

from suite.methods import Literal, MergingMethod, MergingSettings, Tensor, nn


class Settings(MergingSettings):
    """`proportional_attention` is on for supervised ViTs and off for MAE checkpoints in the official code.

    `weighted_pooling` and `order`: see the departures.
    """

    order: Literal["kept", "by similarity"] = "kept"


class ToMe(MergingMethod):
    """Bipartite soft matching on keys, merge weighted by size."""

    settings: Settings

    def groups(self, keys: Tensor, prefix: int, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        return bipartite_matching(keys, prefix, self.counts[layer], self.settings.order == "kept")


@torch.no_grad()
def bipartite_matching(keys: Tensor, prefix: int, removed: int, in_order: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Choose `removed` merges among patches with keys (B, N, d).

    Whether a patch is in A or B depends on its position in the whole sequence, prefix included. Returns the patches
    that stay, (B, N-removed), unmerged A first, then B; the sources, (B, removed); and the places of their destinations
    among those that stay, (B, removed). Unmerged A are `in_order`, or from similar to dissimilar.
    """
    first_a, first_b = prefix % 2, 1 - prefix % 2
    unit = nn.functional.normalize(keys, dim=-1)
    best, partner = (unit[:, first_a::2] @ unit[:, first_b::2].transpose(1, 2)).max(-1)
    order = best.argsort(dim=1, descending=True)
    source, unmerged = order[:, :removed], order[:, removed:]
    unmerged = unmerged.sort(dim=1).values if in_order else unmerged
    in_b = torch.arange(first_b, keys.shape[1], 2, device=keys.device)
    keep = torch.cat([2 * unmerged + first_a, in_b.expand(keys.shape[0], -1)], 1)
    return keep, 2 * source + first_a, partner.gather(1, source) + unmerged.shape[1]
