"""Data sets that torchvision downloads, from where it put them: arrays of pixels, or files with the class of each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.data.archives import Drawn, by_number
from suite.data.dataset import Split
from suite.data.folder import Paths
from suite.data.labelled import Labelled
from suite.errors import UserError, suggest

SPLITS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "trainval"),
    "validation": ("val", "test"),
}  # the first known
ARRAYS = (("data", "targets"), ("data", "labels"))  # attributes that have pixels, and numbers of classes
PAIRS = ("samples", "_samples", "imgs")  # attributes that have files, each with the number of its class
FILES = (("_image_files", "_labels"), ("_images", "_labels"))


@functools.lru_cache(maxsize=4)
def of_torchvision(name: str, root: Path, split: Split) -> Labelled:
    """A data set of torchvision by its name, such as `cifar100` or `fashion_mnist`, downloaded to `root` before.

    Raises:
        UserError: if it is not there, there is none of that name, or it keeps its images in another way.
    """
    import suite.torchvision_operators  # noqa: F401  (before torchvision, see there)

    # isort: split
    from torchvision import datasets

    root = root.expanduser()
    kinds = {_plain(kind): getattr(datasets, kind) for kind in datasets.__all__}
    if _plain(name) not in kinds:
        raise UserError(f"data.torchvision: torchvision has no data set {name!r}; {suggest(_plain(name), kinds)}")
    kind = kinds[_plain(name)]
    found, content, why = None, None, ""
    try:
        found = _opened(kind, root, split)
        content = None if found is None else _content(vars(found), root)
    except (TypeError, ValueError) as error:  # it asks for more than these, or keeps several labels
        why = f" ({_first_line(error)})"
    except (RuntimeError, OSError, AssertionError, ImportError) as error:
        raise UserError(
            f"data.torchvision: {name} is not in {root} ({_first_line(error)}); let torchvision download it there "
            "once, or give its images as folders"
        ) from error
    if content is None:
        raise UserError(
            f"data.torchvision: how torchvision's {kind.__name__} keeps images and classes is not known here{why}; "
            "give its images as folders"
        )
    names = tuple(getattr(found, "wnids", ()) or getattr(found, "classes", ()))
    return by_number(root / name, *content, None, names)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _opened(kind: Any, root: Path, split: Split) -> Any:
    """The data set of a split; None for a class that has none.

    Raises:
        ValueError: if it has no split of these names.
    """
    takes = inspect.signature(kind).parameters
    if "train" in takes:
        return kind(root, train=split == "train")
    first, second = SPLITS[split]
    if "split" not in takes:
        return None
    try:
        return kind(root, split=first)
    except ValueError:  # it does not know the word
        return kind(root, split=second)


def _content(known: Mapping[str, Any], root: Path) -> tuple[Sequence[Any], list[int]] | None:
    """Pictures and numbers of classes out of the attributes of a data set; None where they are not among these."""
    import numpy as np

    for pixels, labels in ARRAYS:
        if pixels in known and labels in known and (array := np.asarray(known[pixels])).dtype == np.uint8:
            return Drawn(_colours_last(array)), list(map(int, known[labels]))
    for pairs in PAIRS:
        if pairs in known:
            files, numbers = zip(*known[pairs], strict=True)
            return Paths(root, list(map(Path, files))), list(map(int, numbers))
    for images, labels in FILES:
        if images in known and labels in known:
            return Paths(root, list(map(Path, known[images]))), list(map(int, known[labels]))
    return None


def _colours_last(pixels: Any) -> Any:
    """From (n, 3, height, width), as SVHN and STL10 have them, to (n, height, width, 3); others as they are."""
    first = pixels.ndim == 4 and pixels.shape[1] == 3 != pixels.shape[3]
    return pixels.transpose(0, 2, 3, 1).copy() if first else pixels
