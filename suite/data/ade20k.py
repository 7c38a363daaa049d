"""ADE20k's folder, and whether images and masks are pairs, whole, of one size, and labelled with all classes.

Masks are PNG images with one number for each pixel, grey of 8 bits or indices of a palette, which are the labels
whatever the colours: 0 is not labelled, class c is written as c + 1.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from suite.data.dataset import SPLITS, Augmentation, DataSet, Examples, Split
from suite.data.labels import mask_shape
from suite.data.pictures import CURE, HIDDEN, TURNED, Listed, conversions, each, is_junk, listed, load, read, refuse
from suite.errors import UserError
from suite.signatures import head_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

CLASSES = 150
GREY = 0  # type of colour of a PNG
IMAGES: dict[Split, int] = {"train": 20_210, "validation": 2000}
FOLDERS: dict[Split, str] = {"train": "training", "validation": "validation"}
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
        files = sorted(path for folder in folders for path in listed(folder).images)
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

    def count(self, split: Split) -> int | None:
        return IMAGES[split] if self.missing() else None

    def open(self, split: Split) -> Examples:
        pairs = sorted(check_pairs(self.folder, FOLDERS[split]), key=lambda pair: str(pair[0]))
        images, masks = ([pair[part] for pair in pairs] for part in (0, 1))
        return Examples(images, {"maps": masks})

    def check(self, advanced: Callable[[int, int], None] = lambda _done, _total: None) -> list[str]:
        """Read every image and mask once, by all processors, and refuse what would spoil training or scores.

        Raises:
            UserError: naming files, cause and cure; or the classes that no pixel of a split has.
        """
        import numpy as np

        pairs = [(split, pair) for split in FOLDERS.values() for pair in check_pairs(self.folder, split)]
        pixels = {split: np.zeros(256, np.int64) for split in FOLDERS.values()}
        problems, notes = list[str](), Counter[str]()
        looked = each(lambda item: _examine(item[1], CLASSES), pairs, advanced)
        for (split, _), (counted, note, problem) in zip(pairs, looked, strict=True):
            pixels[split] += counted
            problems += [problem] if problem else []
            notes[note] += 1
        refuse(problems)
        if not self.allow_empty_classes:
            refuse(list(_empty(pixels, self)))
        counts = Counter(split for split, _ in pairs)
        read_in = ", ".join(f"{counts[split]} of {split}" for split in counts)
        lines = [f"images with masks: {read_in}", *_left_out(self.folder), conversions(notes)]
        return [line for line in lines if line]

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
    try:
        return path.stat().st_size if path.suffix == ".jpg" else hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}){CURE}") from error


def check_pairs(folder: Path, split: str) -> list[Pair]:
    """Image and mask of every example of a split, in order of their names.

    Raises:
        UserError: if there are none, or naming the first file without its partner, or two of one name.
    """
    folders = folder / "images" / split, folder / "annotations" / split
    found = [listed(place) if place.is_dir() else Listed() for place in folders]
    for place, inner in ((place, path) for place, part in zip(folders, found, strict=True) for path in part.folders):
        if not is_junk(inner):
            raise UserError(f"{inner} is a folder among the files of {place}; move its files up, or take it away")
    images, masks = map(_by_stem, found)
    if not images:
        raise UserError(
            f"there are no images in {folders[0]}; folder must be the one that holds ADE20k's images and annotations"
        )
    for lonely, name, partner in (
        (sorted(images.keys() - masks.keys()), "image {} has no mask", folders[1]),
        (sorted(masks.keys() - images.keys()), "mask {} has no image", folders[0]),
    ):
        if lonely:
            more = f", nor have {len(lonely) - 1} more" if len(lonely) > 1 else ""
            first = (images | masks)[lonely[0]].name
            raise UserError(f"{split} {name.format(first)} in {partner}{more}; add it, or take the file away")
    return [(images[stem], masks[stem]) for stem in sorted(images)]


def _by_stem(listing: Listed) -> dict[str, Path]:
    """Images of a folder by their names without suffix; UserError for two of one name."""
    found: dict[str, Path] = {}
    for path in listing.images:
        if path.stem in found:
            raise UserError(f"{found[path.stem]} and {path.name} have one name but for the suffix; take one away")
        found[path.stem] = path
    return found


def _left_out(folder: Path) -> list[str]:
    """What lies among images and masks and is not read, in a sentence for each folder."""
    lines = []
    for inner in (folder / kind / split for kind in ("images", "annotations") for split in FOLDERS.values()):
        found = listed(inner)
        if found.folders:
            found.left_out[HIDDEN] += found.folders
        lines += [f"{inner.relative_to(folder)}: {found.said}"] if found.said else []
    return lines


def _examine(pair: Pair, classes: int) -> tuple[NDArray[np.int64], str, str]:
    """How many pixels have each of 256 labels, how the image is read, and what is wrong with the pair."""
    import numpy as np

    none = np.zeros(256, np.int64)
    try:
        image, note = read(pair[0])
        labels = _labels(pair[1], load(pair[1]), image.size[::-1], classes)
    except UserError as error:
        return none, "", str(error)
    if TURNED in note:  # mmcv turns images by it, and masks have none
        return none, "", f"{pair[0]} is stored turned (EXIF orientation) and its mask is not; save it upright"
    return np.bincount(labels.ravel(), minlength=256), note, ""


def _labels(path: Path, mask: Image.Image, shape: tuple[int, ...], classes: int) -> NDArray[np.uint8]:
    """The numbers of a mask; UserError if it is not one for an image of this shape, height and width."""
    import numpy as np

    labels = np.asarray(mask)
    if mask.format == "JPEG":
        raise UserError(f"{path} is a JPEG, which changes numbers near edges; a mask is a PNG, make it one again")
    if mask.format != "PNG":
        raise UserError(f"{path} is a {mask.format}; a mask is a PNG of 8 bits, save it as one")
    depth, colour = head_of(path)[24:26]  # of IHDR
    if colour == GREY and depth < 8:
        raise UserError(
            f"{path} is grey of {depth} bits, which PIL stretches to 8 (labels 0, 1 become 0, "
            f"{255 // (2**depth - 1)}); a mask is a PNG of 8 bits, save its labels as one"
        )
    if labels.dtype != np.uint8:
        raise UserError(f"{path} has {labels.dtype} pixels; a mask is an 8 bit image, save it as one")
    if labels.shape != shape:
        raise UserError(mask_shape(path, labels, shape))
    if (largest := int(labels.max())) > classes:
        count = int((labels == largest).sum())
        raise UserError(
            f"{path}: label {largest} on {count} pixels; labels run from 1 to {classes}, and 0 is not labelled"
        )
    return labels


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
