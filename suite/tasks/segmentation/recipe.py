"""How a segmentation model is trained, and on what; checked before anything heavy is imported."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from suite.strict import Strict
from suite.tasks.recipe import TrainingRecipe


class SegmentationRecipe(TrainingRecipe):
    """Training of one segmentation cell.

    As `TrainingRecipe`, but the learning rate falls along `decay`: a cosine, or (1 - t)^0.9 as in Cropr's official
    recipe. `workers` are processes that load images beside the training; 0 loads them in between.
    """

    decay: Literal["cosine", "polynomial"] = "cosine"
    workers: int = Field(0, ge=0, le=256)

    @model_validator(mode="after")
    def _labels_stay_hard(self) -> "SegmentationRecipe":
        if self.label_smoothing:
            raise ValueError(f"segmentation has no label smoothing, found label_smoothing {self.label_smoothing}")
        return self


class Ade20k(Strict):
    """ADE20k as mmsegmentation lays it out: `images` and `annotations`, each with `training` and `validation`.

    The augmentation is that of Cropr's official recipe (github benbergner/cropr, segm/): resize by `scale` of a short
    side of `size` pixels, crop `size` pixels with no class on more than `largest_class` of them, flip every second
    image, distort colours. Evaluation is in one shot, with the long side resized to `size`. With a `stride` it is by
    sliding windows of `size` pixels over an image whose short side is `size`, as is common elsewhere: other numbers,
    that do not compare with those of one shot.
    """

    recipe: Literal["ade20k"]
    folder: Path
    size: int = Field(512, ge=8)
    scale: tuple[float, float] = (0.5, 2.0)
    largest_class: float = Field(0.75, gt=0, le=1)
    stride: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _scale_rises(self) -> "Ade20k":
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must rise from a number above 0, found {list(self.scale)}")
        return self

    @model_validator(mode="after")
    def _windows_leave_no_gap(self) -> "Ade20k":
        if self.stride is not None and self.stride > self.size:
            raise ValueError(f"stride must be at most the size of a window, {self.size} pixels, found {self.stride}")
        return self
