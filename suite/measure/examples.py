"""What an example of a trained model needs: when each patch left, and what it predicts, for a few images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.measure.watched import left_after, presence
from suite.reduction.model import ReducedModel
from suite.tasks.loop import pad_to, to_input
from suite.tasks.task import Task

EXAMPLES = 3  # images of the validation set, the first ones


def as_read(model: ReducedModel, image: np.ndarray[Any, Any], normalisation: str) -> Tensor:
    """An image, (3, height, width), 0 to 255, padded to the size that the model takes, (1, 3, height, width)."""
    pixels = to_input(torch.from_numpy(image.copy())[None], normalisation)
    return pad_to(model.backbone.patch_embed.img_size, pixels)


@torch.no_grad()
def example(
    model: ReducedModel, images: Sequence[np.ndarray[Any, Any]], task: Task, normalisation: str = "inception"
) -> dict[str, Any]:
    """Run images, (3, height, width), 0 to 255, in evaluation mode; the result is ready for JSON.

    Returns:
        `grid`: rows and columns of patches; `depth`; for each image `patches`: rows and columns that are not all
        padding; `left_after`: the first block after which each patch was gone, row by row; `prediction`: what the
        task predicts, such as a class, or a label map as a PNG in base64. Where patches may idle and return, also
        `computed`: for each image and block a text with a 1 for each patch that the block computed and a 0 for each
        that sat it out, row by row.
    """
    model.eval()
    context, idles = model.method.context, model.method.settings.reduces == "idles"
    left, computed, predictions, patches = list[Any](), list[list[str]](), list[Any](), list[Any]()
    side = model.backbone.patch_embed.patch_size
    for seed, image in enumerate(images):
        padded = as_read(model, image, normalisation)
        patches.append([-(-pixels // part) for pixels, part in zip(image.shape[1:], side, strict=True)])
        torch.manual_seed(seed)  # what a random method draws is drawn twice, and anew for each image
        present = presence(model, padded)
        left += left_after(present).tolist()
        computed.append(["".join(map(str, block)) for block in present[0].int().tolist()])
        torch.manual_seed(seed)
        predictions += task.predict(model, padded, (image.shape[1], image.shape[2]))
    found = {"grid": list(context.grid), "depth": context.depth, "left_after": left, "prediction": predictions}
    return found | {"patches": patches} | ({"computed": computed} if idles else {})
