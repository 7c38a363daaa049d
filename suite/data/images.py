"""Labelled images of any size: ImageNet and every data set that lies in one of the usual ways."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from suite.data import sources
from suite.data.classes import IMAGENET, Order, in_a_study
from suite.data.dataset import SPLITS, Cropping, DataSet, Examples, Normalisation, Split
from suite.data.labelled import Labelled, read_and_known
from suite.data.torchvision_sets import of_torchvision
from suite.errors import UserError


class Images(DataSet):
    """Images with the class of each, for classification.

    `source` is a folder with `train` and `val` (or `valid`, `validation`, `test`), each a folder of class folders, or
    of tar files (images in class folders, WebDataset shards with `.cls`, or a tar file for each class, as ImageNet's),
    or of parquet files of Hugging Face; tar and parquet files may also lie in `source` itself, as `train-0000.tar`. Or
    it holds MNIST's four files. Or it is where torchvision downloaded the data set of that name, `torchvision`,
    such as cifar100. Validation images are those of the first split in this order that is there.

    Where the order of class names is not clear, `order` or a file of names, `classes`, says which class is which
    output. `class_count` is how many there must be; it lets a study be planned where the images are not, and `obtain`
    says then how to get them. Training crops and flips at random as the recipe says; evaluation resizes the short side
    to `size` / `crop` pixels and cuts the middle out.
    """

    PLACES: ClassVar[frozenset[str]] = frozenset({"source", "classes"})
    CHECKS: ClassVar[frozenset[str]] = frozenset({"class_count", "obtain"})
    SIDE: ClassVar[str] = "size"

    recipe: Literal["images"]
    source: Path
    torchvision: str | None = None
    classes: Path | None = None
    order: Literal["text", "number"] | None = None
    class_count: int | None = Field(None, ge=1)
    obtain: str | None = None
    size: int = Field(224, ge=8)
    crop: float = Field(0.875, gt=0, le=1)
    normalisation: Normalisation = "imagenet"

    @model_validator(mode="after")
    def _one_order(self) -> Images:
        if sum(said is not None for said in (self.classes, self.order, self.torchvision)) > 1:
            raise ValueError(
                "classes, order and torchvision each say which class is which output; leave all but one out"
            )
        return self

    @property
    def cropping(self) -> Cropping:
        return Cropping(self.size, self.crop, self.normalisation)

    @property
    def targets(self) -> dict[str, int]:
        return {"labels": self.class_count or (IMAGENET if self.missing() else len(self.labelled("train").classes))}

    def labelled(self, split: Split) -> Labelled:
        """The pictures of a split; validation has the classes of training.

        Raises:
            UserError: if they are not there, or not in order.
        """
        found = of_torchvision(self.torchvision, self.source, split) if self.torchvision else self._lying(split)
        if self.class_count not in (None, len(found.classes)):
            raise UserError(
                f"{found.where} has {len(found.classes)} classes, and class_count says {self.class_count}; give all of "
                "them, or another number"
            )
        return found

    def _lying(self, split: Split) -> Labelled:
        try:
            return _opened(self.source, split, self.classes or self.order)
        except UserError as error:
            raise UserError(in_a_study(str(error))) from error

    @property
    def places(self) -> dict[str, Path]:
        return {name: place for name, place in super().places.items() if place is not None}

    def missing(self) -> str:
        if self.source.is_dir():
            return ""
        shown = self.source if self.source.is_absolute() else f"{self.source} in {Path.cwd()}"
        get = f"put the images there ({self.obtain})" if self.obtain else "put the images there"
        return f"data.source: there is no folder {shown}; {get}, or name the folder that they are in"

    def digest(self) -> str:
        """A hash of names, sizes and classes of all images; "missing" without them."""
        if self.missing():
            return "missing"
        content = "".join(self.labelled(split).digest for split in SPLITS)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def open(self, split: Split) -> Examples:
        found = self.labelled(split)
        return Examples(found.pictures, {"labels": found.labels})

    def count(self, split: Split) -> int | None:
        return None if self.missing() else len(self.labelled(split))

    def check(self, advanced: Callable[[int, int], None] = lambda _done, _total: None) -> list[str]:
        """Decode every image once, by all processors, but for those that were whole before and did not change.

        Raises:
            UserError: naming all that cannot be read rightly.
        """
        lines, splits = list[str](), [self.labelled(split) for split in SPLITS]
        total, before = sum(map(len, splits)), 0
        for split, found in zip(SPLITS, splits, strict=True):
            found.check(lambda done, _of, before=before: advanced(before + done, total))  # type: ignore[misc]
            lines += [f"{split}: {line}" for line in found.said]
            before += len(found)
        return [*lines, read_and_known(splits)]

    def class_names(self, target: str) -> tuple[str, ...]:
        return self.labelled("train").classes


DATA = Images


@functools.lru_cache(maxsize=4)
def _opened(source: Path, split: Split, order: Order | None) -> Labelled:
    if split == "train":
        return sources.open_split(source, split, order)
    found = sources.open_split(source, split, list(_opened(source, "train", order).classes))
    found.order = "in the order of training"
    return found
