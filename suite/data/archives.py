"""Labelled pictures that are packed: tar files, WebDataset shards, arrays of MNIST's kind."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from suite.data.classes import BY_NUMBER, BY_TEXT, CHOICE, Order, ordered
from suite.data.folder import Paths
from suite.data.labelled import Labelled
from suite.data.pictures import HIDDEN, SUFFIXES, Listed, Member, is_junk
from suite.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LABEL = ".cls"  # of WebDataset: the number of the class, as text
IDX = "idx3-ubyte", "idx1-ubyte"  # of images and of labels


def in_tars(paths: Sequence[Path], order: Order | None = None) -> Labelled:
    """Images in tar files, which stay packed. The class of each is its folder there, or the number in `NAME.cls` beside
    `NAME.jpg` (WebDataset), or the name of its tar file, where these hold no folders, as ImageNet's do.

    Raises:
        UserError: if a file is no tar, or images have no class.
    """
    listed, classed, numbered = Listed(), list[tuple[Member, str]](), list[tuple[Member, int]]()
    for path in paths:
        labels, images = dict[str, int](), list[Member]()
        for member in _members(path, listed):
            inner = PurePosixPath(member.name)
            if inner.suffix == LABEL:
                labels[str(inner.with_suffix(""))] = _number(member)
            else:
                images.append(member)
        if labels:
            _check_samples(images)
        for member in images:
            inner = PurePosixPath(member.name)
            number = labels.get(_stem(inner)) if labels else None
            if labels and number is None:
                raise UserError(f"{member} has no class: there is no {_stem(inner)}{LABEL} beside it")
            if number is None:
                classed.append((member, inner.parent.name or path.name.split(".")[0]))
            else:
                numbered.append((member, number))
    where = paths[0] if len(paths) == 1 else paths[0].parent
    _check_places(where, [PurePosixPath(member.name).parent for member, _ in classed])
    if classed and numbered:
        raise UserError(f"{where}: some tar files have numbers of classes ({LABEL}) and some have none")
    if numbered:
        return by_number(where, *_apart(numbered), order, listed=listed)
    if not classed:
        raise UserError(f"{where} has no images; give tar files of images in folders, one for each class")
    return by_name(where, *_apart(classed), order, listed)


def _check_samples(images: Sequence[Member]) -> None:
    """Refuse several images of one sample, such as a mask beside a photograph."""
    first = dict[str, Member]()
    for member in images:
        if (other := first.setdefault(_stem(PurePosixPath(member.name)), member)) is not member:
            raise UserError(f"{member} is of the same sample as {other.name}; leave one image of each sample there")


def _check_places(where: Path, folders: Sequence[PurePosixPath]) -> None:
    """Refuse class folders in several folders: which part of the path is the class, or the split, would be a guess."""
    above = sorted({str(folder.parent) if folder.name else "" for folder in set(folders)})
    if len(above) > 1:
        shown = ", ".join(place or "images in no folder" for place in above[:5])
        raise UserError(
            f"{where}: its images do not lie in class folders beside each other ({shown}); unpack it and give the "
            "folder that holds the class folders"
        )


def by_name(
    where: Path, pictures: list[Any], names: Sequence[str], order: Order | None, listed: Listed | None = None
) -> Labelled:
    """Pictures of which the names of their classes are known."""
    import numpy as np

    classes, how = ordered(sorted(set(names)), where, order)
    number = {name: index for index, name in enumerate(classes)}
    labels = np.array([number[name] for name in names], np.int64)
    return Labelled(where, classes, how, pictures, labels, lambda: _names(pictures), listed or Listed())


def by_number(
    where: Path,
    pictures: Sequence[Any],
    labels: Sequence[int],
    order: Order | None,
    names: Sequence[str] = (),
    listed: Listed | None = None,
) -> Labelled:
    """Pictures of which the numbers of their classes are known; `order` may name these, where the source does not.

    Raises:
        UserError: for a number that is no class, or an order of names.
    """
    import numpy as np

    if order in (BY_TEXT, BY_NUMBER):
        raise UserError(
            f"{where} has a number for the class of each image, which is the model's output: {CHOICE} {order} cannot "
            "order them; leave it out"
        )
    found = np.asarray(labels, np.int64)
    largest, wanted = int(found.max(initial=-1)), order is not None
    classes = ordered(names, where, order)[0] if wanted else tuple(names) or tuple(map(str, range(largest + 1)))
    known = len(names or classes)
    if len(found) and not 0 <= int(found.min()) <= largest < known:
        outside = int(found.min()) if found.min() < 0 else largest
        raise UserError(f"{where} has an image of class {outside}, and there are {known} classes, from 0")
    if wanted and names:  # its numbers are of its own names, in their order
        found = np.array([classes.index(name) for name in names], np.int64)[found]
    how = "in the order of their numbers"
    return Labelled(where, classes, how, pictures, found, lambda: _names(pictures), listed or Listed())


def _names(pictures: Sequence[Any]) -> Sequence[tuple[str, int]]:
    if isinstance(pictures, Drawn):
        return [(pictures.digest(), len(pictures))]
    if isinstance(pictures, Paths):
        return pictures.fingerprints()
    return [(member.name, member.size) for member in pictures]


def _apart(pairs: Sequence[tuple[Member, Any]]) -> tuple[list[Any], list[Any]]:
    return [member for member, _ in pairs], [label for _, label in pairs]


def _stem(inner: PurePosixPath) -> str:
    """What members of one WebDataset sample share: the path up to the first dot of its name."""
    return str(inner.parent / inner.name.split(".")[0])


def _members(path: Path, listed: Listed) -> Iterator[Member]:
    """Images and class numbers in a tar file, in its order; the rest is put to what is left out."""
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                inner = Path(entry.name)
                if entry.isdir():
                    continue
                if not entry.isfile():
                    listed.left_out["a link or a device"].append(inner)
                elif any(is_junk(part) for part in (inner, *inner.parents[:-1])):
                    listed.left_out[HIDDEN].append(inner)
                elif inner.suffix == ".tar":
                    raise UserError(f"{path} holds tar files ({inner}); unpack it once, these may stay as they are")
                elif inner.suffix == LABEL or inner.suffix.lower() in SUFFIXES:
                    yield Member(path, entry.name.removeprefix("./"), entry.offset_data, entry.size)
                else:
                    listed.left_out[f"of {inner.suffix or 'no suffix'}, no images"].append(inner)
    except (tarfile.TarError, OSError) as error:
        raise UserError(
            f"{path} cannot be read as a tar file that is not compressed ({error}); unpack what packs it, or copy it "
            "again"
        ) from error


def _number(member: Member) -> int:
    text = member.open().read().decode(errors="replace").strip()
    if not text.isdecimal():
        raise UserError(f"{member} has {text[:40]!r}, which is not the number of a class")
    return int(text)


class Drawn(Sequence[Any]):
    """An array of pixels, (n, height, width) or (n, height, width, 3), 0 to 255, as images of PIL."""

    def __init__(self, pixels: Array) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Any) -> Any:
        from PIL import Image

        return Drawn(self.pixels[index]) if isinstance(index, slice) else Image.fromarray(self.pixels[index])

    def digest(self) -> str:
        """Hash of all pixels."""
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()


def in_idx(images: Path, order: Order | None = None) -> Labelled:
    """Images and labels in MNIST's format, packed by gzip or not, such as Fashion-MNIST's.

    Raises:
        UserError: if a file of labels is missing, or is not of that format.
    """
    labels = images.with_name(images.name.replace("images", "labels").replace(*IDX))
    if not labels.is_file():
        raise UserError(f"there are images in {images}, and no labels in {labels}; put them there")
    pixels, numbers = (_array(path) for path in (images, labels))
    if len(pixels) != len(numbers):
        raise UserError(f"{images} has {len(pixels)} images, and {labels} has {len(numbers)} labels")
    return by_number(images, Drawn(pixels), numbers.tolist(), order)


def _array(path: Path) -> Array:
    """An array of bytes in MNIST's format: its number of dimensions in the fourth byte, and each in four more."""
    import numpy as np

    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        shape = np.frombuffer(content, ">u4", content[3], 4).astype(int)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)
    except (ValueError, IndexError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not an array in MNIST's format ({error}); download it again") from error
