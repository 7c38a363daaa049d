"""What scores of patches follow, the position or the content, and what auxiliary heads have learned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.data.dataset import DataSet
from suite.data.labels import IGNORED, patch_labels
from suite.reduction.method import paired
from suite.reduction.model import ReducedModel
from suite.reduction.projection import Projection
from suite.reduction.scoring import ScoringMethod
from suite.reduction.tokens import Tokens
from suite.tasks.loop import pad_to, to_input
from suite.tasks.task import Task

IMAGES, BATCH = 500, 100  # of the validation set, the first ones; so many at a time
ALMOST_NOTHING = 1e-30  # instead of 0, to divide by


@dataclass(frozen=True)
class Scored:
    """Scores of the patches that entered a block, (B, N), and their positions in the first grid, -1 for fused ones."""

    score: Tensor
    where: Tensor

    @property
    def real(self) -> Tensor:
        """Which patches are no fused ones, (B, N)."""
        return self.where >= 0

    def centred(self, values: Tensor) -> Tensor:
        """Values, (B, N), less their mean in the image, which no choice of patches depends on; 0 for fused patches."""
        mean = (values * self.real).sum(1, keepdim=True) / self.real.sum(1, keepdim=True)
        return (values - mean) * self.real

    def position_share(self, patches: int) -> float:
        """Share of the variance within images that effects of positions explain by least squares, 0 to 1."""
        scores, places = self.centred(self.score.double()), self.where.clamp(min=0)
        there = scores.new_zeros(len(scores), patches).scatter_add_(1, places, self.real.double())
        total = scores.new_zeros(patches).index_add_(0, places.flatten(), scores.flatten())
        products = torch.diag(there.sum(0)) - (there / there.sum(1, keepdim=True)).T @ there
        explained = total @ torch.linalg.pinv(products, hermitian=True) @ total
        return float(explained / (scores**2).sum().clamp(min=ALMOST_NOTHING))

    def correlation(self, shown: Tensor) -> float:
        """Pearson's correlation within images with a number for each patch of the first grid, (B, N0)."""
        scores, other = self.centred(self.score), self.centred(shown.gather(1, self.where.clamp(min=0)))
        return float((scores * other).sum() / (scores.norm() * other.norm()).clamp(min=ALMOST_NOTHING))


@dataclass(frozen=True)
class Shown:
    """Images to look at a model with.

    Attributes:
        images: (B, 3, height, width), as the model reads them.
        target: labels, (B,), or of patches, (B, N0); None if they are no classes.
        foreground: share of each patch that belongs to an object, (B, N0); None if that is not known.
    """

    images: Tensor
    target: Tensor | None
    foreground: Tensor | None

    def to(self, device: torch.device) -> Shown:
        """The same on a device."""
        moved = (one if one is None else one.to(device) for one in (self.target, self.foreground))
        return Shown(self.images.to(device), *moved)


def shown(model: ReducedModel, data: DataSet, task: Task) -> Shown:
    """The first validation images, padded to the model's size.

    Raises:
        UserError: for images that are files.
    """
    examples, embed = data.open("validation"), model.backbone.patch_embed
    images, values = examples.pixels[:IMAGES], examples.targets[task.target][:IMAGES]
    objects, target = data.foreground(examples), torch.from_numpy(values) if data.targets[task.target] else None
    padding = [0, embed.img_size[1] - images.shape[3], 0, embed.img_size[0] - images.shape[2]]
    if target is not None and target.dim() == 3:
        target = patch_labels(F.pad(target, padding, value=IGNORED), embed.grid_size)
    foreground = None
    if objects is not None:
        pixels = F.pad(torch.from_numpy(objects[:IMAGES]).float().unsqueeze(1), padding)
        foreground = F.avg_pool2d(pixels, embed.patch_size).flatten(1)
    return Shown(pad_to(embed.img_size, to_input(torch.from_numpy(images))), target, foreground)


def probe(model: ReducedModel, data: DataSet, task: Task) -> Callable[[ReducedModel], dict[str, float]]:
    """What `score_facts` and `direction_facts` say of a model, or of averages of its weights, while it trains; the
    model stays as it is.

    Raises:
        UserError: for images that are files.
    """
    at, first = shown(model, data, task), _directions(model)

    def run(model: ReducedModel) -> dict[str, float]:
        method, was_training, counts = model.method, model.training, model.method.counts
        buffers = {name: buffer.clone() for name, buffer in method.named_buffers()}
        device = next(model.parameters()).device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            facts = score_facts(model, at.to(device))
        with torch.no_grad():
            for name, buffer in method.named_buffers():
                buffer.copy_(buffers[name])
        model.train(was_training)
        method.counts = counts
        return facts | direction_facts(first, _directions(model))

    return run


