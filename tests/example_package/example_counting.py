"""A task of another package: how many there are of something, a regression with a score of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from suite.tasks.task import Epoch, Metric, Task, Training

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from suite.data.dataset import DataSet, Examples
    from suite.reduction.model import ReducedModel


def train(model: ReducedModel, training: Training) -> Sequence[Epoch]:
    """Mean squared error of the count; methods with an auxiliary loss learn it from the count, too."""
    import torch

    from suite.reduction.schedule import curriculum
    from suite.tasks.loop import check_finite, clip, data_order, optimizer_for, to_input

    recipe, data = training.recipe, training.data.open("train")
    images, counts = torch.from_numpy(data.pixels), torch.from_numpy(data.targets["counts"])
    updates = -(-len(counts) // recipe.batch_size)
    optimizer, scheduler = optimizer_for(model, recipe, updates)
    order, full, epochs = data_order("counting", training.seed), model.method.context.schedule.removed, list[Epoch]()
    for epoch in range(recipe.epochs):
        model.train()
        model.method.counts = curriculum(full, epoch, recipe.epochs, recipe.curriculum)
        losses = []
        for update, batch in enumerate(torch.randperm(len(counts), generator=order).split(recipe.batch_size)):
            scheduler.step_update(epoch * updates + update)
            output = model.outputs(to_input(images[batch]))
            loss = squared(output.logits, counts[batch])
            extra = model.method.auxiliary_loss(output.auxiliary, counts[batch], squared)
            loss = loss if extra is None else loss + extra
            check_finite(loss, epoch, update, optimizer)
            optimizer.zero_grad()
            loss.backward()
            clip(model, recipe.clip_gradient)
            optimizer.step()
            losses.append(loss.item())
        scores = {"right": right(model, training.data.open("validation"))}
        epochs.append(Epoch(epoch, sum(losses) / len(losses), optimizer.param_groups[0]["lr"], scores))
        training.report(epochs[-1])
    return epochs


def squared(outputs: Tensor, counts: Tensor) -> Tensor:
    """Mean squared error of outputs, (B, 1)."""
    return (outputs.squeeze(-1) - counts).square().mean()


def right(model: ReducedModel, examples: Examples) -> float:
    """Percentage of images whose count is right, rounded."""
    import torch

    from suite.tasks.loop import to_input

    model.eval()
    with torch.inference_mode():
        found = model(to_input(torch.from_numpy(examples.pixels))).squeeze(1).round()
    return 100 * float((found == torch.from_numpy(examples.targets["counts"])).float().mean())


def predict(model: ReducedModel, images: Tensor, _size: tuple[int, int]) -> list[Any]:
    """The count."""
    counts: list[Any] = model(images).squeeze(1).tolist()
    return counts


def itself(model: nn.Module) -> nn.Module:
    """What is timed: the model."""
    return model


def examples(data: DataSet, count: int) -> tuple[list[np.ndarray[Any, Any]], None]:
    """The first images, without label maps."""
    return list(data.open("validation").pixels[:count]), None


TASK = Task(
    name="counting",
    target="counts",
    metrics=(Metric("right", "right counts", "right", note="Right: share of images whose rounded count is right"),),
    train=train,
    read_out=itself,
    read_out_unpruned=itself,
    predict=predict,
    examples=examples,
    outputs=lambda _task, _data: 1,
    usual_outputs=1,
)
