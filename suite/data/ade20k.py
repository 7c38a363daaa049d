"""ADE20k's folder, and whether images and masks are pairs, whole, of one size, and labelled with all classes.

Masks are 8 bit PNG images with one number for each pixel: 0 is not labelled, class c is written as c + 1.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from suite.data.dataset import SPLITS, Augmentation, DataSet, Examples, Split
from suite.data.labels import mask_shape
from suite.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

CLASSES = 150
FOLDERS: dict[Split, str] = {"train": "training", "validation": "validation"}
SHOWN = 5  # problems in one message
ORIENTATION = 0x0112  # the EXIF tag; mmcv turns images by it, and masks have none
Pair = tuple[Path, Path]


class Ade20k(DataSet):
    """ADE20k as mmsegmentation lays it out: `images` and `annotations`, each with `training` and `validation`.

    The augmentation is that of Cropr's official recipe (github benbergner/cropr, segm/): resize by `scale` of a long
    side of `size` pixels, crop `size` pixels with no class on more than `largest_class` of them, flip every second
    image, distort colours. Evaluation is in one shot, with the long side resized to `size`. With a `stride` it is by
    sliding windows of `size` pixels over an image whose short side is `size`, as is common elsewhere: other numbers,
    that do not compare with those of one shot.

    A class without a pixel in the masks of a split is refused, unless `allow_empty_classes`.
    """

    PLACES: ClassVar[frozenset[str]] = frozenset({"folder"})
    CHECKS: ClassVar[frozenset[str]] = frozenset({"allow_empty_classes"})
    SIDE: ClassVar[str] = "size"
    UNLABELLED_ZERO: ClassVar[bool] = True

    recipe: Literal["ade20k"]
    folder: Path
    size: int = Field(512, ge=8)
    scale: tuple[float, float] = (0.5, 2.0)
    largest_class: float = Field(0.75, gt=0, le=1)
    stride: int | None = Field(None, ge=1)
    allow_empty_classes: bool = False

    @model_validator(mode="after")
    def _scale_rises(self) -> Ade20k:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must rise from a number above 0, found {list(self.scale)}")
        return self

    @model_validator(mode="after")
    def _windows_leave_no_gap(self) -> Ade20k:
        if self.stride is not None and self.stride > self.size:
            raise ValueError(f"stride must be at most the size of a window, {self.size} pixels, found {self.stride}")
        return self

    @property
    def targets(self) -> dict[str, int]:
        return {"maps": CLASSES}

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(self.size, self.scale, self.largest_class, self.stride)

    def digest(self) -> str:
        """A hash of names and sizes of all images and of masks themselves; "missing" without them."""
        folders = [self.folder / kind / FOLDERS[split] for kind in ("images", "annotations") for split in SPLITS]
        if not all(folder.is_dir() for folder in folders):
            return "missing"
        files = sorted(path for folder in folders for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
        content = json.dumps([(path.relative_to(self.folder).as_posix(), _fingerprint(path)) for path in files])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def missing(self) -> str:
        if self.folder.is_dir():
            return ""
        shown = self.folder if self.folder.is_absolute() else f"{self.folder} in {Path.cwd()}"
        return (
            f"data.folder: there is no {shown}; put ADE20k there (ADEChallengeData2016 of the scene parsing benchmark, "
            "with images and annotations in it), or name the folder that it is in"
        )

    def open(self, split: Split) -> Examples:
        pairs = sorted(check_pairs(self.folder, FOLDERS[split]), key=lambda pair: str(pair[0]))
        images, masks = ([pair[part] for pair in pairs] for part in (0, 1))
        return Examples(images, {"maps": masks})

    def check(self, advanced: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Read every image and mask once, with all processors, and refuse what would spoil training or scores.

        Raises:
            UserError: naming files (the first few), cause and cure; or the classes that no pixel of a split has.
        """
        import numpy as np

        splits = {split: check_pairs(self.folder, split) for split in FOLDERS.values()}
        total, done, problems = sum(map(len, splits.values())), 0, list[str]()
        pixels = {split: np.zeros(256, np.int64) for split in splits}
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for split, pairs in splits.items():
                for counted, problem in pool.map(lambda pair: _examine(pair, CLASSES), pairs):
                    done += 1
                    advanced(done, total)
                    pixels[split] += counted
                    problems += [problem] if problem else []
        if not problems and not self.allow_empty_classes:
            problems = list(_empty(pixels, self))
        if problems:
            more = [f"and {len(problems) - SHOWN} more like these"] if len(problems) > SHOWN else []
            raise UserError("\n".join([*problems[:SHOWN], *more]))

    def class_names(self, target: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in _official()["classes"])

    def colours(self, target: str) -> tuple[tuple[int, int, int], ...]:
        return tuple((red, green, blue) for red, green, blue in _official()["palette"])


DATA = Ade20k


def _official() -> Mapping[str, Any]:
    """Names and colours of the classes, as mmsegmentation has them."""
    import suite.torchvision_operators  # noqa: F401  (before mmcv, which imports torchvision)

    # isort: split
    from mmseg.datasets import ADE20KDataset

    found: Mapping[str, Any] = ADE20KDataset.METAINFO
    return found


def _fingerprint(path: Path) -> str | int:
    """Size of an image, which compression makes telling; hash of a mask, where one pixel may change without a trace."""
    return path.stat().st_size if path.suffix == ".jpg" else hashlib.sha256(path.read_bytes()).hexdigest()


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


def _examine(pair: Pair, classes: int) -> tuple[NDArray[np.int64], str]:
    """How many pixels have each of 256 labels, and what is wrong with the pair; empty if nothing."""
    import numpy as np

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


def _read(path: Path) -> Image.Image:
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:  # PIL raises half a dozen types for a broken image
        raise UserError(f"{path} cannot be read ({error}); replace it, or take image and mask away") from error
    return image


def _empty(pixels: dict[str, NDArray[np.int64]], recipe: Ade20k) -> Iterator[str]:
    import numpy as np

    for split, counted in pixels.items():
        absent = np.flatnonzero(counted[1 : CLASSES + 1] == 0).tolist()
        if absent:
            shown = ", ".join(str(label + 1) for label in absent[:10]) + (", ..." if len(absent) > 10 else "")
            what = f"label {shown} has" if len(absent) == 1 else f"{len(absent)} labels ({shown}) have"
            yield (
                f"{what} no pixel in the masks of {recipe.folder / 'annotations' / split}, so the mean IoU would not "
                f"be that of all {CLASSES} classes; complete the masks, or accept the mean over those that are "
                "there with data.allow_empty_classes: true"
            )
