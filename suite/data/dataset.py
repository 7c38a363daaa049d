"""What a data set is: images, and the targets that tasks learn from.

A data set is one file with one class, which says `DATA = Class`: a file of `suite/data/`, or the module of an entry
point of the group `cropr_suite.data` in another package. A study names it by its file, with dashes, as
`data: {recipe: NAME, ...}`; the other keys are the fields of the class. The module is imported to check a study, so
numpy and the like are imported inside its functions.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from suite import plugins
from suite.errors import UserError, named
from suite.strict import Strict

if TYPE_CHECKING:
    import numpy as np

Split = Literal["train", "validation"]
Normalisation = Literal["imagenet", "inception"]
SPLITS: tuple[Split, ...] = ("train", "validation")
PACKAGE, GROUP = "suite.data", "cropr_suite.data"


@dataclass(frozen=True)
class Examples:
    """The images of one split with their targets.

    Attributes:
        images: (n, 3, height, width), 0 to 255, red first; or n files, or other pictures that `pictures.read` reads.
        targets: for each target its n values. `labels`: numbers of classes, (n,). `maps`: the class of each pixel, or
            `labels.IGNORED`, (n, height, width); or the n files that they are in, 8 bit images with one channel.
    """

    images: np.ndarray[Any, Any] | Sequence[Any]
    targets: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def in_files(self) -> bool:
        """Whether images are files, to be read when they are needed."""
        return isinstance(self.images, Sequence)

    @property
    def pixels(self) -> np.ndarray[Any, Any]:
        """The images, (n, 3, height, width).

        Raises:
            UserError: if they are files.
        """
        if isinstance(self.images, Sequence):
            raise UserError(f"images are needed in memory, as an array, and {self.images[:1]} ... are files")
        return self.images

    def digest(self) -> str | None:
        """Hash of all pixels and targets; None for files, which the digest of the data set covers."""
        if self.in_files:
            return None
        parts = [self.pixels, *self.targets.values()]
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]


@dataclass(frozen=True)
class Augmentation:
    """How images of many sizes become a model's input.

    Attributes:
        size: pixels of a training crop, and of the long side in evaluation.
        scale: smallest and largest factor by which the long side is resized in training.
        largest_class: share of a crop's pixels that one class may have.
        stride: of sliding windows in evaluation, in pixels, whose short side is `size` then; None for one shot.
    """

    size: int
    scale: tuple[float, float]
    largest_class: float
    stride: int | None = None


@dataclass(frozen=True)
class Cropping:
    """How images of many sizes become the input of a classifier; see `suite.data.preparation`.

    Attributes:
        size: pixels of a side of the crop.
        crop: its share of the short side of the resized image, in evaluation.
        normalisation: mean and standard deviation of pixels, by name.
    """

    size: int
    crop: float
    normalisation: Normalisation


class DataSet(Strict):
    """Base of all data sets; its fields are what a study says of it.

    Attributes:
        PLACES: fields that say where on this machine it is; its identity is the digest instead.
        CHECKS: fields that decide what is refused and nothing else.
        SIDE: the field that says the side of the images that a model is given.
        UNLABELLED_ZERO: whether 0 in files of `maps` means unlabelled, and class c is written as c + 1.
    """

    PLACES: ClassVar[frozenset[str]] = frozenset()
    CHECKS: ClassVar[frozenset[str]] = frozenset()
    SIDE: ClassVar[str]
    UNLABELLED_ZERO: ClassVar[bool] = False

    recipe: str

    @property
    @abstractmethod
    def targets(self) -> Mapping[str, int]:
        """Targets by name, each with its number of classes; 0 for one that is a number."""

    @abstractmethod
    def digest(self) -> str:
        """What tells its contents from those of every other data set; "missing" where they are not on this machine."""

    @abstractmethod
    def open(self, split: Split) -> Examples:
        """The images and targets of a split.

        Raises:
            UserError: if they are not on this machine, or not in order.
        """

    @property
    def side(self) -> int:
        """Side of the images that a model is given, in pixels; smaller ones are padded."""
        side: int = getattr(self, self.SIDE)
        return side

    @property
    def augmentation(self) -> Augmentation | None:
        """How images are resized and augmented; None for images that are used as they are."""
        return None

    @property
    def cropping(self) -> Cropping | None:
        """How pictures of many sizes are cut for a classifier; None for images that are used as they are."""
        return None

    def count(self, split: Split) -> int | None:
        """Images of a split, as far as the study says."""
        return None

    def missing(self) -> str:
        """What is not on this machine and where to put it, in one sentence; empty if all is there."""
        return ""

    def check(self, advanced: Callable[[int, int], None] = lambda _done, _total: None) -> Sequence[str]:
        """Read everything once and refuse what would spoil training or scores.

        Args:
            advanced: called with how many examples were read, of how many.

        Returns:
            What is read and what is left out, in sentences.

        Raises:
            UserError: naming files, cause and cure.
        """
        return ()

    def foreground(self, examples: Examples) -> np.ndarray[Any, Any] | None:
        """Which pixels of these examples show an object, (n, height, width), bool; None where that is not known."""
        return None

    def class_names(self, target: str) -> tuple[str, ...]:
        """Names of a target's classes, in the order of their numbers."""
        return tuple(map(str, range(self.targets[target])))

    def colours(self, target: str) -> tuple[tuple[int, int, int], ...]:
        """A colour for each class of a target, 0 to 255."""
        return tuple(((37 * c) % 256, (91 * c + 60) % 256, (153 * c + 120) % 256) for c in range(self.targets[target]))

    @property
    def places(self) -> dict[str, Path]:
        """Where on this machine it is."""
        return {name: getattr(self, name) for name in sorted(self.PLACES)}

    def identity(self) -> dict[str, Any]:
        """Recipe and digest: all of it that decides a result."""
        recipe = self.model_dump(mode="json", exclude=set(self.PLACES | self.CHECKS))
        return {"recipe": recipe, "digest": self.digest()}


def data_sets() -> dict[str, type[DataSet]]:
    """Every data set by name."""
    return plugins.every(PACKAGE, GROUP, "DATA")


def data_set(content: Mapping[str, Any]) -> DataSet:
    """The data set that a study describes.

    Raises:
        UserError: if it has no known name.
        ValidationError: for other keys.
    """
    return named(str(content.get("recipe")), data_sets(), "data set").model_validate(content)
