"""Classification images in folders, one folder for each class, as ImageNet is laid out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.data.classes import BY_NUMBER, BY_TEXT, Order, ordered
from suite.data.pictures import HIDDEN, Listed, conversions, each, is_junk, listed, read, refuse
from suite.errors import UserError

SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
NAMED = 12  # classes that are shown


@dataclass
class Folder:
    """Images with the numbers of their classes, prepared for a model.

    Attributes:
        root: the folder of the class folders.
        classes: names, in the order of the model's outputs.
        order: what that order is.
        samples: files, and the number of each one's class.
        listed: what was found and what is left out.
        prepare: from an image of PIL to a tensor, (3, height, width).
        notes: how many images were read in another way than as plain ones, once `check` has looked.
    """

    root: Path
    classes: tuple[str, ...]
    order: str
    samples: list[tuple[Path, int]]
    listed: Listed
    prepare: Callable[[Any], Any]
    notes: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        return self.prepare(read(path)[0]), label

    def check(self, advanced: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Decode every image once, by all processors.

        Raises:
            UserError: naming all that cannot be read rightly.
        """
        found = list(each(_note, [path for path, _ in self.samples], advanced))
        refuse([problem for _, problem in found if problem])
        self.notes = Counter(note for note, _ in found)

    @property
    def said(self) -> list[str]:
        """What is read and what is left out, in sentences."""
        names = [f"{number} {name}" for number, name in enumerate(self.classes)]
        shown = [*names[: NAMED - 1], "...", names[-1]] if len(names) > NAMED else names
        without = len(self.classes) - len({label for _, label in self.samples})
        lines = [
            f"data: {len(self)} images of {self.root} in {len(names)} classes, {self.order}: {', '.join(shown)}",
            f"{without} classes have no image" if without else "",
            self.listed.said,
            conversions(self.notes),
        ]
        return [line for line in lines if line]


def open_folder(
    folder: Path, size: tuple[int, int], crop: float, normalisation: str, order: Order | None = None
) -> Folder:
    """Images and class numbers of `folder`, or of its `val` if it has one, for evaluation.

    The shorter side is resized to the longer of `size` over `crop`, bicubically, and the middle is cut out. Which class
    is which output says `order`, see `classes.ordered`.

    Raises:
        UserError: if there are no images in class folders, or the order of the classes is not clear.
    """
    root = folder / "val" if (folder / "val").is_dir() else folder
    if not root.is_dir():
        raise UserError(f"data: there is no folder {folder}; give one that holds a folder of images for each class")
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
    return Folder(root, classes, how, samples, total, _preparation(size, crop, normalisation))


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
            "--classes FILE"
        )


def _preparation(size: tuple[int, int], crop: float, normalisation: str) -> Callable[[Any], Any]:
    import suite.torchvision_operators  # noqa: F401  (before torchvision, see there)

    # isort: split
    from timm.data import constants
    from torchvision import transforms

    prefix = {"imagenet": "IMAGENET_DEFAULT", "inception": "IMAGENET_INCEPTION"}[normalisation]
    mean, deviation = getattr(constants, f"{prefix}_MEAN"), getattr(constants, f"{prefix}_STD")
    prepare: Callable[[Any], Any] = transforms.Compose(
        [
            transforms.Resize(int(max(size) / crop), transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(mean, deviation),
        ]
    )
    return prepare


def _note(path: Path) -> tuple[str, str]:
    """How an image is read, and what is wrong with it; each empty for nothing."""
    try:
        return read(path, small=True)[1], ""
    except UserError as error:
        return "", str(error)
