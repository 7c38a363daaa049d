"""Image classification: train a reduced model, and count how often it is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.loss import LabelSmoothingCrossEntropy

from suite.data.dataset import Examples
from suite.reduction.model import ReducedModel
from suite.reduction.schedule import curriculum
from suite.tasks.loop import check_finite, check_weights, clip, data_order, optimizer_for, to_input
from suite.tasks.recipe import TrainingRecipe
from suite.tasks.task import Epoch

EVALUATION_BATCH = 250


def train(
    model: ReducedModel, training: Examples, validation: Examples, recipe: TrainingRecipe, seed: int
) -> Iterator[Epoch]:
    """Train, and yield after every epoch.

    The order of the data depends on `seed` alone; drop path and random methods draw from torch's default generator.

    Raises:
        TrainingFailed: if the loss is not finite.
    """
    images = torch.from_numpy(training.pixels[: recipe.images])
    labels = torch.from_numpy(training.targets["labels"][: recipe.images])
    optimizer, scheduler = optimizer_for(model, recipe, math.ceil(len(labels) / recipe.batch_size))
    teacher = model.unpruned() if model.method.settings.learns_from_teacher() else None
    criterion = LabelSmoothingCrossEntropy(recipe.label_smoothing)
    order = data_order("classification", seed)
    done, full = 0, model.method.context.schedule.removed
    for epoch in range(recipe.epochs):
        model.train()
        model.method.counts = curriculum(full, epoch, recipe.epochs, recipe.curriculum)
        total = 0.0
        for batch in torch.randperm(len(labels), generator=order).split(recipe.batch_size):
            scheduler.step_update(done)
            loss = training_loss(model, to_input(images[batch]), labels[batch], criterion, teacher)
            check_finite(loss, epoch, done, optimizer)
            optimizer.zero_grad()
            loss.backward()
            clip(model, recipe.clip_gradient)
            optimizer.step()
            total += loss.item() * len(batch)
            done += 1
        check_weights(model, epoch)
        wanted, found = validation.targets["labels"], predicted(model, validation)
        scores = {"acc1": 100 * float((found == wanted).sum()) / len(wanted)}
        of_images = {"label": wanted, "predicted": found}
        yield Epoch(epoch, total / len(labels), optimizer.param_groups[0]["lr"], scores, images=of_images)


def training_loss(
    model: ReducedModel,
    images: Tensor,
    labels: Tensor,
    criterion: Callable[[Tensor, Tensor], Tensor],
    teacher: ReducedModel | None = None,
) -> Tensor:
    """The task's loss plus what the method adds to it: auxiliary loss, and distillation from `teacher`."""
    output = model.outputs(images)
    loss = criterion(output.logits, labels)
    extra = model.method.auxiliary_loss(output.auxiliary, labels, criterion)
    loss = loss if extra is None else loss + extra
    if teacher is None:
        return loss
    with torch.no_grad():
        reference = teacher.outputs(images)
    return loss + model.method.distillation_loss(output, reference)


@torch.inference_mode()
def predicted(model: nn.Module, examples: Examples) -> NDArray[np.int64]:
    """The class with the highest logit of every image, (images,)."""
    model.eval()
    batches = torch.from_numpy(examples.pixels).split(EVALUATION_BATCH)
    found: NDArray[np.int64] = torch.cat([model(to_input(batch)).argmax(1) for batch in batches]).numpy()
    return found
