"""What is known of each image: whether a model is right, and how loyal it is to the unpruned one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from suite.reduction import blocks
from suite.reduction.model import ReducedModel
from suite.seeds import drawn

Decode = Callable[[Tensor], Tensor]  # features of patches, (B, D, rows, columns), to a map
Batch = tuple[Tensor, Tensor]  # images, (B, 3, height, width), and numbers of classes, (B,)


class Metric(NamedTuple):
    """What is known of an image, by the name that records have for it.

    Attributes:
        heading: of its column.
        unit: of what is shown, which is `scale` times what is recorded of an image.
        digits: that are shown.
        how: it is made.
        least, most: that it can be.
    """

    heading: str
    unit: str
    scale: float
    digits: int
    how: str
    least: float = -1.0
    most: float = 1.0

    @property
    def recorded(self) -> str:
        """The unit of what is recorded."""
        return "1" if self.unit == "%" else self.unit


METRICS = {
    "correct": Metric("acc.", "%", 100, 1, "share of images whose highest logit is that of their class"),
    "neighbours": Metric(
        "k-NN acc.", "%", 100, 1, "share of images whose class the nearest training images vote for, by features"
    ),
    "same_top1": Metric("same top-1", "%", 100, 1, "share of images whose highest logit is that of the unpruned model"),
    "kl": Metric(
        "KL", "nats", 1, 3, "Kullback-Leibler divergence from the unpruned model's softmax to the row's", 0, math.inf
    ),
    "cosine_feature": Metric("feature", "1", 1, 3, "cosine of the feature that the head reads to the unpruned one's"),
    "cosine_patches": Metric(
        "patches", "1", 1, 3, "cosine of a patch's normalised feature to the unpruned model's, mean over all patches"
    ),
    "map_rank": Metric(
        "map, rank", "1", 1, 3, "rank correlation (Spearman) of the map's pixels with the unpruned model's"
    ),
    "map_overlap": Metric(
        "map, overlap",
        "1",
        1,
        3,
        "of the highest tenth of the map's pixels and of the unpruned one's: common over all",
        0,
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
    tokens = model.tokens(resized(images, tuple(model.backbone.patch_embed.img_size)), track=True)
    logits, feature = blocks.finish(model.backbone, tokens)
    logits = logits if model.backbone.num_classes else logits[:, :0]
    patches: Tensor = model.read_dense(tokens).features
    return Seen(logits, feature, patches.unflatten(1, model.method.context.grid))


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images of another height and width, bicubically."""
    return images if images.shape[-2:] == size else F.interpolate(images, size, mode="bicubic", antialias=True)


class Vote:
    """What the nearest of known features say of the class of others, each by exp(cosine / 0.07): arXiv 2104.14294."""

    def __init__(self, features: Tensor, labels: Tensor, count: int) -> None:
        """`features`: (N, D); `labels`: (N,); `count`: of those that vote."""
        self.features, self.labels = F.normalize(features), labels.to(features.device)
        self.count, self.classes = min(count, len(labels)), int(labels.max()) + 1

    def __call__(self, features: Tensor) -> Tensor:
        """The classes of features, (B, D): (B,)."""
        near = (F.normalize(features) @ self.features.T).topk(self.count)
        votes = near.values.new_zeros(len(features), self.classes)
        return votes.scatter_add_(1, self.labels[near.indices], (near.values / 0.07).exp()).argmax(1)


def loyalty(found: Seen, whole: Seen, decode: Decode | None = None, *, features: bool = True) -> dict[str, Tensor]:
    """By metric, a number for each image, (B,), in double precision; those of logits only for a model that has some.

    Patches of a smaller image are resized bilinearly to the grid of the unpruned model. `decode` makes maps of them.
    Without `features`, which other models do not share, only what logits say.
    """
    scores = _of_features(found, whole, decode) if features else {}
    if not whole.logits.shape[1]:
        return scores
    own, other = (F.log_softmax(logits.double(), 1) for logits in (found.logits, whole.logits))
    same = (own.argmax(1) == other.argmax(1)).double()
    return {"same_top1": same, "kl": (other.exp() * (other - own)).sum(1)} | scores


def _of_features(found: Seen, whole: Seen, decode: Decode | None) -> dict[str, Tensor]:
    patches = _resized(found.patches, whole.patches)
    scores = {
        "cosine_feature": _cosine(found.feature, whole.feature),
        "cosine_patches": _cosine(patches, whole.patches).mean((1, 2)),
    }
    if decode is None:
        return scores
    with torch.inference_mode():
        maps = [decode(one.movedim(-1, 1).contiguous()).flatten(1).cpu() for one in (patches, whole.patches)]
    return scores | {"map_rank": _rank_correlation(*maps), "map_overlap": _overlap(*maps)}


def _rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Spearman's, of each row, (B,); ties have their mean rank, and what is constant says nothing: 0."""
    from scipy.stats import rankdata

    ranks = [torch.from_numpy(rankdata(values.numpy(), axis=1)) for values in (one, other)]
    return _cosine(*(values - values.mean(1, keepdim=True) for values in ranks))


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """Common part of the highest tenth of each row, with what equals the least of it, over both together, (B,)."""
    count = max(1, one.shape[1] // 10)
    first, second = (values >= values.topk(count).values[:, -1:] for values in (one, other))
    return (first & second).sum(1).double() / (first | second).sum(1)


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    return F.cosine_similarity(one.double(), other.double(), dim=-1)


def _resized(patches: Tensor, like: Tensor) -> Tensor:
    if patches.shape == like.shape:
        return patches
    channels_first = patches.movedim(-1, 1)
    return F.interpolate(channels_first, like.shape[1:3], mode="bilinear", align_corners=False).movedim(1, -1)


def of_images(
    model: ReducedModel,
    batches: Iterable[Batch],
    references: Iterable[Seen],
    seed: int,
    device: str,
    correct: Callable[[Seen, Tensor], Mapping[str, Tensor]],
    loyal: Callable[[Seen, Seen], Mapping[str, Tensor]] = loyalty,
) -> Iterator[Mapping[str, Tensor]]:
    """The scores of each batch: `correct` of what is seen and classes, `loyal` of it and what the unpruned sees."""
    for (found, labels), whole in zip(looked(model, batches, seed, device), references, strict=True):
        scores = {**correct(found, labels.to(device)), **loyal(found, whole)}
        yield {name: values.cpu() for name, values in scores.items()}


def looked(model: ReducedModel, batches: Iterable[Batch], seed: int, device: str) -> Iterator[tuple[Seen, Tensor]]:
    """What a model says of each batch; what a method draws of the batch numbered i depends on `seed` and i alone."""
    for number, (images, labels) in enumerate(batches):
        with drawn("off the shelf", seed, number, device=device):
            found = look(model, images.to(device))
        yield found, labels


def by_logits(found: Seen, labels: Tensor) -> dict[str, Tensor]:
    """Whether the highest logit of each image is that of its class."""
    return {"correct": (found.logits.argmax(1) == labels).double()}
