"""Data sets that offer `maps` as mmsegmentation's: from memory, as they are, or from files, augmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import suite.tasks.segmentation.engine  # noqa: F401  (before mmsegmentation, see there)

# isort: split
import numpy as np
from mmcv.image import imresize
from mmcv.transforms import BaseTransform, LoadImageFromFile, RandomResize
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import (
    LoadAnnotations,
    LoadImageFromNDArray,
    PackSegInputs,
    PhotoMetricDistortion,
    RandomCrop,
    RandomFlip,
    Resize,
)

from suite.data.dataset import SPLITS, Augmentation, DataSet, Examples
from suite.data.labels import IGNORED, check_labels, mask_shape
from suite.errors import UserError
from suite.seeds import drawn

TARGET = "maps"
BATCH = 100  # images at a time in evaluation, where all have one size


@dataclass(frozen=True)
class SegmentationData:
    """Data sets to train and validate on, and how their images become a model's input.

    Attributes:
        train, validation: mmsegmentation data sets.
        classes: names of the classes, in the order of their numbers.
        largest: largest height and width of an image after its transforms, or of a window.
        batch_size: of the validation; above 1 only if all images have one size.
        blue_first: whether images come as mmcv reads them, with their channels in the order blue, green, red.
        stride: of sliding windows in evaluation, in pixels; None for one shot.
    """

    train: BaseSegDataset
    validation: BaseSegDataset
    classes: tuple[str, ...]
    largest: tuple[int, int]
    batch_size: int
    blue_first: bool
    stride: int | None = None


class MapDataset(BaseSegDataset):  # type: ignore[misc]
    """Images with label maps, from memory or from files."""

    def __init__(self, examples: Examples, names: tuple[str, ...], unlabelled_zero: bool = False, **options: Any):
        self.examples = examples
        self.drawn: tuple[int, int] | None = None  # seed and epoch, of which draws depend besides the image
        options |= {"serialize_data": examples.in_files, "reduce_zero_label": unlabelled_zero}
        super().__init__(metainfo={"classes": names}, **options)

    def prepare_data(self, index: int) -> Any:
        """An image with its labels after all transforms."""
        if self.drawn is None:
            return super().prepare_data(index)
        with drawn("augmentation", *self.drawn, index):
            return super().prepare_data(index)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Pixels, (height, width, 3), and labels, (height, width), of every image, as views; or both files."""
        pairs = zip(self.examples.images, self.examples.targets[TARGET], strict=True)
        if self.examples.in_files:
            shared = {"label_map": None, "reduce_zero_label": self.reduce_zero_label, "seg_fields": []}
            return [{"img_path": str(image), "seg_map_path": str(mask), **shared} for image, mask in pairs]
        return [
            {"img": image.transpose(1, 2, 0), "gt_seg_map": labels, "seg_fields": ["gt_seg_map"]}
            for image, labels in pairs
        ]


class CheckLabels(BaseTransform):  # type: ignore[misc]
    """Refuse a label map with numbers that are no class: the metric would leave them out without a word."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Look at the labels and pass everything on.

        Raises:
            UserError: naming the file.
        """
        shape, wanted = results["gt_seg_map"].shape, tuple(results["ori_shape"][:2])
        if shape != wanted:
            raise UserError(mask_shape(results["seg_map_path"], results["gt_seg_map"], wanted))
        check_labels(results["gt_seg_map"], self.classes, results["seg_map_path"])
        return results


def open_data(data: DataSet) -> SegmentationData:
    """What a study trains and validates on; images of many sizes are read, resized and augmented when they are needed.

    Raises:
        UserError: for data that are not there, or not in order; on reading, for a mask with labels that are no class.
    """
    names, how = data.class_names(TARGET), data.augmentation
    training, validation = (data.open(split) for split in SPLITS)
    if how is None:
        return in_memory(training, validation, names)
    train, evaluate = (build(how, len(names)) for build in (training_pipeline, validation_pipeline))
    return SegmentationData(
        train=MapDataset(training, names, data.UNLABELLED_ZERO, pipeline=train),
        validation=MapDataset(validation, names, data.UNLABELLED_ZERO, pipeline=evaluate, test_mode=True),
        classes=names,
        largest=(how.size, how.size),
        batch_size=1,
        blue_first=True,
        stride=how.stride,
    )


def first_images(data: SegmentationData, count: int) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """The first images of the validation set, (3, height, width), red first, with their labels, (height, width).

    As a model sees them: an image larger than the model takes is cut, and labels have the size of the image.
    """
    found = []
    for index in range(min(count, len(data.validation))):
        sample = data.validation[index]
        image, labels = sample["inputs"].numpy(), sample["data_samples"].gt_sem_seg.data[0].numpy()
        labels = imresize(labels.astype(np.uint8), image.shape[:0:-1], interpolation="nearest")
        height, width = data.largest
        found.append((image[:: -1 if data.blue_first else 1, :height, :width], labels[:height, :width]))
    return found


def in_memory(training: Examples, validation: Examples, names: tuple[str, ...]) -> SegmentationData:
    """Images that are used as they are.

    Raises:
        UserError: for labels that are no class.
    """
    for name, split in (("training", training), ("validation", validation)):
        check_labels(split.targets[TARGET], len(names), f"the {name} images")
    shapes = [split.pixels.shape[2:] for split in (training, validation)]
    as_they_are = [{"type": LoadImageFromNDArray}, {"type": PackSegInputs}]
    return SegmentationData(
        train=MapDataset(training, names, pipeline=as_they_are),
        validation=MapDataset(validation, names, pipeline=as_they_are, test_mode=True),
        classes=names,
        largest=(max(height for height, _ in shapes), max(width for _, width in shapes)),
        batch_size=BATCH,
        blue_first=False,
    )


def training_pipeline(augmentation: Augmentation, classes: int) -> list[dict[str, Any]]:
    """Transforms of a training image, in order, as configurations."""
    size = (augmentation.size, augmentation.size)
    return [
        {"type": LoadImageFromFile},
        {"type": LoadAnnotations},
        {"type": CheckLabels, "classes": classes},
        {
            "type": RandomResize,
            "scale": size,  # the most that a long side may have, so it is the long side that is scaled
            "ratio_range": augmentation.scale,
            "resize_type": Resize,
            "keep_ratio": True,
        },
        {"type": RandomCrop, "crop_size": size, "cat_max_ratio": augmentation.largest_class, "ignore_index": IGNORED},
        {"type": RandomFlip, "prob": 0.5},
        {"type": PhotoMetricDistortion},
        {"type": PackSegInputs},
    ]


def validation_pipeline(augmentation: Augmentation, classes: int) -> list[dict[str, Any]]:
    """Transforms of a validation image, in order; its labels keep their size."""
    size = augmentation.size
    scale = (size, size) if augmentation.stride is None else (4 * size, size)  # of sides; windows: of the short one
    return [
        {"type": LoadImageFromFile},
        {"type": Resize, "scale": scale, "keep_ratio": True},
        {"type": LoadAnnotations},
        {"type": CheckLabels, "classes": classes},
        {"type": PackSegInputs},
    ]
