"""A reduced model as mmsegmentation knows models, a segmentor with its losses, and its scores without rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import suite.tasks.segmentation.engine  # noqa: F401  (before mmsegmentation, see there)

# isort: split
import torch
from mmengine.config import ConfigDict
from mmseg.evaluation.metrics import IoUMetric
from mmseg.models import BaseSegmentor, EncoderDecoder, SegDataPreProcessor
from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor
from torch.nn import functional as F

from suite.data.labels import IGNORED, patch_labels
from suite.reduction.model import ReducedModel
from suite.tasks.loop import precise
from suite.tasks.segmentation.data import SegmentationData
from suite.tasks.segmentation.pixels import PixelModel, check_readable
from suite.tasks.task import Images

CENTRE = (127.5, 127.5, 127.5)  # mean and deviation of a channel, so that bytes become numbers from -1 to 1


class ReducedSegmentor(EncoderDecoder):  # type: ignore[misc]
    """What `PixelModel` computes, in one shot or in sliding windows, and its loss with what the method adds.

    It predicts in `precision`; that of the loss is the optimizer's business.
    """

    align_corners = False

    def __init__(self, model: ReducedModel, precision: str, preprocessor: SegDataPreProcessor, windows: ConfigDict):
        BaseSegmentor.__init__(self, preprocessor)
        self.pixels, self.precision, self.test_cfg = PixelModel(model), precision, windows
        self.criterion = CrossEntropyLoss(avg_non_ignore=True)
        self.out_channels = model.backbone.head.out_features

    def encode_decode(self, inputs: Tensor, _metas: Any = None) -> Tensor:
        """Logits, (B, classes, height, width), of images, (B, 3, height, width)."""
        logits: Tensor = self.pixels(inputs)
        return logits

    def predict(self, inputs: Tensor, data_samples: list[Any] | None = None) -> list[Any]:
        """Data samples with logits and labels for every pixel of the images as they were."""
        with precise(self, self.precision):
            found: list[Any] = super().predict(inputs, data_samples)
        return found

    def loss(self, inputs: Tensor, data_samples: list[Any]) -> dict[str, Tensor]:
        """Mean cross entropy over labelled pixels, and the method's auxiliary loss on labels of patches."""
        output, method = self.pixels.outputs(inputs), self.pixels.reduced.method
        labels = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples])
        losses = {"decode.loss": self.criterion(output.logits, labels, ignore_index=IGNORED)}
        extra = method.auxiliary_loss(output.auxiliary, patch_labels(labels, method.context.grid), patch_loss)
        return losses if extra is None else losses | {"auxiliary.loss": extra}


def patch_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy over labelled patches; 0, and not a number, if there are none."""
    total = F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="sum")
    return total / (target != IGNORED).sum().clamp(min=1)


def build_segmentor(model: ReducedModel, data: SegmentationData, precision: str = "float32") -> ReducedSegmentor:
    """Put a reduced model under mmsegmentation, for data whose images are padded to the size it takes.

    Images are padded on the right and at the bottom, with zeros after normalisation and labels to ignore, and
    predictions are cut back.

    Raises:
        TypeError: for a backbone without one linear head.
        ValueError: if the model does not fit the data.
    """
    check_model(model, data)
    size = tuple(model.backbone.patch_embed.img_size)
    preprocessor = SegDataPreProcessor(
        CENTRE,
        CENTRE,
        size=size,
        pad_val=0,
        seg_pad_val=IGNORED,
        bgr_to_rgb=data.blue_first,
        test_cfg={"size": size},
    )
    mode = "whole" if data.stride is None else "slide"
    windows = ConfigDict(mode=mode, crop_size=size, stride=(data.stride,) * 2)
    segmentor = ReducedSegmentor(model, precision, preprocessor, windows)
    segmentor.to(next(model.parameters()).device)  # where images will go
    return segmentor


def check_model(model: ReducedModel, data: SegmentationData) -> None:
    """Refuse a model that cannot segment these data.

    Raises:
        TypeError, ValueError: with what was found and what would work.
    """
    backbone, settings = model.backbone, model.method.settings
    check_readable(backbone)
    if backbone.head.out_features != len(data.classes):
        raise ValueError(
            f"the backbone's head has {backbone.head.out_features} classes but the data have {len(data.classes)}; "
            f"build it with num_classes={len(data.classes)}"
        )
    if settings.learns_from_teacher():
        raise ValueError(
            f"{type(model.method).__name__} would learn from the unpruned model, which segmentation does not offer; "
            "turn its distillation off"
        )
    size = tuple(backbone.patch_embed.img_size)
    if any(found > side for found, side in zip(data.largest, size, strict=True)):
        raise ValueError(
            f"the data have images of up to {data.largest[0]} x {data.largest[1]} pixels but the model takes "
            f"{size[0]} x {size[1]}; smaller images are padded, larger ones need a model built for them"
        )


@dataclass(frozen=True)
class Scores:
    """What one pass over the validation set gave, in percent and unrounded.

    Attributes:
        miou: mean of `iou` over the classes that have one.
        macc: mean over labelled classes of the share of their pixels that were found.
        aacc: share of all labelled pixels that were found.
        iou: intersection over union of each class; None for a class that was neither labelled nor predicted.
        images: `intersection` and `union` of each class in each image, in pixels, (images, classes).
    """

    miou: float
    macc: float
    aacc: float
    iou: tuple[float | None, ...]
    images: Images = field(default_factory=dict)


class ExactIoU(IoUMetric):  # type: ignore[misc]
    """IoU summed over all images; mmsegmentation's own rounds means to two decimals and drops the classes.

    Its counts are 32-bit floats, exact within one image only; they are summed here in 64 bits.
    """

    default_prefix = "validation"

    def compute_metrics(self, results: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]) -> dict[str, Any]:
        """Sum the areas of all images and turn them into `Scores`.

        Raises:
            ValueError: if no pixel of the validation set is labelled.
        """
        areas = [torch.stack(area).double().sum(0) for area in zip(*results, strict=True)]
        if not areas[-1].sum():
            raise ValueError(f"no pixel of the {len(results)} validation images is labelled, all are {IGNORED}")
        found = {name: 100 * value for name, value in self.total_area_to_metrics(*areas).items()}
        iou = tuple(None if math.isnan(value) else float(value) for value in found["IoU"])
        means = (_mean(found["IoU"]), _mean(found["Acc"]), float(found["aAcc"]))
        intersection, union = (torch.stack(area).int().numpy() for area in list(zip(*results, strict=True))[:2])
        return {"scores": Scores(*means, iou, {"intersection": intersection, "union": union})}


def _mean(values: Sequence[float]) -> float:
    numbers = [float(value) for value in values if not math.isnan(value)]
    return math.fsum(numbers) / len(numbers)
