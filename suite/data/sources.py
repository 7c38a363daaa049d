"""Where labelled pictures lie and how: folders, tar files, shards, parquet, arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suite.data.archives import IDX, in_idx, in_tars
from suite.data.classes import Order
from suite.data.dataset import Split
from suite.data.folder import in_folders
from suite.data.labelled import Labelled
from suite.data.parquet import in_parquet
from suite.data.pictures import is_junk
from suite.errors import UserError

NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "test", "testing", "t10k"),  # the first that is there
}
PACKED = (".tar", ".parquet")


def open_split(source: Path, split: Split, order: Order | None = None) -> Labelled:
    """The pictures of a split of a data set that lies in a folder.

    Raises:
        UserError: if there is no such split, or it is not in order.
    """
    if not source.is_dir():
        raise UserError(f"data: there is no folder {source}; give the one that the images are in")
    for name in NAMES[split]:
        if (found := _part(source, name, order)) is not None:
            return found
    inside = ", ".join(sorted(path.name for path in source.iterdir())[:8]) or "nothing"
    raise UserError(f"{source} has no {split} images: none of {', '.join(NAMES[split])} is in it, but {inside}")


def open_images(source: Path, order: Order | None = None) -> Labelled:
    """The pictures to evaluate on: a folder's validation split, if it has one, else all that is in it.

    Raises:
        UserError: if there are no images, or they are not in order.
    """
    if source.is_dir():
        for name in NAMES["validation"][:3]:  # a test set is only taken by its own name
            if (found := _part(source, name, order)) is not None:
                return found
    packed = _packed([source] if source.is_file() else sorted(source.glob("*")) if source.is_dir() else [], order)
    return packed or in_folders(source, order)


def _part(source: Path, name: str, order: Order | None) -> Labelled | None:
    """What lies in a folder under the name of a split; None for nothing."""
    if (source / name).is_dir():
        inner = sorted((source / name).glob("*"))
        return _packed(inner, order) or in_folders(source / name, order)
    arrays = sorted(source.glob(f"{name}-images?{IDX[0]}*"))
    if arrays:
        return in_idx(arrays[0], order)
    files = [*source.glob(f"{name}.*"), *source.glob(f"{name}-*"), *source.glob(f"data/{name}-*")]
    return _packed(sorted(filter(Path.is_file, files)), order)


def _packed(paths: Sequence[Path], order: Order | None) -> Labelled | None:
    """What lies in tar or parquet files; None if there are none."""
    tars, parquet = ([path for path in paths if path.suffix == suffix and path.is_file()] for suffix in PACKED)
    folders = [path for path in paths if path.is_dir() and not is_junk(path)]
    if bool(tars) + bool(parquet) + bool(folders) > 1:
        beside = ", ".join(path.name for path in [*tars[:1], *parquet[:1], *folders[:1]])
        raise UserError(f"{paths[0].parent} has images in several layouts ({beside}); leave one of them there")
    if tars:
        return in_tars(tars, order)
    return in_parquet(parquet, order) if parquet else None
