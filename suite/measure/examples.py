"""What a example of a trained model needs: when each patch left, and what the model says, for a few images."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from suite.measure.presence import left_after, presence
from suite.reduction.model import ReducedModel
from suite.tasks.classification.train import to_input
from suite.tasks.segmentation.pixels import PixelModel, pad_to

EXAMPLES = 3  # images of the validation set, the first ones


@torch.no_grad()
def example(model: ReducedModel, images: Sequence[np.ndarray[Any, Any]], task: str) -> dict[str, Any]:
    """Run images, (3, height, width), 0 to 255, in evaluation mode; the result is ready for JSON.

    Returns:
        `grid`: rows and columns of patches; `depth`; for each image `patches`: rows and columns that are not all
        padding; `left_after`: the first block after which each patch was gone, row by row; `said`: its class, or its
        label map as a PNG in base64. Where patches may idle and return, also `computed`: for each image and block a
        text with a 1 for each patch that the block computed and a 0 for each that sat it out, row by row.
    """
    model.eval()
    context, idles = model.method.context, model.method.settings.reduces == "idles"
    left, computed, said, patches = list[Any](), list[list[str]](), list[Any](), list[Any]()
    side = model.backbone.patch_embed.patch_size
    for seed, image in enumerate(images):
        padded = pad_to(model.backbone.patch_embed.img_size, to_input(torch.from_numpy(image.copy())[None]))
        patches.append([-(-pixels // part) for pixels, part in zip(image.shape[1:], side, strict=True)])
        torch.manual_seed(seed)  # what a random method draws is drawn twice, and anew for each image
        present = presence(model, padded)
        left += left_after(present).tolist()
        computed.append(["".join(map(str, block)) for block in present[0].int().tolist()])
        torch.manual_seed(seed)
        if task == "segmentation":
            labels = PixelModel(model)(padded).argmax(1)[0].to(torch.uint8).numpy()
            said.append(encode(labels[: image.shape[1], : image.shape[2]]))
        else:
            said += model(padded).argmax(1).tolist()
    found = {"grid": list(context.grid), "depth": context.depth, "left_after": left, "prediction": said}
    return found | {"patches": patches} | ({"computed": computed} if idles else {})


def encode(labels: np.ndarray[Any, Any]) -> str:
    """A label map, (height, width), of bytes as text."""
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def decode(text: str) -> np.ndarray[Any, Any]:
    """The label map that `encode` made text of."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
