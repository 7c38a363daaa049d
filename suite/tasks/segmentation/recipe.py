"""How a segmentation model is trained; checked before anything heavy is imported."""

from typing import Literal

from pydantic import Field, model_validator

from suite.tasks.recipe import TrainingRecipe


class SegmentationRecipe(TrainingRecipe):
    """Training of one segmentation cell.

    As `TrainingRecipe`, but the learning rate falls along `decay`, a cosine or (1 - t)^0.9, and `drop_path` is 0 in the
    last block, both as in Cropr's official recipe. `workers` are processes that load images beside the training; 0
    loads them in between.
    """

    decay: Literal["cosine", "polynomial"] = "cosine"
    workers: int = Field(0, ge=0, le=256)

    @model_validator(mode="after")
    def _labels_stay_hard(self) -> "SegmentationRecipe":
        if self.label_smoothing:
            raise ValueError(f"segmentation has no label smoothing, found label_smoothing {self.label_smoothing}")
        return self
