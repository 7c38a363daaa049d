"""The tokens of a batch of images while some are removed, merged or stashed.

Shape letters, here and everywhere: B images, P prefix tokens (class, registers, distillation), N patch tokens now,
N0 patch tokens at the start, D channels, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Tokens between two blocks.

    Prefix tokens are protected by construction: every index and every field but `x` runs over patches only.

    Attributes:
        x: features, (B, P+N, D).
        prefix: P.
        grid: rows and columns of the first patch grid.
        tracked: whether `position` is kept; only if rotary tables, `representative` or a map reads it.
        position: index of each patch in that grid, row by row, (B, N); -1 for a fused token. None before the first
            removal.
        size: number of patches merged into each token, (B, N); 0 for padding. None until there is either.
        padded: whether images may keep different numbers of patches, those with fewer being padded.
        policy: which patches others see, 1, or not, 0, (B, N); training may mask where evaluation removes. None
            while all are seen.
        rotary: rotary table of the current block, (N0, d) or (H, N0, d), sines then cosines. None without rotary.
        representative: for each original patch the index of the token that represents it now, (B, N0). None if unused.
        stashed: removed patches that will rejoin, (B, S, D), with the features they had when removed.
        stashed_position: their positions, (B, S).
        stashed_logits: predictions for them at the block that removed them, (B, S, classes).
        auxiliary: outputs that only training needs.
        carried: what a method takes on from block to block; nothing else reads it.
    """

    x: Tensor
    prefix: int
    grid: tuple[int, int]
    tracked: bool = False
    position: Tensor | None = None
    size: Tensor | None = None
    padded: bool = False
    policy: Tensor | None = None
    rotary: Tensor | None = None
    representative: Tensor | None = None
    stashed: Tensor | None = None
    stashed_position: Tensor | None = None
    stashed_logits: Tensor | None = None
    auxiliary: tuple[Tensor, ...] = ()
    carried: tuple[Tensor, ...] = ()

    @property
    def patches(self) -> Tensor:
        """Features of the patches, (B, N, D)."""
        return self.x[:, self.prefix :]

    @property
    def count(self) -> int:
        """N."""
        return self.x.shape[1] - self.prefix

    @property
    def where(self) -> Tensor:
        """`position`, also before the first removal, (B, N)."""
        if self.position is not None:
            return self.position
        return torch.arange(self.count, device=self.x.device).expand(self.x.shape[0], -1)

    @property
    def sizes(self) -> Tensor:
        """Size of each patch, (B, N): 1 while there are none."""
        return self.x.new_ones(self.x.shape[0], self.count) if self.size is None else self.size

    @property
    def absent(self) -> Tensor | None:
        """Which patches are padding, (B, N); None where none is."""
        return self.size == 0 if self.padded and self.size is not None else None

    @property
    def lengths(self) -> Tensor:
        """Tokens of each image without padding, prefix included, (B,)."""
        whole = torch.full((self.x.shape[0],), self.x.shape[1], device=self.x.device)
        return whole if self.absent is None else whole - self.absent.sum(1)

    def select(self, keep: Tensor) -> Tokens:
        """Keep the patches `keep`, (B, K), in that order; the nearest kept patch represents a removed one."""
        return replace(
            self,
            x=take(self.x, self.with_prefix(keep)),
            position=self.where.gather(1, keep) if self.tracked else None,
            size=None if self.size is None else self.size.gather(1, keep),
            policy=None if self.policy is None else self.policy.gather(1, keep),
            representative=None if self.representative is None else self._nearest(self.representative, keep),
        )

    def without(self, gone: Tensor) -> Tokens:
        """Remove the patches where `gone`, (B, N), is true: they stay as padding, of size 0, that holds what they were.

        The nearest patch that is no padding represents each. `select` then shortens the sequence by some of them.
        """
        size = self.sizes.masked_fill(gone, 0)
        padded = replace(self, size=size, padded=True)
        if self.representative is None or self.stashed is not None:  # `rejoin` makes representatives anew
            return padded
        return replace(padded, representative=self._nearest_seen(size).gather(1, self.representative))

    def stash(self, keep: Tensor, gone: Tensor) -> Tokens:
        """Keep the patches `keep`, (B, K); stash the patches `gone`, (B, R), until `rejoin`."""
        left = take(self.x, gone + self.prefix)
        position = self.where.gather(1, gone) if self.tracked else None
        kept = replace(self, representative=None).select(keep)  # `rejoin` makes representatives anew
        return replace(
            kept,
            representative=self.representative,
            stashed=_join(self.stashed, left),
            stashed_position=_join(self.stashed_position, position),
        )

    def with_stashed_logits(self, logits: Tensor) -> Tokens:
        """Add predictions, (B, R, classes), for the patches stashed last."""
        return replace(self, stashed_logits=_join(self.stashed_logits, logits))

    def mask(self, policy: Tensor) -> Tokens:
        """Keep all patches, but let others see only those with `policy`, (B, N), 1 and not 0.

        The nearest patch that is seen represents one that is not.
        """
        owner = self.representative
        return replace(
            self, policy=policy, representative=None if owner is None else self._nearest_seen(policy).gather(1, owner)
        )

    def rejoin(self) -> Tokens:
        """Append all stashed patches (Cropr's last-layer fusion) and unmask masked ones; without any, do nothing.

        Padding is there again as it is.
        """
        if self.stashed is None and self.policy is None:
            return self
        x = self.x if self.stashed is None else torch.cat([self.x, self.stashed], 1)
        position = _join(self.position, self.stashed_position)
        tokens = replace(self, x=x, position=position, policy=None, stashed=None, stashed_position=None)
        tokens = replace(tokens, size=None, padded=False) if self.padded else tokens
        if self.representative is None:
            return tokens
        position = tokens.where
        index = torch.arange(position.shape[1], device=position.device).expand_as(position)
        return replace(tokens, representative=torch.zeros_like(self.representative).scatter(1, position, index))

    def fuse(self, keep: Tensor, gone: Tensor, weight: Tensor) -> Tokens:
        """Keep the patches `keep`, (B, K), and append one token, the sum of the patches `gone` times `weight`, (B, R).

        The weights are not normalised. The new token has no position; it represents all patches it was made of.
        """
        fused = torch.einsum("br,brd->bd", weight.to(self.x.dtype), take(self.x, gone + self.prefix))
        kept = self.absorb(keep, gone, torch.full_like(gone, keep.shape[1]))
        no_position = keep.new_full((keep.shape[0], 1), -1) if self.tracked else None
        size = None if self.size is None else self.size.gather(1, gone).sum(1, keepdim=True)
        return replace(
            kept,
            x=torch.cat([kept.x, fused.unsqueeze(1)], 1),
            position=_join(kept.position, no_position),
            size=_join(kept.size, size),
        )

    def merge(self, keep: Tensor, source: Tensor, destination: Tensor) -> Tokens:
        """Merge each of the patches `source`, (B, R), into the kept patch at its `destination`, (B, R).

        `keep`, (B, K), is the new order of the kept patches; `destination` indexes into `keep`. The result is the mean
        weighted by size, at its destination's position.
        """
        size = self.sizes
        kept, weight = self.absorb(keep, source, destination), size.gather(1, keep)
        source_weight = size.gather(1, source)
        total = weight.scatter_add(1, destination, source_weight)
        weighted = take(self.x, source + self.prefix) * source_weight.unsqueeze(-1)
        before, after = (F.pad(sizes, (self.prefix, 0), value=1.0).unsqueeze(-1) for sizes in (weight, total))
        index = (destination + self.prefix).unsqueeze(-1).expand_as(weighted)
        return replace(kept, x=(kept.x * before).scatter_add(1, index, weighted) / after, size=total)

    def absorb(self, keep: Tensor, gone: Tensor, target: Tensor) -> Tokens:
        """Keep the patches `keep`, (B, K), in that order; the token `target`, (B, R), of it represents each of `gone`.

        Features and sizes of the kept patches stay as they are.
        """
        kept = replace(self, representative=None).select(keep)
        return replace(kept, representative=self._reassign(keep, gone, target))

    def mix(self, weight: Tensor, patches: Tensor | None = None) -> Tokens:
        """Replace all patches by K tokens, `weight`, (B, K, N), times the patches or times `patches`, (B, N, D).

        The new tokens have no position and no size. In a dense read-out each patch is represented by the token in which
        it has the largest weight (our choice).
        """
        mixed = weight.to(self.x.dtype) @ (self.patches if patches is None else patches)
        owner = self.representative
        return replace(
            self.with_patches(mixed),
            position=self.where.new_full(mixed.shape[:2], -1) if self.tracked else None,
            size=None,
            representative=None if owner is None else weight.argmax(1).gather(1, owner),
        )

    def with_patches(self, patches: Tensor) -> Tokens:
        """Other features for the patches, (B, N, D)."""
        return replace(self, x=torch.cat([self.x[:, : self.prefix], patches], 1))

    def write_back(self, active: Tokens, index: Tensor) -> Tokens:
        """Replace the patches `index`, (B, K), and the prefix by those of `active`; the others are unchanged."""
        rows = _flat(self.with_prefix(index), self.x.shape[1])
        x = self.x.flatten(0, 1).index_copy(0, rows, active.x.flatten(0, 1)).view_as(self.x)
        return replace(self, x=x, auxiliary=active.auxiliary)

    def with_auxiliary(self, output: Tensor) -> Tokens:
        """Add an output that only training needs."""
        return replace(self, auxiliary=(*self.auxiliary, output))

    def with_prefix(self, index: Tensor) -> Tensor:
        """Index over tokens, (B, P+K), prefix first, of an index over patches, (B, K)."""
        prefix = torch.arange(self.prefix, device=index.device).expand(index.shape[0], -1)
        return torch.cat([prefix, index + self.prefix], 1)

    def dense(self) -> Tensor:
        """Features of each original patch's representative, (B, N0, D)."""
        if self.representative is None:
            raise ValueError("these tokens have no representatives of removed patches; embed with track=True")
        return take(self.x, self.representative + self.prefix)

    def is_kept(self) -> Tensor:
        """Which original patches are tokens of the sequence now, (B, N0)."""
        if not self.tracked:
            raise ValueError("these tokens have no positions; embed with track=True")
        first = self.grid[0] * self.grid[1]
        mask = torch.zeros(self.x.shape[0], first + 1, dtype=torch.bool, device=self.x.device)
        where = self.where if self.absent is None else self.where.masked_fill(self.absent, -1)
        return mask.scatter(1, where % (first + 1), value=True)[:, :-1]

    def _reassign(self, keep: Tensor, gone: Tensor, target: Tensor) -> Tensor | None:
        """Representatives after keeping the patches `keep` and joining the patches `gone` to the tokens `target`."""
        if self.representative is None:
            return None
        itself = torch.arange(keep.shape[1], device=keep.device).expand_as(keep)
        renumbered = keep.new_zeros(keep.shape[0], self.count).scatter(1, keep, itself).scatter(1, gone, target)
        return renumbered.gather(1, self.representative)

    def _nearest(self, representative: Tensor, keep: Tensor) -> Tensor:
        """Representatives after keeping only the patches `keep`: of a removed one the kept one nearest in the grid."""
        position, count = self.where, self.count
        gone, place = others(keep, count), self._places()
        unplaced = position < 0 if self.absent is None else (position < 0) | self.absent  # a fused token has no place
        between = take(place, gone).unsqueeze(2) - take(place, keep).unsqueeze(1)
        target = (between.square().sum(-1) + 1e6 * unplaced.gather(1, keep).unsqueeze(1)).argmin(-1)
        itself = torch.arange(keep.shape[1], device=keep.device).expand_as(keep)
        return torch.zeros_like(position).scatter(1, keep, itself).scatter(1, gone, target).gather(1, representative)

    def _nearest_seen(self, policy: Tensor) -> Tensor:
        """Of each patch the one nearest in the grid with a `policy` above 0, itself if its own is, (B, N)."""
        place = self._places()[: 1 if self.position is None else None]  # before the first removal all are alike
        between = place.unsqueeze(2) - place.unsqueeze(1)
        return (between.square().sum(-1) + 1e6 * (policy <= 0).unsqueeze(1)).argmin(-1)

    def _places(self) -> Tensor:
        """Row and column of each patch, (B, N, 2)."""
        position, columns = self.where, self.grid[1]
        return torch.stack([position // columns, position % columns], 2).to(torch.float32)


def others(keep: Tensor, count: int) -> Tensor:
    """Which of `count` patches are not in `keep`, (B, K), as (B, count-K)."""
    is_other = keep.new_ones(keep.shape[0], count).scatter(1, keep, 0)
    return is_other.topk(count - keep.shape[1], sorted=False).indices


def take(x: Tensor, index: Tensor) -> Tensor:
    """Rows `index`, (B, K), of `x`, (B, T, D), as (B, K, D); faster than a gather, which copies element by element."""
    return x.flatten(0, 1).index_select(0, _flat(index, x.shape[1])).view(*index.shape, x.shape[2])


def _flat(index: Tensor, length: int) -> Tensor:
    """Flatten indices into B sequences of `length`, (B, K), to indices into their concatenation, (B*K,)."""
    if not torch.compiler.is_compiling() and index.shape[0] == 1:  # in a graph the number of images stays open
        return index.flatten()
    first = torch.arange(index.shape[0], device=index.device).unsqueeze(1) * length
    return (index + first).flatten()


def _join(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Concatenate along tokens those that are not None."""
    if first is None or second is None:
        return first if second is None else second
    return torch.cat([first, second], 1)
