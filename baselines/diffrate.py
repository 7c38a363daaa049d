"""DiffRate: patches to which the class token attends least are pruned, and of the rest the last ones are merged.

Chen et al., "DiffRate: Differentiable Compression Rate for Efficient Vision Transformers", arXiv 2305.17997; github
OpenGVLab/DiffRate (91ae3e3).

Between attention and MLP, patches are sorted by the class token's attention, mean over heads. The last ones leave; each
of the `merged` ones before them joins the one of those that stay with the largest cosine between their features, as a
mean without weights. A token's size, which counts in attention as ToMe's does, grows by the size of what joins it times
that cosine.

As published:
- DeiT-S, 2.3 of 4.6 G: `{removed: [0, 17, 24, 29, 18, 11, 18, 14, 14, 15, 6, 28]}`, `merged: [0, 12, 12, 16, 12, 7,
  12, 8, 10, 8, 2, 0]`.

Departures:
1. Both counts of each block are given; the search for them, which trains a probability of each count, is not here.
2. Without `merged`, half of the patches that leave a block merge there, rounded up: our choice.
3. Average pooling weighs tokens by their size, as in the official patch for MAE.
4. Sizes are at least 1e-6, so that their logarithm exists; officially opposite features may make it undefined.
5. All prefix tokens stay, and nothing joins them; officially there is only the class token.
"""

from dataclasses import replace

import torch

from suite.methods import Fusion, Method, MethodSettings, Schedule, Tensor, Tokens, attend, feed_forward, nn


class Settings(MethodSettings):
    """`merged`: how many of the patches that leave each block merge instead of being pruned."""

    reduces = "merges"
    needs = ("class token",)
    merged: tuple[int, ...] | None = None

    def check(self, schedule: Schedule, fusion: Fusion) -> None:
        super().check(schedule, fusion)
        most, merged = schedule.removed, schedule.removed if self.merged is None else self.merged
        if len(merged) != len(most) or not all(0 <= one <= count for one, count in zip(merged, most, strict=True)):
            raise ValueError(
                f"merged must say for each of {len(most)} blocks how many of the patches that leave it merge, at most "
                f"{list(most)}; found {list(merged)}"
            )


class DiffRate(Method):
    """Pruning, then merging, by two counts for each block."""

    settings: Settings

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens, projection = attend(block, tokens)
        count, merged = self.counts[layer], self.settings.merged
        if count:
            merges = (count + 1) // 2 if merged is None else min(merged[layer], count)
            order = projection.class_row().topk(tokens.count - count + merges).indices
            tokens = tokens.select(order)
            tokens = joined(tokens, merges) if merges else tokens
        return feed_forward(block, tokens)


def joined(tokens: Tokens, merges: int) -> Tokens:
    """The last `merges` patches joined to those of the others that are most alike."""
    place = torch.arange(tokens.count, device=tokens.x.device).expand(len(tokens.x), -1)
    keep, source = place[:, :-merges], place[:, -merges:]
    cosine, destination = _nearest(tokens.patches.detach(), merges)
    size = tokens.sizes
    total = size[:, :-merges].scatter_add(1, destination, size[:, -merges:] * cosine).clamp(min=1e-6)
    kept, sources = tokens.absorb(keep, source, destination), tokens.patches[:, -merges:]
    index = destination.unsqueeze(-1).expand_as(sources)
    return replace(kept.with_patches(kept.patches.scatter_reduce(1, index, sources, "mean")), size=total)


def _nearest(patches: Tensor, merges: int) -> tuple[Tensor, Tensor]:
    """Of each of the last `merges` patches the largest cosine with one of the others, and which that is, (B, R)."""
    unit = nn.functional.normalize(patches, dim=-1)
    cosine, destination = (unit[:, -merges:] @ unit[:, :-merges].transpose(1, 2)).max(-1)
    return cosine, destination
