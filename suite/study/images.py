"""What is known of every validation image of a cell that was scored: from it, scores of other images can be drawn."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import UserError
from suite.study.records import DIGESTS, digest_of, replace, stated

if TYPE_CHECKING:
    import numpy as np

FOLDER = "images"  # of results/NAME/, with a file for each cell


def packed(images: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """Arrays of whole numbers from 0, compressed, as text for a cell's entry."""
    import numpy as np

    buffer = io.BytesIO()
    small: Any = {name: array.astype(np.min_scalar_type(array.max())) for name, array in images.items()}
    np.savez_compressed(buffer, **small)
    return base64.b64encode(buffer.getvalue()).decode()


def write(folder: Path, found: Mapping[str, str]) -> None:
    """Write a file for each cell, given by its id and what `packed` made, and delete all others."""
    for path in (folder / FOLDER).glob("*.npz"):
        if path.stem not in found:
            path.unlink()
    for cell_id, text in found.items():
        replace(folder / FOLDER / f"{cell_id}.npz", base64.b64decode(text))


def read(folder: Path, cell_id: str) -> dict[str, np.ndarray[Any, Any]] | None:
    """The arrays of a cell; None if none were kept.

    Raises:
        UserError: if the file is not the one that provenance.json was written with.
    """
    import numpy as np

    path, digests = folder / FOLDER / f"{cell_id}.npz", stated(folder, DIGESTS)
    known = digests.get(f"{FOLDER}/{path.name}") if isinstance(digests, dict) else None
    if known is None and not path.is_file():
        return None
    if not path.is_file() or known != digest_of(path):
        raise UserError(
            f"{path} is not the file that provenance.json knows; restore it, or run: suite run {folder.name}"
        )
    with np.load(path) as arrays:
        return dict(arrays)
