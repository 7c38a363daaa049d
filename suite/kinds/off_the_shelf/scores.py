"""What is known of each image: whether a model is right, and how loyal it is to the unpruned one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from suite.reduction import blocks
from suite.reduction.model import ReducedModel
from suite.seeds import drawn

Batch = tuple[Tensor, Tensor]  # images, (B, 3, height, width), and numbers of classes, (B,)


class Metric(NamedTuple):
    """What is known of an image, by the name that records have for it.

    Attributes:
        heading: of its column.
        unit: of what is shown, which is `scale` times what is recorded of an image.
        digits: that are shown.
        how: it is made.
        least: that it can be.
    """

    heading: str
    unit: str
    scale: float
    digits: int
    how: str
    least: float = -1.0

    @property
    def recorded(self) -> str:
        """The unit of what is recorded."""
        return "1" if self.unit == "%" else self.unit


METRICS = {
    "correct": Metric("acc.", "%", 100, 1, "share of images whose highest logit is that of their class"),
    "same_top1": Metric("same top-1", "%", 100, 1, "share of images whose highest logit is that of the unpruned model"),
    "kl": Metric("KL", "nats", 1, 3, "Kullback-Leibler divergence from the unpruned model's softmax to the row's", 0),
    "cosine_feature": Metric("feature", "1", 1, 3, "cosine of the feature that the head reads to the unpruned one's"),
    "cosine_patches": Metric(
        "patches", "1", 1, 3, "cosine of a patch's normalised feature to the unpruned model's, mean over all patches"
    ),
}


class Seen(NamedTuple):
    """What a model says of images.

    Attributes:
        logits: (B, classes); of no class for a model without a head.
        feature: what the head reads, (B, D).
        patches: normalised, (B, rows, columns, D).
    """

    logits: Tensor
    feature: Tensor
    patches: Tensor


@torch.inference_mode()
def look(model: ReducedModel, images: Tensor) -> Seen:
    """Run a model once; images that are larger than it takes are shrunk, bicubically, with antialiasing."""
    size = tuple(model.backbone.patch_embed.img_size)
    if images.shape[-2:] != size:
        images = F.interpolate(images, size, mode="bicubic", antialias=True)
    tokens = model.tokens(images, track=True)
    logits, feature = blocks.finish(model.backbone, tokens)
    logits = logits if model.backbone.num_classes else logits[:, :0]
    patches: Tensor = model.read_dense(tokens).features
    return Seen(logits, feature, patches.unflatten(1, model.method.context.grid))


def loyalty(found: Seen, whole: Seen) -> dict[str, Tensor]:
    """By metric, a number for each image, (B,), in double precision; those of logits only for a model that has some.

    Patches of a smaller image are resized bilinearly to the grid of the unpruned model.
    """
    scores = {
        "cosine_feature": _cosine(found.feature, whole.feature),
        "cosine_patches": _cosine(_resized(found.patches, whole.patches), whole.patches).mean((1, 2)),
    }
    if not whole.logits.shape[1]:
        return scores
    own, other = (F.log_softmax(logits.double(), 1) for logits in (found.logits, whole.logits))
    same = (own.argmax(1) == other.argmax(1)).double()
    return {"same_top1": same, "kl": (other.exp() * (other - own)).sum(1)} | scores


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    return F.cosine_similarity(one.double(), other.double(), dim=-1)


def _resized(patches: Tensor, like: Tensor) -> Tensor:
    if patches.shape == like.shape:
        return patches
    channels_first = patches.movedim(-1, 1)
    return F.interpolate(channels_first, like.shape[1:3], mode="bilinear", align_corners=False).movedim(1, -1)


def of_images(
    model: ReducedModel, batches: Iterable[Batch], references: Iterable[Seen], seed: int, *, labelled: bool, device: str
) -> Iterator[Mapping[str, Tensor]]:
    """The scores of each batch; what a method draws of the batch numbered i depends on `seed` and i alone."""
    for number, ((images, labels), whole) in enumerate(zip(batches, references, strict=True)):
        with drawn("off the shelf", seed, number, device=device):
            found = look(model, images.to(device))
        correct = {"correct": (found.logits.argmax(1).cpu() == labels).double()} if labelled else {}
        yield correct | {name: values.cpu() for name, values in loyalty(found, whole).items()}
