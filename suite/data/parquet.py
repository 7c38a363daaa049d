"""Labelled pictures in parquet files, as Hugging Face's data sets have them."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.data import cache
from suite.data.archives import by_number
from suite.data.classes import Order
from suite.data.labelled import Labelled
from suite.data.pictures import Member
from suite.errors import UserError
from suite.signatures import head_of, known
from suite.terminal import ManualProgress, plain

IMAGE_COLUMNS, LABEL_COLUMNS = ("image", "img", "jpg", "png"), ("label", "labels", "fine_label", "cls")
ROWS = 256  # of a file at a time


def in_parquet(paths: Sequence[Path], order: Order | None = None) -> Labelled:
    """Images in parquet as Hugging Face's data sets have them: a column of encoded images, one of numbers of classes.

    Parquet cannot be read image by image, so the encoded images are copied once to the cache of the user.

    Raises:
        UserError: if there are no such columns.
    """
    schema = _schema(paths[0])
    columns = [_column(paths[0], schema.names, usual) for usual in (IMAGE_COLUMNS, LABEL_COLUMNS)]
    members, labels = list[Member](), list[int]()
    for path in paths:
        if _schema(path).names != schema.names:
            raise UserError(f"{path} has other columns than {paths[0]}; give the files of one data set")
        packed, sizes, numbers = _unpacked(path, *columns)
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


def _schema(path: Path) -> Any:
    """Names and types of the columns of a parquet file.

    Raises:
        UserError: if it is none.
    """
    parquet = _parquet(path)
    try:
        return parquet.read_schema(path)
    except (ValueError, OSError) as error:  # pyarrow's own are such
        what = known(head_of(path)) or str(error)
        raise UserError(f"{path} cannot be read as a parquet file ({what}); download it again") from error


def _column(path: Path, names: Sequence[str], usual: Sequence[str]) -> str:
    found = [name for name in usual if name in names]
    if not found:
        raise UserError(f"{path} has the columns {', '.join(names)}, and none of {', '.join(usual)}")
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


def _unpacked(path: Path, image: str, label: str) -> tuple[Path, list[int], list[int]]:
    """A file of the bytes of all images of a parquet file, one behind the other, their sizes and their classes.

    They are in the cache of the user; what is not there yet, or damaged, is made by one process, others wait for it.
    """
    status, home = path.stat(), cache.home("parquet")
    times = status.st_mtime_ns, status.st_ctime_ns
    key = hashlib.sha256(json.dumps([str(path.resolve()), status.st_size, *times, image, label]).encode())
    packed = home / f"{path.stem}-{key.hexdigest()[:16]}.images"
    if found := _index(packed):
        return packed, *found
    try:
        with cache.alone(home):
            found = _index(packed) or _unpack(path, image, label, packed)
    except OSError as error:
        raise UserError(
            f"{path} cannot be unpacked to {home} ({error.strerror or error}); see that the file is whole and that "
            "there is room, or name another folder for caches: XDG_CACHE_HOME"
        ) from error
    return packed, *found


def _index(packed: Path) -> tuple[list[int], list[int]] | None:
    """Sizes and classes of unpacked images; None where they are not there, or not whole."""
    import numpy as np

    try:
        with np.load(io.BytesIO(packed.with_suffix(".npz").read_bytes())) as index:
            sizes, labels = index["sizes"].tolist(), index["labels"].tolist()
        return (sizes, labels) if packed.stat().st_size == sum(sizes) and len(sizes) == len(labels) else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _unpack(path: Path, image: str, label: str, packed: Path) -> tuple[list[int], list[int]]:
    """Make the file and, before it, its index; with a progress bar."""
    import numpy as np

    sizes, labels = list[int](), list[int]()
    with cache.beside(packed.parent) as place, _parquet(path).ParquetFile(path) as rows:
        _check_numbers(path, rows.schema_arrow.field(label).type)
        content, index = place / "images", place / "index.npz"
        with content.open("wb") as file, _bar(path, rows.metadata.num_rows) as bar:
            for batch in rows.iter_batches(ROWS, columns=[image, label]):
                sizes += [file.write(_bytes(path, one)) for one in batch[image].to_pylist()]
                labels += [-1 if number is None else number for number in batch[label].to_pylist()]
                bar.advance(len(batch))
        np.savez(index, sizes=np.array(sizes, np.int64), labels=np.array(labels, np.int64))
        index.replace(packed.with_suffix(".npz"))
        content.replace(packed)
    return sizes, labels


def _bar(path: Path, rows: int) -> ManualProgress:
    return ManualProgress(plain(stderr=True), rows, text=f"unpacking {path.name} to the cache, once")


def _check_numbers(path: Path, kind: Any) -> None:
    import pyarrow

    if not pyarrow.types.is_integer(kind):
        raise UserError(f"{path} has classes of type {kind}, and they must be whole numbers from 0; save it with those")
