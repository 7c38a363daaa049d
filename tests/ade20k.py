"""A small folder laid out as ADE20k."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZES = {"training": [(60, 40), (32, 32), (40, 90), (33, 31)], "validation": [(48, 36), (31, 64)]}
SOME = (0, 1, 2, 3, 150)
ALL = tuple(range(151))


def make_folder(folder: Path, labels: tuple[int, ...] = SOME) -> Path:
    """Random reddish images of many sizes, and masks of these labels: 0 is not labelled, class c is c + 1."""
    draw = np.random.default_rng(0)
    for split, sizes in SIZES.items():
        for kind in ("images", "annotations"):
            (folder / kind / split).mkdir(parents=True)
        for number, (height, width) in enumerate(sizes):
            pixels = draw.integers(0, 256, (height, width, 3), np.uint8) // np.array([1, 2, 4], np.uint8)
            Image.fromarray(pixels).save(folder / "images" / split / f"ADE_{number}.jpg")
            mask = draw.choice(np.array(labels, np.uint8), (height, width))
            mask.flat[: len(labels)] = labels
            Image.fromarray(mask).save(folder / "annotations" / split / f"ADE_{number}.png")
    return folder
