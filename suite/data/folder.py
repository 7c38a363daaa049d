"""Classification images in folders, one folder for each class, as ImageNet is laid out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import UserError

if TYPE_CHECKING:
    from torch.utils.data import Dataset


def open_folder(folder: Path, size: tuple[int, int], crop: float, normalisation: str) -> Dataset[Any]:
    """Images and class numbers of `folder`, or of its `val` if it has one, for evaluation.

    The shorter side is resized to the longer of `size` over `crop`, bicubically, and the middle is cut out. Classes are
    numbered in alphabetical order of their folders' names.

    Raises:
        UserError: if there are no images in class folders; on reading, if an image is broken.
    """
    import suite.torchvision_operators  # noqa: F401  (before torchvision, see there)

    # isort: split
    from timm.data import constants
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    chosen = folder / "val" if (folder / "val").is_dir() else folder
    if not chosen.is_dir():
        raise UserError(f"data: there is no folder {folder}; give one that holds a folder of images for each class")
    prefix = {"imagenet": "IMAGENET_DEFAULT", "inception": "IMAGENET_INCEPTION"}[normalisation]
    mean, deviation = getattr(constants, f"{prefix}_MEAN"), getattr(constants, f"{prefix}_STD")
    prepare = transforms.Compose(
        [
            transforms.Resize(int(max(size) / crop), transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(mean, deviation),
        ]
    )
    try:
        images: Dataset[Any] = ImageFolder(str(chosen), prepare, loader=_load)
    except FileNotFoundError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"{chosen} is not laid out as one folder of images for each class: {reason}") from error
    return images


def _load(path: str) -> Any:
    from torchvision.datasets.folder import default_loader

    try:
        return default_loader(path)
    except Exception as error:  # PIL raises half a dozen types for a broken image
        raise UserError(f"cannot read the image {path}: {error}; replace it or take it out of the folder") from error