@torch.no_grad()
def score_facts(model: ReducedModel, at: Shown) -> dict[str, float]:
    """What to know of scores and auxiliary heads under the whole schedule, by name and block: `position_share/0`.

    The backbone is left in evaluation mode, the method in training mode.

    Returns:
        `position_share`; with a foreground `foreground_correlation` and `foreground_kept`, the share of patches with an
        object that are left, in percent; of methods with auxiliary heads `auxiliary_loss` and `auxiliary_accuracy`, the
        mean over classes of how often it is right, in percent. Nothing for a method without scores.
    """
    method = model.eval().method
    if not isinstance(method, ScoringMethod):
        return {}
    method.counts = method.context.schedule.removed  # whatever a curriculum removes now
    parts, kept = defaultdict[int, list[Scored]](list), defaultdict[int, list[Tensor]](list)
    for images in at.images.split(BATCH):
        with recorded(method) as found:
            steps = list(model.steps(images, track=True))
        for layer, one in found.items():
            parts[layer].append(one)
            kept[layer].append(steps[layer].is_kept())
    facts: dict[str, float] = {}
    for layer, several in parts.items():
        scored = Scored(torch.cat([one.score for one in several]), torch.cat([one.where for one in several]))
        facts[f"position_share/{layer}"] = scored.position_share(method.context.grid[0] * method.context.grid[1])
        if at.foreground is not None:
            facts[f"foreground_correlation/{layer}"] = scored.correlation(at.foreground)
            left = torch.cat(kept[layer])[at.foreground > 0]
            facts[f"foreground_kept/{layer}"] = 100 * float(left.float().mean())
    return facts | _heads(model, at, sorted(parts))


@contextmanager
def recorded(method: ScoringMethod) -> Iterator[dict[int, Scored]]:
    """The scores of every block that removes patches, of whatever runs meanwhile with `track=True`."""
    found: dict[int, Scored] = {}

    def score(tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        scores = type(method).score(method, tokens, projection, layer)
        found[layer] = Scored(scores.detach().float(), tokens.where)
        return scores

    vars(method)["score"] = score
    try:
        yield found
    finally:
        del vars(method)["score"]


def _heads(model: ReducedModel, at: Shown, layers: list[int]) -> dict[str, float]:
    """Loss and accuracy of predictions, (B, M, classes), of one head for each of the blocks."""
    if at.target is None:
        return {}
    model.method.train()
    runs = [model.tokens(images, track=True) for images in at.images.split(BATCH)]
    batches = [[one for one in tokens.auxiliary if one.dim() == 3] for tokens in runs]
    facts: dict[str, float] = {}
    for layer, parts in zip(layers, zip(*batches, strict=True), strict=False):
        prediction = torch.cat(parts)
        facts[f"auxiliary_accuracy/{layer}"] = _accuracy(*paired(prediction, at.target))
        loss = model.method.auxiliary_loss([prediction], at.target, _cross_entropy)
        if loss is not None:
            facts[f"auxiliary_loss/{layer}"] = float(loss)
    return facts


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    """Mean over the classes that there are of how often they are found, in percent."""
    right = logits.argmax(1) == labels
    classes = [right[labels == one].float().mean() for one in labels.unique() if one != IGNORED]
    return 100 * float(torch.stack(classes).mean())


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, ignore_index=IGNORED)


def _directions(model: ReducedModel) -> dict[int, Tensor]:
    method = model.method
    if not isinstance(method, ScoringMethod):
        return {}
    layers = [layer for layer, count in enumerate(method.context.schedule.removed) if count]
    found = {layer: method.direction(layer) for layer in layers}
    return {layer: one.detach().cpu().clone() for layer, one in found.items() if one is not None}


def direction_facts(first: dict[int, Tensor], now: dict[int, Tensor]) -> dict[str, float]:
    """By block, of the vectors that score: `direction_norm`, and `direction_cosine` with where each began."""
    facts = {f"direction_norm/{layer}": float(one.norm()) for layer, one in now.items()}
    return facts | {
        f"direction_cosine/{layer}": float(F.cosine_similarity(one, first[layer], dim=0)) for layer, one in now.items()
    }
