"""Classification images in folders, one folder for each class, as ImageNet is laid out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from suite.data.classes import BY_NUMBER, BY_TEXT, CHOICE, Order, ordered
from suite.data.labelled import Labelled
from suite.data.pictures import HIDDEN, Listed, is_junk, listed
from suite.errors import UserError

SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def in_folders(root: Path, order: Order | None = None) -> Labelled:
    """The images of a folder of class folders. Which class is which output says `order`, see `classes.ordered`.

    Raises:
        UserError: if there are no images in class folders, or the order of the classes is not clear.
    """
    import numpy as np

    if not root.is_dir():
        raise UserError(f"data: there is no folder {root}; give one that holds a folder of images for each class")
    loose, found = listed(root), dict[str, Listed]()
    total = Listed(left_out=loose.left_out)
    if loose.images:
        total.left_out["in no class folder"] += loose.images
    for inner in _entered(loose, (root.resolve(),)):
        found[inner.name] = _all_in(inner, (root.resolve(),))
        total.add(found[inner.name])
    _check_layout(root, found, len(loose.images), order)
    classes, how = ordered(list(found), root, order)
    samples = [(path, number) for number, name in enumerate(classes) if name in found for path in found[name].images]
    paths = Paths(root, [path for path, _ in samples])
    labels, rest = np.array([number for _, number in samples], np.int64), Listed(left_out=total.left_out)
    return Labelled(root, classes, how, paths, labels, paths.fingerprints, rest)


def in_any_folders(root: Path) -> Labelled:
    """The images of a folder and of all folders in it, without classes.

    Raises:
        UserError: if there are none.
    """
    import numpy as np

    if not root.is_dir():
        raise UserError(f"data: there is no folder {root}; give one that holds images")
    found = _all_in(root, ())
    if not found.images:
        raise UserError(f"data: there are no images in {root} or its folders; give a folder that holds some")
    paths, labels = Paths(root, found.images), np.zeros(len(found.images), np.int64)
    return Labelled(root, (), "without classes", paths, labels, paths.fingerprints, Listed(left_out=found.left_out))


class Paths(Sequence[Any]):
    """Paths of files in a folder as one text, which processes share; of a million objects each would have a copy."""

    def __init__(self, root: Path, paths: Sequence[Path]) -> None:
        import numpy as np

        names = [os.fsencode(path.relative_to(root)) for path in paths]
        self.root, self.text, self.ends = root, b"".join(names), np.cumsum([0, *map(len, names)])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        start, end = self.ends[(place := range(len(self))[index]) : place + 2]
        return self.root / os.fsdecode(self.text[start:end])

    def fingerprints(self) -> list[tuple[str, int]]:
        """Name and size of each."""
        return [_fingerprint(path, self.root) for path in self]


def _fingerprint(path: Path, root: Path) -> tuple[str, int]:
    return path.relative_to(root).as_posix(), path.stat().st_size


def _all_in(folder: Path, above: tuple[Path, ...]) -> Listed:
    """The images of a folder and of the folders in it; `above` are the real places of those that it is in."""
    found, above = listed(folder), (*above, folder.resolve())
    for inner in _entered(found, above):
        found.add(_all_in(inner, above))
    return found


def _entered(found: Listed, above: tuple[Path, ...]) -> Iterator[Path]:
    """The folders that are looked into; the others are left out: junk, and links that would lead round for ever."""
    for inner in found.folders:
        real = inner.resolve()
        if is_junk(inner):
            found.left_out[HIDDEN].append(inner)
        elif any(real in (place, *place.parents) for place in above):
            found.left_out["a link to a folder above it"].append(inner)
        else:
            yield inner


def _check_layout(root: Path, found: dict[str, Listed], loose: int, order: Order | None) -> None:
    wanted = f"{root} is not laid out as one folder of images for each class"
    if not any(part.images for part in found.values()):
        has = f"its {loose} images lie in no folder" if loose else "there are no images in its folders"
        raise UserError(f"{wanted}: {has}; move the images of each class into a folder of its own")
    if {name.lower() for name in found} <= SPLITS:
        raise UserError(f"{wanted}: it has the parts {', '.join(found)} of a data set; give one of those folders")
    empty = [name for name, part in found.items() if not part.images]
    if empty and order in (None, BY_TEXT, BY_NUMBER):
        raise UserError(
            f"{wanted}: there are no images in {', '.join(empty)}; take such folders away, or name all classes with "
            f"{CHOICE} FILE"
        )
