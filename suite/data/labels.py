"""Label maps: which numbers may stand in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.errors import UserError

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
