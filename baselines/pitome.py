"""PiToMe: patches that are alike to many others are merged, and those that are alike to few are protected.

Tran et al., "Accelerating Transformers with Spectrum-Preserving Token Merging", arXiv 2405.16148; github
hchautran/PiToMe (550b5de), `algo/pitome`.

In block l of L, between attention and MLP, on the mean keys: energy E_i = mean over j of elu(cos(k_i, k_j) - m), with
margin m = 0.75 (1 - l / L). Patches are sorted by it, highest first, and go into A and B in turn; each of A proposes
the most similar of B, and proposals are merged into B, weighted by size. Of the first half of the blocks all patches
take part and the best proposals are merged; later only the 2 R of highest energy, and all R proposals.

As published:
- DeiT or MAE with a ratio of patches kept in each block (`model.ratio = 0.925`): `{keep_rate: 0.925, blocks: 0-11}`;
  on MAE with `pairs_all: second half`.

Departures:
1. Attention is not proportional to size: the official patches take an option for it that has no effect
   (`proportional_attention: true`).
2. Which blocks pair all patches is as in the official patch for DeiT; the one for MAE has the halves the other way
   round, and those for CLIP and BLIP pair the 2 R only (`pairs_all`), the latter by features instead of keys.
3. The margin is that of the patches for DeiT and MAE; others have 0.9 (`margin`). The paper's text was not at hand.
4. All prefix tokens are protected; officially a distillation token is merged as a patch.
5. More merges than half the patches are refused; officially they fail.
6. A merged token keeps the rotary position of its destination, as in ToMe.
"""

import torch

from suite.methods import Field, Literal, MergingMethod, MergingSettings, Tensor, nn, take


class Settings(MergingSettings):
    """`margin`: m before the first block. `pairs_all`: the blocks in which all patches take part."""

    proportional_attention: bool = False
    margin: float = Field(0.75, ge=-1, le=1)
    pairs_all: Literal["first half", "second half", "no block"] = "first half"


class PiToMe(MergingMethod):
    """Bipartite soft matching among patches of high energy."""

    settings: Settings

    def groups(self, keys: Tensor, prefix: int, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        depth, half = self.context.depth, self.settings.pairs_all
        is_first = layer < (depth + 1) // 2
        everyone = half == ("first half" if is_first else "second half")
        return energy_matching(keys, self.counts[layer], self.settings.margin * (1 - layer / depth), everyone)


@torch.no_grad()
def energy_matching(keys: Tensor, removed: int, margin: float, everyone: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Choose `removed` merges among patches with keys (B, N, d): of all, if `everyone`, or of the 2 R highest energies.

    Returns what `MergingMethod.groups` does.
    """
    unit = nn.functional.normalize(keys, dim=-1)
    similarity = unit @ unit.transpose(1, 2)
    order = nn.functional.elu(similarity - margin).mean(-1).argsort(descending=True)
    alike, alone = (order, order[:, :0]) if everyone else (order[:, : 2 * removed], order[:, 2 * removed :])
    in_a, in_b = alike[:, ::2], alike[:, 1::2]
    rows = take(similarity, in_a)
    best, partner = rows.gather(2, in_b.unsqueeze(1).expand(-1, in_a.shape[1], -1)).max(-1)
    proposals = best.argsort(descending=True)
    source, unmerged = in_a.gather(1, proposals[:, :removed]), in_a.gather(1, proposals[:, removed:])
    keep = torch.cat([alone, unmerged, in_b], 1)
    return keep, source, partner.gather(1, proposals[:, :removed]) + keep.shape[1] - in_b.shape[1]
