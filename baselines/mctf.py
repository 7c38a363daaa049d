"""MCTF: patches are merged that are alike, get little attention and are small, before the block in which they would be.

Lee et al., "Multi-criteria Token Fusion with One-step-ahead Attention for Efficient Vision Transformers", arXiv
2403.10030; github mlvlab/MCTF (2004da0).

A block first computes its attention among all tokens, and merges before it attends. Patches alternate between A and B;
the weight of a pair is ((cos + 1) / 2)^(1 / t1) (u_a u_b)^(1 / t2) (s_a s_b)^(1 / t3), with the cosine of features, u
one over the mean attention received and s one over the size, both in shares of the largest. Half of the merges go from
A into B, the others from B into what is left of A. A merged token is the mean weighted by attention received times
size, and so is its row of the attention, whose columns add up; values are projected anew. Weights carry no gradient.

As published:
- DeiT-S, r = 16 (`--mctf_type [16,0,0,1,1,1,20,40,1,1,0]`): `{constant: 16, blocks: 1-11, clamp: true}`.
- DeiT-S, fast (`--mctf_type [0.35,...] --activate_layer [3,6,9]`): `{keep_rate: 0.65, blocks: "3,6,9"}`.

Departures:
1. The consistency loss between two numbers of merges is not here.
2. Officially at least 10 tokens stay, whatever r is; here the schedule says how many.
3. All prefix tokens are protected, and average pooling weighs by size; officially there is only the class token, which
   the head reads.
4. A merged token has the place of the last patch into which it was merged.
5. A patch that gets no attention at all counts as getting the least positive; officially it is not a number.
"""

from dataclasses import replace

import torch

from suite.methods import (
    Field,
    Method,
    MethodSettings,
    Stage,
    Tensor,
    Tokens,
    attend_by,
    attention_map,
    feed_forward,
    nn,
    others,
    run,
    take,
)


class Settings(MethodSettings):
    """`similarity`, `information`, `size`: t1, t2 and t3; 0 leaves that criterion out. `both_ways`: also B into A."""

    strength_parameter = "merges"
    reduces = "merges"
    means_by_size = False
    similarity: float = Field(1, ge=0)
    information: float = Field(20, ge=0)
    size: float = Field(40, ge=0)
    both_ways: bool = True

    def removal_stage(self) -> Stage:
        return "pre"


class MCTF(Method):
    """Bipartite matching by three criteria, and attention that is merged with the tokens."""

    settings: Settings

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        count = self.counts[layer]
        if not count:
            return run(block, tokens)
        weight = attention_map(block, tokens)
        received = weight.detach().mean((1, 2)).clamp(min=torch.finfo(weight.dtype).tiny)
        size = tokens.sizes
        keep, place = self.groups(tokens, received, count)
        share = received[:, tokens.prefix :] * size
        share = share / share.new_zeros(keep.shape).scatter_add(1, place, share).gather(1, place)
        merged, weight = pooled(tokens, share, keep, place), pooled_map(weight, share, keep.shape[1], place)
        merged = replace(merged, size=torch.zeros_like(size[:, count:]).scatter_add(1, place, size))
        return feed_forward(block, attend_by(block, merged, weight))

    @torch.no_grad()
    def groups(self, tokens: Tokens, received: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Patches that stay, (B, K), in official order, and the place among them to which each patch goes, (B, N)."""
        a, b = slice(tokens.prefix % 2, None, 2), slice(1 - tokens.prefix % 2, None, 2)
        weight, back = self.pairs(tokens, received, a, b), count - count // 2 if self.settings.both_ways else 0
        every = torch.arange(tokens.count, device=received.device).expand(len(received), -1)
        in_a, in_b = every[:, a], every[:, b]
        best, partner = weight.max(2)
        order = best.argsort(1, descending=True)
        source, rest = order[:, : count - back], order[:, count - back :].sort(1).values
        owner, staying = every, in_b
        if back:
            best, nearest = take(weight, rest).max(1)
            order = best.argsort(1, descending=True)
            target = in_a.gather(1, rest.gather(1, nearest.gather(1, order[:, :back])))
            owner, staying = owner.scatter(1, in_b.gather(1, order[:, :back]), target), in_b.gather(1, order[:, back:])
        owner = owner.scatter(1, in_a.gather(1, source), owner.gather(1, in_b.gather(1, partner.gather(1, source))))
        keep = torch.cat([in_a.gather(1, rest), staying], 1)
        return keep, torch.zeros_like(owner).scatter(1, keep, every[:, : keep.shape[1]]).gather(1, owner)

    def pairs(self, tokens: Tokens, received: Tensor, a: slice, b: slice) -> Tensor:
        """Weights of all pairs of patches of A and B, (B, N_A, N_B)."""
        settings, unit = self.settings, nn.functional.normalize(tokens.patches, dim=-1)
        unusual = received.amin(1, keepdim=True) / received[:, tokens.prefix :]
        weight = unit.new_ones(())
        if settings.similarity:
            cosine = unit[:, a] @ unit[:, b].transpose(1, 2)
            weight = ((cosine + 1) / 2).clamp(min=0) ** (1 / settings.similarity)
        for each, power in ((unusual, settings.information), (1 / tokens.sizes, settings.size)):
            between = each[:, a].unsqueeze(2) * each[:, b].unsqueeze(1)
            weight = weight * between ** (1 / power if power else 0)
        return weight


def pooled(tokens: Tokens, share: Tensor, keep: Tensor, place: Tensor) -> Tokens:
    """Sums of patches of the same `place`, (B, N), weighted by `share`, (B, N)."""
    source, weighted = others(keep, tokens.count), tokens.patches * share.unsqueeze(2).to(tokens.x.dtype)
    sums = torch.zeros_like(weighted[:, : keep.shape[1]]).scatter_add(
        1, place.unsqueeze(2).expand_as(weighted), weighted
    )
    return tokens.absorb(keep, source, place.gather(1, source)).with_patches(sums)


def pooled_map(weight: Tensor, share: Tensor, count: int, place: Tensor) -> Tensor:
    """Attention, (B, H, P+N, P+N), between tokens that are merged: sums of columns, weighted sums of rows."""
    prefix = weight.shape[-1] - place.shape[1]
    share = nn.functional.pad(share, (prefix, 0), value=1.0).to(weight.dtype)
    every = torch.arange(prefix, device=place.device).expand(len(place), -1)
    place = torch.cat([every, place + prefix], 1)
    columns = weight.new_zeros(*weight.shape[:3], prefix + count)
    columns = columns.scatter_add(3, place[:, None, None].expand_as(weight), weight) * share[:, None, :, None]
    rows = weight.new_zeros(*weight.shape[:2], prefix + count, prefix + count)
    return rows.scatter_add(2, place[:, None, :, None].expand_as(columns), columns)
