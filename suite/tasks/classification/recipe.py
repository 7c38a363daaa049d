"""How a classification model is trained; checked before anything heavy is imported."""

import re
from typing import ClassVar

from pydantic import Field, model_validator

from suite.tasks.recipe import TrainingRecipe

AUGMENTATION = ("crop_scale", "flip", "color_jitter", "auto_augment", "random_erasing")  # of each image

_NUMBER = r"\d+(\.\d+)?"
POLICIES = re.compile(  # as timm reads them
    rf"rand(-(m|n|mmax|inc)\d+|-(p|mstd){_NUMBER}|-t\w+)*|augmix(-(m|w|d|b)\d+|-(a|mstd){_NUMBER})*"
    rf"|(original|originalr|v0|v0r|3a)(-mstd{_NUMBER})*"
)


class ClassificationRecipe(TrainingRecipe):
    """Training of one classification cell.

    As `TrainingRecipe`, and for images of any size what timm's training script has, by its names where these are words:
    a crop of `crop_scale` of the area, resized bicubically; `flip`, the share of images that are mirrored;
    `color_jitter`; `auto_augment`, such as rand-m9-mstd0.5-inc1; `random_erasing`, the share of images with a rectangle
    of noise; `mixup` and `cutmix`, parameters of their beta distributions, of which `mixup_switch` is the share of
    cutmix where both are on; `ema`, the decay of averaged weights, which are scored and kept instead of the raw ones.
    Draws of an image depend on seed, epoch and image alone, those of mixing on seed, update and part. Images of any
    size leave an incomplete last batch out, as timm does. A batch is computed by `processes` processes (on cuda with a
    GPU each), by each in `accumulate` parts, whose gradients are added up; images are mixed within parts, and two
    processes draw as two parts of one do. `compile` has torch.compile compute the model in training. Without
    `drop_path_in_last_block` drop path is 0 there, as in Cropr's official recipe.
    """

    LATER: ClassVar = TrainingRecipe.LATER | {
        *AUGMENTATION,
        *("mixup", "cutmix", "mixup_switch", "ema"),
        *("accumulate", "processes", "compile", "drop_path_in_last_block"),
    }

    crop_scale: tuple[float, float] = (0.08, 1.0)
    flip: float = Field(0.5, ge=0, le=1)
    color_jitter: float = Field(0.0, ge=0, le=1)
    auto_augment: str | None = None
    random_erasing: float = Field(0.0, ge=0, le=1)
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    mixup_switch: float = Field(0.5, ge=0, le=1)
    ema: float | None = Field(None, gt=0, lt=1)
    accumulate: int = Field(1, ge=1)
    processes: int = Field(1, ge=1, le=1024)
    compile: bool = False
    drop_path_in_last_block: bool = True

    @property
    def parts(self) -> int:
        """Parts that a batch is computed in by all processes."""
        return self.accumulate * self.processes

    def check_batch(self, size: int) -> None:
        """Refuse a batch of so many images that cannot be computed in parts.

        Raises:
            ValueError: if a part has none, or mixing would leave an image of it without another.
        """
        smallest, rest = divmod(size, self.parts)
        if not smallest:
            raise ValueError(f"a batch of {size} images has no {self.parts} parts; change images or batch_size")
        if (self.mixup or self.cutmix) and (smallest % 2 or rest):
            raise ValueError(
                f"mixup and cutmix pair images up, so a batch of {size} images needs an even number in each part, and "
                f"it has {self.parts}; change images or batch_size"
            )

    @model_validator(mode="after")
    def _is_possible(self) -> "ClassificationRecipe":
        smallest, largest = self.crop_scale
        if not 0 < smallest <= largest <= 1:
            raise ValueError(f"crop_scale must rise from above 0 to 1 at most, found {list(self.crop_scale)}")
        if self.auto_augment is not None and not POLICIES.fullmatch(self.auto_augment):
            raise ValueError(
                f"auto_augment {self.auto_augment!r} is none of timm's, such as rand-m9-mstd0.5-inc1, augmix-m3, "
                "original, v0 or 3a"
            )
        if self.batch_size % self.parts:
            each = "accumulate" if self.processes == 1 else "processes times accumulate"
            raise ValueError(f"{each} must divide the batch size {self.batch_size}, found {self.parts}")
        self.check_batch(self.batch_size)
        return self
