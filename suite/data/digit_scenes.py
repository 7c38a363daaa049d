"""Digit scenes: real images with exact labels, from nothing but what scikit-learn ships.

Its 1,797 handwritten digits (8x8 pixels, Alpaydin and Kaynak, UCI) are split by digit image into train and validation,
so no digit is ever in both. Each is pasted in white, at random size and place, on a crop of one of its two photographs.
Scene i of a split depends on the recipe's seed and i alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from suite.data.dataset import SPLITS, DataSet, Examples, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float32]

GENERATOR_VERSION = 1
CLASSES, BACKGROUND = 10, 10
VALIDATION_SHARE = 5  # every fifth digit image, after a shuffle
PLACES_TRIED = 20
COLOURS = (  # ten that differ, and a dark one
    *((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189)),
    *((140, 86, 75), (227, 119, 194), (127, 127, 127), (188, 189, 34), (23, 190, 207)),
    (38, 38, 38),
)


class DigitScenes(DataSet):
    """Real handwritten digits pasted on crops of real photographs, all from scikit-learn.

    Sizes are in pixels. `digit_size` is the smallest and largest side of a pasted digit; `brightness` the factor the
    photographs are dimmed by; `clutter` the number of unlabelled quarter digits strewn into a scene. A scene's label is
    its digit, or the largest of several; its map has the digit of each pixel, or `BACKGROUND`, a class of its own.
    """

    SIDE: ClassVar[str] = "canvas"

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
    def _digits_fit(self) -> DigitScenes:
        smallest, largest = self.digit_size
        if not 4 <= smallest <= largest <= self.canvas:
            raise ValueError(
                f"digit_size must rise from 4 or more to the canvas of {self.canvas} pixels at most, found "
                f"{list(self.digit_size)}"
            )
        return self

    @property
    def targets(self) -> dict[str, int]:
        return {"labels": CLASSES, "maps": CLASSES + 1}

    def digest(self) -> str:
        """A hash of the recipe and of the generator's version."""
        content = json.dumps([GENERATOR_VERSION, self.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def open(self, split: Split) -> Examples:
        return make_scenes(self, split)

    def count(self, split: Split) -> int:
        return self.train if split == "train" else self.validation

    def foreground(self, examples: Examples) -> np.ndarray[Any, Any] | None:
        return examples.targets["maps"] != BACKGROUND  # type: ignore[no-any-return]

    def class_names(self, target: str) -> tuple[str, ...]:
        digits = tuple(map(str, range(CLASSES)))
        return (*digits, "background") if target == "maps" else digits

    def colours(self, target: str) -> tuple[tuple[int, int, int], ...]:
        return COLOURS[: self.targets[target]]


DATA = DigitScenes


@functools.lru_cache(maxsize=4)
def make_scenes(recipe: DigitScenes, split: Split) -> Examples:
    """Make all scenes of a split; about 70 us a scene."""
    import numpy as np
    from sklearn.datasets import load_sample_images

    digits, classes = _digits(recipe.seed, split)
    photographs: list[Bytes] = load_sample_images().images
    count = recipe.count(split)
    images = np.empty((count, recipe.canvas, recipe.canvas, 3), np.uint8)
    label_maps = np.empty((count, recipe.canvas, recipe.canvas), np.uint8)
    labels = np.empty(count, np.int64)
    for index in range(count):
        draw = np.random.default_rng([recipe.seed, SPLITS.index(split), index])
        images[index], label_maps[index], labels[index] = _scene(recipe, draw, digits, classes, photographs)
    images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return Examples(images, {"labels": labels, "maps": label_maps})


def _digits(seed: int, split: Split) -> tuple[Floats, NDArray[np.int64]]:
    """Ink, 0 to 1, (n, 8, 8), and class, (n,), of the digit images that belong to a split."""
    import numpy as np
    from sklearn.datasets import load_digits

    bundled: Any = load_digits()
    order = np.random.default_rng([seed, len(SPLITS)]).permutation(len(bundled.target))
    held_out = np.zeros(len(order), bool)
    held_out[order[::VALIDATION_SHARE]] = True
    chosen = held_out if split == "validation" else ~held_out
    return (bundled.images[chosen] / 16).astype(np.float32), bundled.target[chosen].astype(np.int64)


def _scene(
    recipe: DigitScenes,
    draw: np.random.Generator,
    digits: Floats,
    classes: NDArray[np.int64],
    photographs: list[Bytes],
) -> tuple[Bytes, Bytes, np.int64]:
    import numpy as np

    canvas = _background(recipe, draw, photographs)
    for _ in range(recipe.clutter):
        row, column = 4 * draw.integers(2, size=2)
        piece = digits[draw.integers(len(digits))][row : row + 4, column : column + 4]
        _paste(canvas, *_placed(recipe, draw, piece, int(draw.integers(4, max(5, recipe.digit_size[0] // 2)))))
    label_map = np.full(canvas.shape[:2], BACKGROUND, np.uint8)
    largest, label = 0, np.int64(0)
    for _ in range(recipe.digits):
        chosen = draw.integers(len(digits))
        side = int(draw.integers(recipe.digit_size[0], recipe.digit_size[1] + 1))
        for _ in range(PLACES_TRIED):
            ink, where = _placed(recipe, draw, digits[chosen], side)
            if (label_map[where] == BACKGROUND).all():
                break
        else:
            continue  # the canvas is full; the scene has one digit less
        _paste(canvas, ink, where)
        label_map[where][ink > 0.5] = classes[chosen]
        if side > largest:
            largest, label = side, classes[chosen]
    return canvas.round().astype(np.uint8), label_map, label


def _background(recipe: DigitScenes, draw: np.random.Generator, photographs: list[Bytes]) -> Floats:
    import numpy as np

    photograph = photographs[draw.integers(len(photographs))]
    height, width = (side - recipe.canvas + 1 for side in photograph.shape[:2])
    row, column = draw.integers(height), draw.integers(width)
    crop = photograph[row : row + recipe.canvas, column : column + recipe.canvas]
    return crop.astype(np.float32) * recipe.brightness


def _placed(
    recipe: DigitScenes, draw: np.random.Generator, ink: Floats, side: int
) -> tuple[Floats, tuple[slice, slice]]:
    import numpy as np
    from PIL import Image

    row, column = draw.integers(recipe.canvas - side + 1, size=2)
    scaled = np.asarray(Image.fromarray(ink).resize((side, side), Image.Resampling.BILINEAR))
    return scaled, (slice(row, row + side), slice(column, column + side))


def _paste(canvas: Floats, ink: Floats, where: tuple[slice, slice]) -> None:
    canvas[where] += (255 - canvas[where]) * ink[..., None]
