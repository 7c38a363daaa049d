"""Image classification: train a reduced model, and count how often it is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2

from suite.data.scenes import Scenes
from suite.reduction.model import ReducedModel
from suite.reduction.schedule import curriculum
from suite.seeds import seed_for
from suite.tasks.recipe import TrainingRecipe
from suite.tasks.stability import check_finite, check_weights, clip

EVALUATION_BATCH = 250


@dataclass(frozen=True)
class Epoch:
    """What one epoch left behind: mean training loss, validation accuracy in percent, learning rate at its end."""

    epoch: int
    loss: float
    acc1: float
    learning_rate: float


def to_input(images: Tensor) -> Tensor:
    """Turn bytes, (B, 3, height, width), into floats from -1 to 1."""
    return images.float().div_(127.5).sub_(1)


def train(
    model: ReducedModel, scenes: Scenes, validation: Scenes, recipe: TrainingRecipe, seed: int
) -> Iterator[Epoch]:
    """Train, and yield after every epoch.

    The order of the data depends on `seed` alone; drop path and random methods draw from torch's default generator.

    Raises:
        TrainingFailed: if the loss is not finite.
    """
    images = torch.from_numpy(scenes.images[: recipe.images])
    labels = torch.from_numpy(scenes.labels[: recipe.images])
    updates = math.ceil(len(labels) / recipe.batch_size)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=recipe.epochs - recipe.warmup_epochs,
        warmup_epochs=recipe.warmup_epochs,
        warmup_prefix=True,  # the cosine takes what the warm-up leaves
        warmup_lr=0.0,
        min_lr=recipe.min_learning_rate,
        step_on_epochs=False,
        updates_per_epoch=updates,
    )
    teacher = model.unpruned() if model.method.settings.learns_from_teacher() else None
    criterion = LabelSmoothingCrossEntropy(recipe.label_smoothing)
    order = torch.Generator().manual_seed(seed_for("data order", "classification", seed))
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
        yield Epoch(epoch, total / len(labels), accuracy(model, validation), optimizer.param_groups[0]["lr"])


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
def accuracy(model: nn.Module, scenes: Scenes) -> float:
    """Top-1 accuracy in percent."""
    model.eval()
    right = 0
    batches = zip(
        torch.from_numpy(scenes.images).split(EVALUATION_BATCH),
        torch.from_numpy(scenes.labels).split(EVALUATION_BATCH),
        strict=True,
    )
    for images, labels in batches:
        right += int((model(to_input(images)).argmax(1) == labels).sum())
    return 100 * right / len(scenes.labels)
