"""What scores of patches follow, the position or the content, and what auxiliary heads have learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.data.dataset import DataSet
from suite.data.labels import IGNORED, patch_labels
from suite.reduction.model import ReducedModel
from suite.reduction.projection import Projection
from suite.reduction.scoring import ScoringMethod
from suite.reduction.tokens import Tokens
from suite.tasks.loop import to_input
from suite.tasks.task import Task

IMAGES = 500  # of the validation set, the first ones
ALMOST_NOTHING = 1e-30  # instead of 0, to divide by


@dataclass(frozen=True)
class Scored:
    """Scores of the patches that entered a block, (B, N), and their positions in the first grid, -1 for fused ones."""

    score: Tensor
    where: Tensor

    @property
    def centred(self) -> Tensor:
        """Scores less their mean in the image, which no choice of patches depends on; 0 for fused patches."""
        return _centred(self.score, self.where >= 0)

    def position_share(self, patches: int) -> float:
        """Share of the variance within images that the position explains, 0 to 1 (eta squared)."""
        centred, where, real = self.centred.flatten(), self.where.clamp(min=0).flatten(), (self.where >= 0).flatten()
        count, total = (torch.zeros(patches).index_add_(0, where, of) for of in (real.float(), centred))
        return float((total**2 / count.clamp(min=1)).sum() / (centred**2).sum().clamp(min=ALMOST_NOTHING))

    def correlation(self, shown: Tensor) -> float:
        """Pearson's correlation within images with a number for each patch of the first grid, (B, N0)."""
        other = _centred(shown.gather(1, self.where.clamp(min=0)), self.where >= 0)
        norms = self.centred.norm() * other.norm()
        return float((self.centred * other).sum() / norms.clamp(min=ALMOST_NOTHING))


def _centred(values: Tensor, real: Tensor) -> Tensor:
    mean = (values * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)
    return (values - mean) * real


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


def probe(model: ReducedModel, data: DataSet, task: Task) -> Callable[[], dict[str, float]]:
    """What `score_facts` and `direction_facts` say of a model while it trains, on the first validation images.

    The model stays as it is.

    Raises:
        UserError: for images that are files.
    """
    examples = data.open("validation")
    images = to_input(torch.from_numpy(examples.pixels[:IMAGES]))
    patch, method, first = model.backbone.patch_embed.patch_size, model.method, _directions(model)
    target = torch.from_numpy(examples.targets[task.target][:IMAGES])
    objects = data.foreground(examples)
    foreground = None
    if objects is not None:
        foreground = F.avg_pool2d(torch.from_numpy(objects[:IMAGES]).float().unsqueeze(1), patch).flatten(1)

    def run() -> dict[str, float]:
        was_training, counts = model.training, method.counts
        method.counts = method.context.schedule.removed  # whatever a curriculum removes now
        with torch.random.fork_rng(devices=[]):
            facts = score_facts(
                model, images, foreground, patch_labels(target, method.context.grid) if target.dim() == 3 else target
            )
        model.train(was_training)
        method.counts = counts
        return facts | direction_facts(first, _directions(model))

    return run


def _directions(model: ReducedModel) -> dict[int, Tensor]:
    method = model.method
    if not isinstance(method, ScoringMethod):
        return {}
    layers = [layer for layer, count in enumerate(method.context.schedule.removed) if count]
    found = {layer: method.direction(layer) for layer in layers}
    return {layer: one.detach().clone() for layer, one in found.items() if one is not None}


def direction_facts(first: Mapping[int, Tensor], now: Mapping[int, Tensor]) -> dict[str, float]:
    """By block, of the vectors that score: `direction_norm`, and `direction_cosine` with where each began."""
    facts = {f"direction_norm/{layer}": float(one.norm()) for layer, one in now.items()}
    return facts | {
        f"direction_cosine/{layer}": float(F.cosine_similarity(one, first[layer], dim=0)) for layer, one in now.items()
    }


@torch.no_grad()
def score_facts(model: ReducedModel, images: Tensor, foreground: Tensor | None, target: Tensor) -> dict[str, float]:
    """What to know of scores and auxiliary heads, by name and block, such as `position_share/0`.

    Args:
        model: is left with its backbone in evaluation mode and its method in training mode.
        images: (B, 3, height, width), as the model reads them.
        foreground: share of each patch that shows an object, (B, N0), if it is known.
        target: labels, (B,), or of patches, (B, N0); of numbers that are no classes heads are left out.

    Returns:
        `position_share`; with a foreground `foreground_correlation` and `foreground_kept`, the share of patches with an
        object that are left; of methods with auxiliary heads `auxiliary_loss` and `auxiliary_accuracy`, in percent.
        Nothing for a method without scores.
    """
    method = model.eval().method
    if not isinstance(method, ScoringMethod):
        return {}
    with recorded(method) as scored:
        steps = list(model.steps(images, track=True))
    patches = method.context.grid[0] * method.context.grid[1]
    facts = {f"position_share/{layer}": one.position_share(patches) for layer, one in scored.items()}
    if foreground is not None:
        for layer, one in scored.items():
            facts[f"foreground_correlation/{layer}"] = one.correlation(foreground)
            facts[f"foreground_kept/{layer}"] = 100 * float(steps[layer].is_kept()[foreground > 0].float().mean())
    method.train()
    auxiliary = () if target.is_floating_point() else model.tokens(images).auxiliary  # only classes can be right
    for layer, prediction in zip(sorted(scored), auxiliary, strict=False):
        facts |= {f"{name}/{layer}": value for name, value in _head(model, prediction, target).items()}
    return facts


def _head(model: ReducedModel, prediction: Tensor, target: Tensor) -> dict[str, float]:
    found: dict[str, float] = {}

    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        found["auxiliary_accuracy"] = 100 * float((logits.argmax(1) == labels)[labels != IGNORED].float().mean())
        return F.cross_entropy(logits, labels, ignore_index=IGNORED)

    loss = model.method.auxiliary_loss([prediction], target, criterion)
    return found if loss is None else found | {"auxiliary_loss": float(loss)}
