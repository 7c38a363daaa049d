"""A data set of another package: bright dots on noise, and how many there are."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from suite.data.dataset import DataSet, Examples, Split


class Dots(DataSet):
    """Each image has none to `most` dots of 4 x 4 pixels, in cells of their own."""

    SIDE: ClassVar[str] = "side_of_images"

    recipe: Literal["dots"]
    side_of_images: int = Field(16, ge=8, multiple_of=4)
    most: int = Field(4, ge=1)
    train: int = Field(64, ge=1)

    @property
    def targets(self) -> dict[str, int]:
        return {"counts": 0}

    def digest(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def open(self, split: Split) -> Examples:
        number, cells = self.train if split == "train" else 32, self.side_of_images // 4
        draw = np.random.default_rng(split == "train")
        counts = draw.integers(0, self.most + 1, number)
        dots = np.argsort(draw.random((number, cells * cells)), 1) < counts[:, None]
        bright = dots.reshape(number, 1, cells, cells).repeat(4, 2).repeat(4, 3)
        images = draw.integers(0, 60, (number, 3, *bright.shape[2:])) + 180 * bright
        return Examples(images.astype(np.uint8), {"counts": counts.astype(np.float32)})


DATA = Dots
