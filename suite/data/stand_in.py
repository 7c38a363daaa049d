"""Data of trainings that are timed only: random pixels for images that are not here, and few to validate on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from suite.data.dataset import SPLITS, DataSet, Examples, Split

SCORED = 2  # images to validate on


class StandIn(DataSet):
    """So many training images of a side, (3, side, side), with random targets; nothing is read, cropped or augmented.

    `classes` are those of each target, `labels` or `maps`.
    """

    SIDE: ClassVar[str] = "size"

    recipe: str = "stand-in"
    size: int
    images: int
    classes: Mapping[str, int]

    @property
    def targets(self) -> Mapping[str, int]:
        return self.classes

    def digest(self) -> str:
        return self.recipe

    def count(self, split: Split) -> int:
        return self.images if split == "train" else SCORED

    def open(self, split: Split) -> Examples:
        import numpy as np

        draw, count = np.random.default_rng(SPLITS.index(split)), self.count(split)
        shapes: dict[str, tuple[int, ...]] = {"labels": (count,), "maps": (count, self.size, self.size)}
        pixels = draw.integers(0, 256, (count, 3, self.size, self.size), np.uint8)
        targets: dict[str, Any] = {
            name: draw.integers(0, classes, shapes[name], np.int64 if name == "labels" else np.uint8)
            for name, classes in self.classes.items()
        }
        return Examples(pixels, targets)


class BrieflyScored:
    """A data set with its first validation images alone; all else is the data set's."""

    def __init__(self, data: DataSet) -> None:
        self.data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def open(self, split: Split) -> Examples:
        found = self.data.open(split)
        if split == "train":
            return found
        count = min(SCORED, len(found))
        images = [found.images[index] for index in range(count)] if found.in_files else found.pixels[:count]
        return Examples(images, {name: values[:count] for name, values in found.targets.items()})
