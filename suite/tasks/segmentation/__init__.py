"""Semantic segmentation of any data set that offers `maps`: mmsegmentation's data, losses and metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from suite.reduction.settings import Fusion, MethodSettings
from suite.tasks.segmentation.recipe import SegmentationRecipe
from suite.tasks.task import Epoch, Images, Metric, Task, Training

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from suite.data.dataset import DataSet
    from suite.reduction.attention import TimmModule
    from suite.reduction.model import ReducedModel


def _train(model: ReducedModel, training: Training) -> Sequence[Epoch]:
    from suite.tasks.segmentation.data import open_data
    from suite.tasks.segmentation.train import train

    data = open_data(training.data)

    def report(epoch: Epoch) -> None:
        training.scored(model, epoch)
        training.report(epoch)

    return train(model, data, training.recipe, training.seed, report, training.scratch, training.saved)


def _read_out(model: ReducedModel) -> nn.Module:
    from suite.tasks.segmentation.pixels import PixelModel

    return PixelModel(model)


def _read_out_unpruned(backbone: TimmModule) -> nn.Module:
    from suite.tasks.segmentation.pixels import UnprunedPixels

    return UnprunedPixels(backbone)


def _predict(model: ReducedModel, images: Tensor, size: tuple[int, int]) -> list[Any]:
    """The label map as a PNG in base64."""
    import torch

    from suite.data.labels import encode

    maps = _read_out(model)(images).argmax(1).to(torch.uint8).numpy()
    return [encode(labels[: size[0], : size[1]]) for labels in maps]


def _examples(data: DataSet, count: int) -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
    from suite.tasks.segmentation.data import first_images, open_data

    found = first_images(open_data(data), count)
    return [image for image, _ in found], [labels for _, labels in found]


def _prepare(backbone: TimmModule) -> None:
    from suite.reduction.blocks import drop_no_path

    drop_no_path(backbone.blocks[-1])


def _check_backbone(backbone: TimmModule) -> None:
    from suite.tasks.segmentation.pixels import check_readable

    check_readable(backbone)


def _check_method(settings: MethodSettings, patches: int) -> None:
    settings.check_dense(patches)
    if settings.learns_from_teacher():
        raise ValueError("segmentation has no teacher to learn from; leave distillation out")


def _rescore(images: Images, weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mean IoU in percent, over the classes that are labelled or predicted in the weighted images."""
    import numpy as np

    intersection, union = weights @ images["intersection"], weights @ images["union"]
    found = union > 0
    iou = np.divide(intersection, union, out=np.zeros(union.shape), where=found)
    return 100 * iou.sum(1) / found.sum(1)  # type: ignore[no-any-return]


TASK = Task(
    name="segmentation",
    target="maps",
    dense=True,
    metrics=(
        Metric(
            "miou",
            "mIoU",
            "mIoU",
            note="mIoU: mean over the classes of the last epoch's intersection over union",
        ),
        Metric("macc", "mean accuracy of classes", "mAcc"),
        Metric("aacc", "accuracy of all pixels", "aAcc"),
    ),
    train=_train,
    read_out=_read_out,
    read_out_unpruned=_read_out_unpruned,
    predict=_predict,
    examples=_examples,
    recipe=SegmentationRecipe,
    parts="iou_",
    part_score="IoU",
    fusions=get_args(Fusion),
    usual_outputs=150,  # of ADE20k
    whole_patches=True,
    prepare=_prepare,
    check_backbone=_check_backbone,
    check_method=_check_method,
    rescore=_rescore,
)
