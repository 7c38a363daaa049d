"""Classification of images: any data set that offers `labels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from suite.tasks.classification.recipe import AUGMENTATION, ClassificationRecipe
from suite.tasks.task import Epoch, Images, Metric, Task, Training, itself

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from suite.data.dataset import DataSet
    from suite.reduction.model import ReducedModel


def _train(model: ReducedModel, training: Training) -> Sequence[Epoch]:
    from suite.tasks.classification.train import train

    return train(model, training)


def _predict(model: ReducedModel, images: Tensor, _size: tuple[int, int]) -> list[Any]:
    """The number of the class."""
    classes: list[Any] = model(images).argmax(1).tolist()
    return classes


def _examples(data: DataSet, count: int) -> tuple[list[np.ndarray[Any, Any]], None]:
    from suite.tasks.classification.loader import first_images

    return first_images(data, count), None


def _check_recipe(recipe: ClassificationRecipe, data: DataSet) -> None:
    said = [key for key in AUGMENTATION if getattr(recipe, key) != type(recipe).model_fields[key].default]
    if said and data.cropping is None:
        raise ValueError(
            f"{said[0]} augments images of any size (data: {{recipe: images, ...}}), and those of {data.recipe} are "
            "used as they are; leave it out"
        )
    count = min(filter(None, (data.count("train"), recipe.images)), default=0)
    if data.cropping is None and (last := count % recipe.batch_size):
        recipe.check_batch(last)


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
    recipe=ClassificationRecipe,
    check_recipe=_check_recipe,
    rescore=_rescore,
    right=_right,
)
