"""Label maps: which numbers they may hold, and which shape they have."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from suite.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

IGNORED = 255


def check_labels(labels: np.ndarray[Any, Any], classes: int, where: str) -> None:
    """Refuse labels that are neither a class nor to be ignored.

    Raises:
        UserError: naming the label and where it is.
    """
    wrong = labels[(labels >= classes) & (labels != IGNORED)]
    if wrong.size:
        raise UserError(
            f"{where}: class {wrong[0]} on {wrong.size} pixels; classes run from 0 to {classes - 1}, and {IGNORED} is "
            "ignored (in ADE20k's masks class c is written as c + 1, and 0 is ignored)"
        )


def encode(labels: np.ndarray[Any, Any]) -> str:
    """A label map, (height, width), of bytes as text: a PNG in base64."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def decode(text: str) -> np.ndarray[Any, Any]:
    """The label map that `encode` made text of."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def patch_labels(labels: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Label of each patch, (B, N0), by nearest neighbour as torch has it, from label maps, (B, height, width)."""
    from torch.nn import functional as F

    return F.interpolate(labels.unsqueeze(1).float(), size=tuple(grid), mode="nearest").flatten(1).long()


def mask_shape(where: object, labels: np.ndarray[Any, Any], wanted: tuple[int, ...]) -> str:
    """What is wrong with a mask that is not of its image's size."""
    return (
        f"{where} is a mask of shape {labels.shape} for an image of {wanted[0]} x {wanted[1]}; a mask has one number "
        "for each pixel"
    )
