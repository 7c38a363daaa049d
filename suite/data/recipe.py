"""What data a study uses; checked before anything heavy is imported."""

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Literal

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

    @property
    def side(self) -> int:
        """Side of the images that a model is given, in pixels."""
        return self.canvas

    def digest(self) -> str:
        """Identity of the data: a hash of the recipe and of the generator's version."""
        return _hash([GENERATOR_VERSION, self.model_dump(mode="json")])


class Ade20k(Strict):
    """ADE20k as mmsegmentation lays it out: `images` and `annotations`, each with `training` and `validation`.

    The augmentation is that of Cropr's official recipe (github benbergner/cropr, segm/): resize by `scale` of a long
    side of `size` pixels, crop `size` pixels with no class on more than `largest_class` of them, flip every second
    image, distort colours. Evaluation is in one shot, with the long side resized to `size`. With a `stride` it is by
    sliding windows of `size` pixels over an image whose short side is `size`, as is common elsewhere: other numbers,
    that do not compare with those of one shot.

    A class without a pixel in the masks of a split is refused, unless `allow_empty_classes`.
    """

    SPLITS: ClassVar = ("training", "validation")

    recipe: Literal["ade20k"]
    folder: Path
    size: int = Field(512, ge=8)
    scale: tuple[float, float] = (0.5, 2.0)
    largest_class: float = Field(0.75, gt=0, le=1)
    stride: int | None = Field(None, ge=1)
    allow_empty_classes: bool = False

    @model_validator(mode="after")
    def _scale_rises(self) -> "Ade20k":
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must rise from a number above 0, found {list(self.scale)}")
        return self

    @model_validator(mode="after")
    def _windows_leave_no_gap(self) -> "Ade20k":
        if self.stride is not None and self.stride > self.size:
            raise ValueError(f"stride must be at most the size of a window, {self.size} pixels, found {self.stride}")
        return self

    @property
    def classes(self) -> int:
        return 150

    @property
    def side(self) -> int:
        """Side of the images that a model is given, in pixels; smaller ones are padded."""
        return self.size

    def digest(self) -> str:
        """Identity of the data: a hash of names and sizes of all images and of masks themselves; "missing" without."""
        folders = [self.folder / kind / split for kind in ("images", "annotations") for split in self.SPLITS]
        if not all(folder.is_dir() for folder in folders):
            return "missing"
        files = sorted(path for folder in folders for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
        return _hash([(path.relative_to(self.folder).as_posix(), _known(path)) for path in files])


def _known(path: Path) -> str | int:
    """Size of an image, which compression makes telling; hash of a mask, where one pixel may change without a trace."""
    return path.stat().st_size if path.suffix == ".jpg" else hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
