"""ToMe: merge the most similar patches.

Bolya et al., "Token Merging: Your ViT But Faster", arXiv 2210.09461; github facebookresearch/ToMe.

In every block, between attention and MLP: tokens at even positions (A) each propose the most similar token at an odd
position (B) by the cosine of their mean keys; the `removed` best proposals are merged, weighted by size (section 3).
Attention is proportional: log(size) is added to the logits of each key.

Departures:
1. All prefix tokens are protected; the official code protects a class and a distillation token and merges registers.
2. Unmerged A tokens keep their order; the official code does so only with a class token.
3. A merged token keeps the rotary position of its destination; the official code knows no rotary positions.
4. More merges than half the patches are refused instead of clamped.
5. Under average pooling merged tokens count by size, as in the official MAE patch; attention pooling ignores sizes.
6. LayerScale and query/key norms act as in the backbone; the official patch drops them on current timm.
"""

import torch
from torch import Tensor, nn

from suite.reduction import blocks
from suite.reduction.method import Method
from suite.reduction.schedule import Schedule
from suite.reduction.settings import Fusion, MethodSettings
from suite.reduction.tokens import Tokens


class Settings(MethodSettings):
    """`proportional_attention` is on for supervised ViTs and off for MAE checkpoints in the official code."""

    reduces = "merges"
    proportional_attention: bool = True

    def check(self, schedule: Schedule, fusion: Fusion) -> None:
        super().check(schedule, fusion)
        for block, (removed, entering) in enumerate(zip(schedule.removed, schedule.entering, strict=True)):
            if removed > entering // 2:
                raise ValueError(
                    f"merging can remove at most half the patches of a block: block {block} has {entering}, so "
                    f"{entering // 2}, but the schedule removes {removed}"
                )


class ToMe(Method):
    """Bipartite soft matching on keys, merge weighted by size."""

    settings: Settings

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens, projection = blocks.attend(block, tokens, proportional=self.settings.proportional_attention)
        if self.counts[layer]:
            tokens = tokens.merge(*bipartite_matching(projection.keys(), tokens.prefix, self.counts[layer]))
        return blocks.feed_forward(block, tokens)


@torch.no_grad()
def bipartite_matching(keys: Tensor, prefix: int, removed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Choose `removed` merges among patches with keys (B, N, d).

    Whether a patch is in A or B depends on its position in the whole sequence, prefix included. Returns the patches
    that stay, (B, N-removed), unmerged A first, then B; the sources, (B, removed); and the places of their destinations
    among those that stay, (B, removed).
    """
    patch = torch.arange(keys.shape[1], device=keys.device)
    in_a, in_b = patch[prefix % 2 :: 2], patch[1 - prefix % 2 :: 2]
    unit = nn.functional.normalize(keys, dim=-1)
    best, partner = (unit[:, in_a] @ unit[:, in_b].transpose(1, 2)).max(-1)
    order = best.argsort(dim=1, descending=True)
    source, unmerged = order[:, :removed], order[:, removed:].sort(dim=1).values
    keep = torch.cat([in_a[unmerged], in_b.expand(len(keys), -1)], 1)
    return keep, in_a[source], partner.gather(1, source) + unmerged.shape[1]
