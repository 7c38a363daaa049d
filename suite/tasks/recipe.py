"""How a model is trained; checked before anything heavy is imported."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from suite.reduction.schedule import Curriculum
from suite.strict import Strict


class TrainingRecipe(Strict):
    """Training of one cell.

    AdamW; the learning rate rises linearly over `warmup_epochs` and falls along a cosine to `min_learning_rate`,
    stepped at every update. `method_learning_rate` is that of parameters which the backbone does not have, such as
    Cropr's queries and auxiliary heads or a fusion's attention, if it is another; it follows the same curve in
    proportion, and AdamW's decay, which is the rate times `weight_decay`, with it. `layer_decay` is the factor of the
    rate from a block to the one below, while what the backbone does not have keeps the whole rate. An epoch sees every
    training image once, or only the first `images` of them. `drop_path` rises linearly over the blocks. `curriculum`
    says how the schedule's counts rise over the first half of the epochs: not at all, `linear`ly from nothing, or by
    Cropr's `official` rule for segmentation. `threads` is part of it because 1 and 2 threads end in different bits. So
    are `device` (on cuda two runs of one seed end in different bits, too) and `precision`, below float32 by autocast
    and for float16 with scaled gradients.
    """

    LATER: ClassVar = frozenset({"method_learning_rate", "layer_decay"})  # no part of ids of cells that do not say them

    epochs: int = Field(ge=1, le=100_000)
    images: int | None = Field(None, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(gt=0)
    min_learning_rate: float = Field(1e-6, ge=0)
    method_learning_rate: float | None = Field(None, gt=0)
    layer_decay: float | None = Field(None, gt=0, le=1)
    weight_decay: float = Field(0.05, ge=0)
    warmup_epochs: float = Field(0.0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    drop_path: float = Field(0.0, ge=0, lt=1)
    curriculum: Curriculum = "none"
    clip_gradient: float | None = Field(None, gt=0)
    threads: int = Field(1, ge=1, le=1024)
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    @model_validator(mode="after")
    def _warmup_ends(self) -> "TrainingRecipe":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs must be less than the {self.epochs} epochs, found {self.warmup_epochs}")
        return self
