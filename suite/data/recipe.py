"""What data a study uses; checked before anything heavy is imported."""

import hashlib
import json
from typing import Literal

from pydantic import Field, model_validator

from suite.strict import Strict

GENERATOR_VERSION = 1


class DigitScenes(Strict):
    """Real handwritten digits pasted on crops of real photographs, all from scikit-learn; see `scenes`.

    Sizes are in pixels. `digit_size` is the smallest and largest side of a pasted digit; `brightness` the factor the
    photographs are dimmed by; `clutter` the number of unlabelled quarter digits strewn into a scene.
    """

    recipe: Literal["digit-scenes"]
    canvas: int = Field(32, ge=8, le=427, description="side of a scene; the photographs are 427 pixels high")
    digits: int = Field(1, ge=1, le=16)
    digit_size: tuple[int, int] = (14, 20)
    brightness: float = Field(0.6, ge=0, le=1)
    clutter: int = Field(0, ge=0, le=64)
    train: int = Field(8000, ge=1, le=10_000_000)
    validation: int = Field(2000, ge=1, le=10_000_000)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _digits_fit(self) -> "DigitScenes":
        smallest, largest = self.digit_size
        if not 4 <= smallest <= largest <= self.canvas:
            raise ValueError(
                f"digit_size must rise from 4 or more to the canvas of {self.canvas} pixels at most, found "
                f"{list(self.digit_size)}"
            )
        return self

    @property
    def classes(self) -> int:
        return 10

    def digest(self) -> str:
        """Identity of the data: a hash of the recipe and of the generator's version."""
        content = json.dumps([GENERATOR_VERSION, self.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]
