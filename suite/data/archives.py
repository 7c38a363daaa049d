"""Labelled pictures that are packed: tar files, WebDataset shards, Hugging Face's parquet, arrays of MNIST's kind."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from suite.data.classes import BY_NUMBER, BY_TEXT, Order, ordered
from suite.data.labelled import Labelled
from suite.data.pictures import HIDDEN, SUFFIXES, Listed, Member, is_junk
from suite.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LABEL = ".cls"  # of WebDataset: the number of the class, as text
IMAGE_COLUMNS, LABEL_COLUMNS = ("image", "img", "jpg", "png"), ("label", "labels", "fine_label", "cls")
ROWS = 256  # of parquet at a time
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
    if classed and numbered:
        raise UserError(f"{where}: some tar files have numbers of classes ({LABEL}) and some have none")
    if numbered:
        return by_number(where, *_apart(numbered), order, listed=listed)
    if not classed:
        raise UserError(f"{where} has no images; give tar files of images in folders, one for each class")
    return by_name(where, *_apart(classed), order, listed)


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
        UserError: for a number that is no class.
    """
    import numpy as np

    found = np.asarray(labels, np.int64)
    largest = int(found.max(initial=-1))
    if order not in (None, BY_TEXT, BY_NUMBER):
        names = ordered([], where, order)[0]
    classes = tuple(names) or tuple(map(str, range(largest + 1)))
    if len(found) and not 0 <= int(found.min()) <= largest < len(classes):
        outside = int(found.min()) if found.min() < 0 else largest
        raise UserError(f"{where} has an image of class {outside}, and there are {len(classes)} classes, from 0")
    how = "in the order of their numbers"
    return Labelled(where, classes, how, pictures, found, lambda: _names(pictures), listed or Listed())


def _names(pictures: Sequence[Any]) -> Sequence[tuple[str, int]]:
    if isinstance(pictures, Drawn):
        return [(pictures.digest(), len(pictures))]
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
                if not entry.isfile():
                    continue
                if is_junk(inner):
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


def in_parquet(paths: Sequence[Path], order: Order | None = None) -> Labelled:
    """Images in parquet as Hugging Face's data sets have them: a column of encoded images, one of numbers of classes.

    Parquet cannot be read image by image, so the encoded images are copied once to the cache of the user.

    Raises:
        UserError: if there are no such columns.
    """
    import numpy as np

    schema = _parquet(paths[0]).read_schema(paths[0])
    columns = [_column(paths[0], schema.names, known) for known in (IMAGE_COLUMNS, LABEL_COLUMNS)]
    members, labels = list[Member](), list[int]()
    for path in paths:
        packed = _unpacked(path, *columns)
        with np.load(packed.with_suffix(".npz")) as index:
            sizes, numbers = index["sizes"].tolist(), index["labels"].tolist()
        starts = itertools.accumulate(sizes, initial=0)
        members += [
            Member(packed, f"{path.name}[{row}]", start, size)
            for row, (start, size) in enumerate(zip(starts, sizes, strict=False))
        ]
        labels += numbers
    where = paths[0] if len(paths) == 1 else paths[0].parent
    return by_number(where, members, labels, order, _class_names(schema.metadata, columns[1]))


def _parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{path}: parquet is read by pyarrow, which is not installed: pip install pyarrow") from error
    return pyarrow.parquet


def _column(path: Path, names: Sequence[str], known: Sequence[str]) -> str:
    found = [name for name in known if name in names]
    if not found:
        raise UserError(f"{path} has the columns {', '.join(names)}, and none of {', '.join(known)}")
    return found[0]


def _bytes(path: Path, content: Any) -> bytes:
    found = content.get("bytes") if isinstance(content, Mapping) else content
    if not isinstance(found, bytes):
        raise UserError(f"{path} has images that are no encoded ones, but links or pixels; save it with the images")
    return found


def _class_names(metadata: Mapping[bytes, bytes] | None, label: str) -> tuple[str, ...]:
    """Names of classes, as Hugging Face's data sets keep them in parquet; empty where they are not there."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return ()


def _unpacked(path: Path, image: str, label: str) -> Path:
    """A file of the bytes of all images of a parquet file, one behind the other; beside it their sizes and classes.

    They are made if they are not there yet, in the cache of the user.
    """
    import numpy as np

    status = path.stat()
    key = hashlib.sha256(json.dumps([str(path.resolve()), status.st_size, status.st_mtime_ns, image, label]).encode())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cropr-suite" / "parquet"
    packed = home / f"{path.stem}-{key.hexdigest()[:16]}.images"
    if packed.is_file():
        return packed
    home.mkdir(parents=True, exist_ok=True)
    sizes, labels = list[int](), list[int]()
    with tempfile.TemporaryDirectory(dir=home) as place, _parquet(path).ParquetFile(path) as rows:
        content, index = Path(place, "images"), Path(place, "index.npz")
        with content.open("wb") as file:
            for batch in rows.iter_batches(ROWS, columns=[image, label]):
                sizes += [file.write(_bytes(path, one)) for one in batch[image].to_pylist()]
                labels += [-1 if number is None else number for number in batch[label].to_pylist()]
        np.savez(index, sizes=np.array(sizes, np.int64), labels=np.array(labels, np.int64))
        index.replace(packed.with_suffix(".npz"))
        content.replace(packed)
    return packed


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
    except (ValueError, IndexError, OSError, EOFError) as error:
        raise UserError(f"{path} is not an array in MNIST's format ({error}); download it again") from error
