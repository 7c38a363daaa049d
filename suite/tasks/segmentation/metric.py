"""mmsegmentation's IoU metric, with values instead of rounded lines in a log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import suite.tasks.segmentation.engine  # noqa: F401  (before mmsegmentation, see there)

# isort: split
import torch
from mmseg.evaluation.metrics import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from suite.data.labels import IGNORED
from suite.tasks.task import Images


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


@METRICS.register_module()
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
