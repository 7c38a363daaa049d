"""ADE20k's folder: whether images and masks are pairs, whole, of one size, and labelled with all classes.

Masks are 8 bit PNG images with one number for each pixel: 0 is not labelled, class c is written as c + 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from suite.data.recipe import Ade20k
from suite.errors import UserError

SHOWN = 5  # problems in one message
ORIENTATION = 0x0112  # the EXIF tag; mmcv turns images by it, and masks have none
Pair = tuple[Path, Path]


def check_pairs(folder: Path, split: str) -> list[Pair]:
    """Image and mask of every example of a split, in order of their names.

    Raises:
        UserError: if there are none, or naming the first file without its partner.
    """
    images, masks = folder / "images" / split, folder / "annotations" / split
    for folder_of in (images, masks):
        inner = (
            next((path for path in sorted(folder_of.iterdir()) if path.is_dir()), None) if folder_of.is_dir() else None
        )
        if inner is not None:
            raise UserError(f"{inner} is a folder among the files of {folder_of}; move its files up, or take it away")
    found = {path.stem for path in images.glob("*.jpg")}, {path.stem for path in masks.glob("*.png")}
    if not found[0]:
        raise UserError(
            f"there are no .jpg images in {images}; folder must be the one that holds ADE20k's images and annotations"
        )
    for lonely, name, partner in (
        (sorted(found[0] - found[1]), "image {}.jpg has no mask", masks),
        (sorted(found[1] - found[0]), "mask {}.png has no image", images),
    ):
        if lonely:
            more = f", nor have {len(lonely) - 1} more" if len(lonely) > 1 else ""
            raise UserError(f"{split} {name.format(lonely[0])} in {partner}{more}; add it, or take the file away")
    return [(images / f"{stem}.jpg", masks / f"{stem}.png") for stem in sorted(found[0])]


def examine(recipe: Ade20k, advanced: Callable[[int, int], None] = lambda _done, _total: None) -> None:
    """Read every image and mask once, with all processors, and refuse what would spoil training or scores.

    Args:
        recipe: the folder, and whether classes may be without a pixel.
        advanced: told after each pair how many are done, of how many.

    Raises:
        UserError: naming files (the first few), cause and cure; or the classes that no pixel of a split has.
    """
    splits = {split: check_pairs(recipe.folder, split) for split in recipe.SPLITS}
    total, done, problems = sum(map(len, splits.values())), 0, list[str]()
    pixels = {split: np.zeros(256, np.int64) for split in splits}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for split, pairs in splits.items():
            for counted, problem in pool.map(lambda pair: _examine(pair, recipe.classes), pairs):
                done += 1
                advanced(done, total)
                pixels[split] += counted
                problems += [problem] if problem else []
    if not problems and not recipe.allow_empty_classes:
        problems = list(_empty(pixels, recipe))
    if problems:
        more = [f"and {len(problems) - SHOWN} more like these"] if len(problems) > SHOWN else []
        raise UserError("\n".join([*problems[:SHOWN], *more]))


def _examine(pair: Pair, classes: int) -> tuple[NDArray[np.int64], str]:
    """How many pixels have each of 256 labels, and what is wrong with the pair; empty if nothing."""
    none = np.zeros(256, np.int64)
    try:
        image, labels = _read(pair[0]), np.asarray(_read(pair[1]))
        width, height = image.size
        if image.getexif().get(ORIENTATION, 1) != 1:
            return none, f"{pair[0]} is stored turned (EXIF orientation) and its mask is not; save it upright"
        if labels.dtype != np.uint8:
            return none, f"{pair[1]} has {labels.dtype} pixels; a mask is an 8 bit image, save it as one"
        if labels.shape != (height, width):
            return none, mask_shape(pair[1], labels, (height, width))
        largest = int(labels.max())
        if largest > classes:
            count = int((labels == largest).sum())
            return (
                none,
                f"{pair[1]}: label {largest} on {count} pixels; labels run from 1 to {classes}, and 0 is not labelled",
            )
    except UserError as error:
        return none, str(error)
    return np.bincount(labels.ravel(), minlength=256), ""


def mask_shape(where: object, labels: NDArray[Any], wanted: tuple[int, ...]) -> str:
    """What is wrong with a mask that is not of its image's size."""
    return (
        f"{where} is a mask of shape {labels.shape} for an image of {wanted[0]} x {wanted[1]}; a mask has one number "
        "for each pixel"
    )


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:  # PIL raises half a dozen types for a broken image
        raise UserError(f"{path} cannot be read ({error}); replace it, or take image and mask away") from error
    return image


def _empty(pixels: dict[str, NDArray[np.int64]], recipe: Ade20k) -> Iterator[str]:
    for split, counted in pixels.items():
        absent = np.flatnonzero(counted[1 : recipe.classes + 1] == 0).tolist()
        if absent:
            shown = ", ".join(str(label + 1) for label in absent[:10]) + (", ..." if len(absent) > 10 else "")
            what = f"label {shown} has" if len(absent) == 1 else f"{len(absent)} labels ({shown}) have"
            yield (
                f"{what} no pixel in the masks of {recipe.folder / 'annotations' / split}, so the mean IoU would not "
                f"be that of all {recipe.classes} classes; complete the masks, or accept the mean over those that are "
                "there with data.allow_empty_classes: true"
            )
