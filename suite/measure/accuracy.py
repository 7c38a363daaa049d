"""Accuracy of a classifier over batches of labelled images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Accuracy(NamedTuple):
    """Accuracies in percent over `images` images."""

    images: int
    top1: float
    top5: float


@torch.inference_mode()
def accuracy(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: str | torch.device = "cpu"
) -> Accuracy:
    """Top-1 and top-5 accuracy of a model in the mode it is in, which gives logits, (B, classes), on `device`.

    Batches are of images, (B, 3, height, width), and labels, (B,); ValueError if there is no image.
    """
    first = five = done = 0
    for images, labels in batches:
        logits = model(images.to(device))
        hits = logits.topk(min(5, logits.shape[1])).indices.cpu() == labels[:, None]
        first, five, done = first + int(hits[:, 0].sum()), five + int(hits.any(1).sum()), done + len(labels)
    if not done:
        raise ValueError("there are no images to evaluate on")
    return Accuracy(done, 100 * first / done, 100 * five / done)
