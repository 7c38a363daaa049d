"""Digit scenes: real images with exact labels, from nothing but what scikit-learn ships.

Its 1,797 handwritten digits (8x8 pixels, Alpaydin and Kaynak, UCI) are split by digit image into train and validation,
so no digit is ever in both. Each is pasted in white, at random size and place, on a crop of one of its two photographs.
Scene i of a split depends on the recipe's seed and i alone.
"""

import functools
import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from suite.data.recipe import DigitScenes

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")
BACKGROUND = 10
VALIDATION_SHARE = 5  # every fifth digit image, after a shuffle
PLACES_TRIED = 20
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scenes:
    """Scenes of one split.

    Attributes:
        images: (n, 3, canvas, canvas), 0 to 255.
        labels: the digit in the scene, or the largest of several, (n,).
        label_maps: the digit each pixel belongs to, `BACKGROUND` elsewhere, (n, canvas, canvas).
    """

    images: Bytes
    labels: NDArray[np.int64]
    label_maps: Bytes

    def digest(self) -> str:
        """Hash of all pixels and labels."""
        parts = (self.images, self.labels, self.label_maps)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]


@functools.lru_cache(maxsize=4)
def make_scenes(recipe: DigitScenes, split: Split) -> Scenes:
    """Make all scenes of a split; about 70 us a scene."""
    digits, classes = _digits(recipe.seed, split)
    photographs: list[Bytes] = load_sample_images().images
    count = getattr(recipe, split)
    images = np.empty((count, recipe.canvas, recipe.canvas, 3), np.uint8)
    label_maps = np.empty((count, recipe.canvas, recipe.canvas), np.uint8)
    labels = np.empty(count, np.int64)
    for index in range(count):
        draw = np.random.default_rng([recipe.seed, SPLITS.index(split), index])
        images[index], label_maps[index], labels[index] = _scene(recipe, draw, digits, classes, photographs)
    return Scenes(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels, label_maps)


def _digits(seed: int, split: Split) -> tuple[Floats, NDArray[np.int64]]:
    """Ink, 0 to 1, (n, 8, 8), and class, (n,), of the digit images that belong to a split."""
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
    photograph = photographs[draw.integers(len(photographs))]
    height, width = (side - recipe.canvas + 1 for side in photograph.shape[:2])
    row, column = draw.integers(height), draw.integers(width)
    crop = photograph[row : row + recipe.canvas, column : column + recipe.canvas]
    return crop.astype(np.float32) * recipe.brightness


def _placed(
    recipe: DigitScenes, draw: np.random.Generator, ink: Floats, side: int
) -> tuple[Floats, tuple[slice, slice]]:
    """Ink scaled to `side` pixels, and a random place for it on the canvas."""
    row, column = draw.integers(recipe.canvas - side + 1, size=2)
    scaled = np.asarray(Image.fromarray(ink).resize((side, side), Image.Resampling.BILINEAR))
    return scaled, (slice(row, row + side), slice(column, column + side))


def _paste(canvas: Floats, ink: Floats, where: tuple[slice, slice]) -> None:
    canvas[where] += (255 - canvas[where]) * ink[..., None]
