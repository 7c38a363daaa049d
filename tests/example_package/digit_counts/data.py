"""Scenes with one to several handwritten digits, and how many there are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from suite.data.dataset import DataSet, Examples, Split
from suite.data.digit_scenes import DigitScenes


class CountedDigits(DataSet):
    """Scenes of `side_length` pixels with 1 to `most` digits; `scenes` of each count to train on."""

    SIDE: ClassVar[str] = "side_length"

    recipe: Literal["counted-digits"]
    side_length: int = Field(32, ge=24)
    most: int = Field(3, ge=2, le=6)
    scenes: int = Field(100, ge=4)

    @property
    def targets(self) -> Mapping[str, int]:
        return {"count": 0}  # a number, no class

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:16]

    def count(self, split: Split) -> int:
        return self.most * (self.scenes if split == "train" else self.scenes // 4)

    def open(self, split: Split) -> Examples:
        import numpy as np

        counts = range(1, self.most + 1)
        parts = [self._scenes(digits).open(split).pixels for digits in counts]
        counted = np.repeat(np.arange(1, self.most + 1, dtype=np.float32), len(parts[0]))
        return Examples(np.concatenate(parts), {"count": counted})

    def _scenes(self, digits: int) -> DigitScenes:
        return DigitScenes(
            recipe="digit-scenes",
            canvas=self.side_length,
            digits=digits,
            digit_size=(8, 10),
            train=self.scenes,
            validation=self.scenes // 4,
            seed=digits,
        )


DATA = CountedDigits
