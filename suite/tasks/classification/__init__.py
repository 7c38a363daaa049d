"""Classification of images: any data set that offers `labels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from suite.tasks.recipe import TrainingRecipe
from suite.tasks.task import Epoch, Images, Metric, Task, Training, itself

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from suite.data.dataset import DataSet
    from suite.reduction.model import ReducedModel


def _train(model: ReducedModel, training: Training) -> Sequence[Epoch]:
    from suite.tasks.classification.train import train

    data, epochs = training.data, list[Epoch]()
    for epoch in train(model, data.open("train"), data.open("validation"), training.recipe, training.seed):
        epochs.append(epoch)
        training.report(epoch)
    return epochs


def _predict(model: ReducedModel, images: Tensor, _size: tuple[int, int]) -> list[Any]:
    """The number of the class."""
    classes: list[Any] = model(images).argmax(1).tolist()
    return classes


def _examples(data: DataSet, count: int) -> tuple[list[np.ndarray[Any, Any]], None]:
    return list(data.open("validation").pixels[:count]), None


def _check_recipe(recipe: TrainingRecipe) -> None:
    if (recipe.device, recipe.precision) != ("cpu", "float32"):
        raise ValueError(f"classification trains on cpu in float32 so far, found {recipe.device}, {recipe.precision}")


def _right(images: Images) -> np.ndarray[Any, Any]:
    return images["predicted"] == images["label"]  # type: ignore[no-any-return]


def _rescore(images: Images, weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Top-1 accuracy in percent."""
    return 100 * (weights @ _right(images)) / weights.sum(1)  # type: ignore[no-any-return]


TASK = Task(
    name="classification",
    target="labels",
    metrics=(Metric("acc1", "top-1 accuracy", "acc.", note="Accuracy: top-1 of the last epoch"),),
    train=_train,
    read_out=itself,
    read_out_unpruned=itself,
    predict=_predict,
    examples=_examples,
    check_recipe=_check_recipe,
    rescore=_rescore,
    right=_right,
)
