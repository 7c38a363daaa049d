"""Segmentation data as mmsegmentation's datasets: digit-scenes from memory, ADE20k from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import suite.tasks.segmentation.engine  # noqa: F401  (before mmsegmentation, see there)

# isort: split
import numpy as np
from mmcv.image import imresize
from mmcv.transforms import BaseTransform, LoadImageFromFile, RandomResize
from mmseg.datasets import ADE20KDataset, BaseSegDataset
from mmseg.datasets.transforms import (
    LoadAnnotations,
    LoadImageFromNDArray,
    PackSegInputs,
    PhotoMetricDistortion,
    RandomCrop,
    RandomFlip,
    Resize,
)
from mmseg.registry import DATASETS, TRANSFORMS

from suite.data.ade20k import check_pairs, mask_shape
from suite.data.labels import IGNORED, check_labels
from suite.data.recipe import Ade20k, DigitScenes
from suite.data.scenes import BACKGROUND, Scenes, make_scenes
from suite.errors import UserError

SCENE_CLASSES = (*map(str, range(BACKGROUND)), "background")
SCENE_COLOURS = (  # ten that differ, and a dark one
    *((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189)),
    *((140, 86, 75), (227, 119, 194), (127, 127, 127), (188, 189, 34), (23, 190, 207)),
    (38, 38, 38),
)
SCENE_BATCH = 100
ADE20K_CLASSES = tuple(name.strip() for name in ADE20KDataset.METAINFO["classes"])  # 150
CENTRE = (127.5, 127.5, 127.5)  # bytes become numbers from -1 to 1


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
        mean, deviation: of a channel.
    """

    train: BaseSegDataset
    validation: BaseSegDataset
    classes: tuple[str, ...]
    largest: tuple[int, int]
    batch_size: int
    blue_first: bool
    stride: int | None = None
    mean: tuple[float, ...] = CENTRE
    deviation: tuple[float, ...] = CENTRE


@DATASETS.register_module()
class SceneDataset(BaseSegDataset):  # type: ignore[misc]
    """Digit scenes, from memory, as they are."""

    METAINFO = {"classes": SCENE_CLASSES, "palette": SCENE_COLOURS}

    def __init__(self, scenes: Scenes, **options: Any) -> None:
        self.scenes = scenes
        super().__init__(pipeline=SCENE_PIPELINE, serialize_data=False, **options)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Pixels, (height, width, 3), and labels, (height, width), of every scene; views, not copies."""
        return [
            {"img": image.transpose(1, 2, 0), "gt_seg_map": labels, "seg_fields": ["gt_seg_map"]}
            for image, labels in zip(self.scenes.images, self.scenes.label_maps, strict=True)
        ]


@TRANSFORMS.register_module()
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


SCENE_PIPELINE = [{"type": LoadImageFromNDArray}, {"type": PackSegInputs}]


def open_data(recipe: DigitScenes | Ade20k) -> SegmentationData:
    """What a study trains and validates on.

    Raises:
        UserError: for data that are not there, or not in order.
    """
    if isinstance(recipe, Ade20k):
        return open_ade20k(recipe)
    return open_scenes(make_scenes(recipe, "train"), make_scenes(recipe, "validation"))


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


def open_scenes(scenes: Scenes, validation: Scenes) -> SegmentationData:
    """Digit scenes of both splits, 11 classes with the background.

    Raises:
        UserError: for labels that are no class.
    """
    for name, split in (("training", scenes), ("validation", validation)):
        check_labels(split.label_maps, len(SCENE_CLASSES), f"the {name} scenes")
    shapes = [split.images.shape[2:] for split in (scenes, validation)]
    largest = max(height for height, _ in shapes), max(width for _, width in shapes)
    return SegmentationData(
        train=SceneDataset(scenes),
        validation=SceneDataset(validation, test_mode=True),
        classes=SCENE_CLASSES,
        largest=largest,
        batch_size=SCENE_BATCH,
        blue_first=False,
    )


def open_ade20k(recipe: Ade20k) -> SegmentationData:
    """ADE20k's folder, 150 classes; label 0 is what is not labelled, and class 0 is label 1.

    Raises:
        UserError: if images or masks are missing; on reading, for a mask with other labels.
    """
    for split in recipe.SPLITS:
        check_pairs(recipe.folder, split)
    return SegmentationData(
        train=_ade20k(recipe, "training", training_pipeline(recipe)),
        validation=_ade20k(recipe, "validation", validation_pipeline(recipe)),
        classes=ADE20K_CLASSES,
        largest=(recipe.size, recipe.size),
        batch_size=1,
        blue_first=True,
        stride=recipe.stride,
    )


def _ade20k(recipe: Ade20k, split: str, pipeline: list[dict[str, Any]]) -> ADE20KDataset:
    prefix = {"img_path": f"images/{split}", "img_path2": "", "seg_map_path": f"annotations/{split}"}
    test_mode = split == "validation"
    return ADE20KDataset(data_root=str(recipe.folder), data_prefix=prefix, pipeline=pipeline, test_mode=test_mode)


def training_pipeline(recipe: Ade20k) -> list[dict[str, Any]]:
    """Transforms of a training image, in order, as configurations."""
    size = (recipe.size, recipe.size)
    return [
        {"type": LoadImageFromFile},
        {"type": LoadAnnotations},
        {"type": CheckLabels, "classes": len(ADE20K_CLASSES)},
        {
            "type": RandomResize,
            "scale": size,  # the most that a long side may have, so it is the long side that is scaled
            "ratio_range": recipe.scale,
            "resize_type": Resize,
            "keep_ratio": True,
        },
        {"type": RandomCrop, "crop_size": size, "cat_max_ratio": recipe.largest_class, "ignore_index": IGNORED},
        {"type": RandomFlip, "prob": 0.5},
        {"type": PhotoMetricDistortion},
        {"type": PackSegInputs},
    ]


def validation_pipeline(recipe: Ade20k) -> list[dict[str, Any]]:
    """Transforms of a validation image, in order; its labels keep their size."""
    scale = (recipe.size, recipe.size) if recipe.stride is None else _short_side(recipe.size)
    return [
        {"type": LoadImageFromFile},
        {"type": Resize, "scale": scale, "keep_ratio": True},
        {"type": LoadAnnotations},
        {"type": CheckLabels, "classes": len(ADE20K_CLASSES)},
        {"type": PackSegInputs},
    ]


def _short_side(size: int) -> tuple[int, int]:
    """Scale that makes the short side of an image `size` pixels, unless its long side is four times as long."""
    return 4 * size, size
