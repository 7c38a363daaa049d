"""How large a backbone is."""

from __future__ import annotations

from typing import NamedTuple

Pair = tuple[int, int]  # height, width


class Size(NamedTuple):
    """Pixels of its images and of a patch, rows and columns of patches, and blocks."""

    image: Pair
    patch: Pair
    grid: Pair
    depth: int

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    def __str__(self) -> str:
        patches = f"{by(self.grid)} patches of {by(self.patch)} pixels"
        return f"images of {by(self.image)} pixels, {patches} and {self.depth} blocks"


def by(pair: Pair) -> str:
    """Height and width for a sentence."""
    return f"{pair[0]} x {pair[1]}"
