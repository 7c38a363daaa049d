"""Counting: a regression, scored by its mean absolute error, in digits; with a minus sign, for higher is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from suite.tasks.task import Epoch, Metric, Task, Training

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from suite.data.dataset import DataSet, Examples
    from suite.reduction.model import ReducedModel


NOTE = "Score: negative mean absolute error in the last epoch"


def train(model: ReducedModel, training: Training) -> Sequence[Epoch]:
    """Train with the squared error, the method's auxiliary loss included."""
    import torch

    from suite.reduction.schedule import curriculum
    from suite.tasks.loop import check_finite, clip, data_order, optimizer_for, to_input

    recipe, opened, scored = training.recipe, training.data.open("train"), training.data.open("validation")
    images, counts = torch.from_numpy(opened.pixels), torch.from_numpy(opened.targets["count"])
    optimizer, scheduler = optimizer_for(model, recipe, math.ceil(len(counts) / recipe.batch_size))
    order, full = data_order("counting", training.seed), model.method.context.schedule.removed
    done, epochs = 0, list[Epoch]()
    for epoch in range(recipe.epochs):
        model.train()
        model.method.counts = curriculum(full, epoch, recipe.epochs, recipe.curriculum)
        total = 0.0
        for batch in torch.randperm(len(counts), generator=order).split(recipe.batch_size):
            scheduler.step_update(done)
            output = model.outputs(to_input(images[batch]))
            loss = squared_error(output.logits, counts[batch])
            extra = model.method.auxiliary_loss(output.auxiliary, counts[batch], squared_error)
            loss = loss if extra is None else loss + extra
            check_finite(loss, epoch, done, optimizer)
            optimizer.zero_grad()
            loss.backward()
            clip(model, recipe.clip_gradient)
            optimizer.step()
            total, done = total + loss.item() * len(batch), done + 1
        scores = {"minus_error": minus_error(model, scored)}
        epochs.append(Epoch(epoch, total / len(counts), optimizer.param_groups[0]["lr"], scores))
        training.report(epochs[-1])
    return epochs


def squared_error(predicted: Tensor, counts: Tensor) -> Tensor:
    """Mean squared error of predictions, (B, 1), for numbers, (B,)."""
    return (predicted.squeeze(-1) - counts).square().mean()


def minus_error(model: nn.Module, examples: Examples) -> float:
    """Mean absolute error of the predicted counts, with a minus sign."""
    import torch

    from suite.tasks.loop import to_input

    model.eval()
    counts = torch.from_numpy(examples.targets["count"])
    with torch.inference_mode():
        predicted = model(to_input(torch.from_numpy(examples.pixels))).squeeze(-1)
    return -float((predicted - counts).abs().mean())


def _itself(model: nn.Module) -> nn.Module:
    return model


def _predict(model: ReducedModel, images: Tensor, _size: tuple[int, int]) -> list[Any]:
    return [round(number, 1) for number in model(images).squeeze(-1).tolist()]


def _examples(data: DataSet, count: int) -> tuple[list[np.ndarray[Any, Any]], None]:
    return list(data.open("validation").pixels[:count]), None


TASK = Task(
    name="counting",
    target="count",
    metrics=(
        Metric(
            "minus_error",
            "negative mean absolute error",
            "−MAE",
            unit="digits",
            note=NOTE,
            limits=(-math.inf, 0),
            decimals=2,
        ),
    ),
    train=train,
    read_out=_itself,
    read_out_unpruned=_itself,
    predict=_predict,
    examples=_examples,
    outputs=lambda _task, _data: 1,
)
