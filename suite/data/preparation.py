"""How a picture of any size becomes a model's input, in training and in evaluation, by timm's transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from suite.data.pictures import read

if TYPE_CHECKING:
    from PIL.Image import Image

Prepare = Callable[[Any], Any]
POSTERIZE = ("Posterize", "PosterizeIncreasing", "PosterizeOriginal")  # as timm names its operations


@dataclass(frozen=True)
class Prepared:
    """Pictures as inputs of a model, (3, height, width), with the numbers of their classes, for torch's loaders."""

    pictures: Sequence[Any]
    labels: Sequence[int]
    prepare: Prepare

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.prepare(read(self.pictures[index])[0]), int(self.labels[index])


def statistics(normalisation: str) -> dict[str, Any]:
    """Mean and standard deviation of red, green and blue, 0 to 1, as timm's transforms call them."""
    import suite.torchvision_operators  # noqa: F401  (before timm, see there)

    # isort: split
    from timm.data import constants

    prefix = {"imagenet": "IMAGENET_DEFAULT", "inception": "IMAGENET_INCEPTION"}[normalisation]
    return {"mean": getattr(constants, f"{prefix}_MEAN"), "std": getattr(constants, f"{prefix}_STD")}


def for_evaluation(size: tuple[int, int], crop: float, normalisation: str | None) -> Prepare:
    """From an image of PIL to a tensor, (3, height, width); without a normalisation its values are 0 to 1.

    The shorter side is resized to the longer of `size` over `crop`, bicubically, and the middle is cut out.
    """
    import suite.torchvision_operators  # noqa: F401  (before torchvision, see there)

    # isort: split
    from torchvision import transforms

    resize = transforms.Resize(int(max(size) / crop), transforms.InterpolationMode.BICUBIC)
    normalise = [transforms.Normalize(**statistics(normalisation))] if normalisation else []
    prepare: Prepare = transforms.Compose([resize, transforms.CenterCrop(size), transforms.ToTensor(), *normalise])
    return prepare


def for_training(size: int, normalisation: str, augmentation: Mapping[str, Any]) -> Prepare:
    """The same with random draws, by timm's `create_transform` and its words for what is drawn."""
    import suite.torchvision_operators  # noqa: F401  (before timm, see there)

    # isort: split
    from timm.data import auto_augment, create_transform

    auto_augment.NAME_TO_OP |= dict.fromkeys(POSTERIZE, _posterize)
    prepare: Prepare = create_transform(size, is_training=True, **statistics(normalisation), **augmentation)
    return prepare


def _posterize(image: Image, bits: int, **_options: Any) -> Image:
    """Keep the highest bits of each colour. timm asks for none at high magnitudes, which Pillow 13 refuses."""
    from PIL import ImageOps

    return ImageOps.posterize(image, min(bits, 8)) if bits > 0 else image.point(lambda _value: 0)
