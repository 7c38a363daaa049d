"""From patches to pixels: a linear head for every patch and bilinear upsampling, as in Cropr's official code."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.models.deit import VisionTransformerDistilled

from suite.reduction.attention import TimmModule
from suite.reduction.method import Output
from suite.reduction.model import ReducedModel
from suite.tasks.loop import pad_to


class PixelModel(nn.Module):
    """Logits for every pixel of a reduced model.

    Images are padded with zeros on the right and at the bottom to whole patches, and the logits cut to their size.
    """

    def __init__(self, reduced: ReducedModel) -> None:
        super().__init__()
        self.reduced = reduced

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (B, classes, height, width), of images, (B, 3, height, width)."""
        return self.outputs(images).logits

    def outputs(self, images: Tensor) -> Output:
        """Logits for every pixel, what the head read, (B, N0, D), and outputs that only training needs."""
        padded = pad_to_patches(self.reduced.backbone, images)
        dense = self.reduced.dense_outputs(padded)
        features = read_features(self.reduced.backbone, dense.features)
        logits: Tensor = self.reduced.backbone.head(features)
        if dense.predicted is not None:  # logit fusion: of removed patches those from where they left
            logits = torch.where(dense.is_kept.unsqueeze(-1), logits, dense.predicted)
        return Output(upsample(logits, self.reduced.method.context.grid, padded, images), features, dense.auxiliary)


class UnprunedPixels(nn.Module):
    """The same read-out on the untouched timm model, as a reference for speed."""

    def __init__(self, backbone: TimmModule) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (B, classes, height, width), of images, (B, 3, height, width)."""
        padded = pad_to_patches(self.backbone, images)
        patches = self.backbone.forward_features(padded)[:, self.backbone.num_prefix_tokens :]
        logits = self.backbone.head(read_features(self.backbone, patches))
        return upsample(logits, self.backbone.patch_embed.grid_size, padded, images)


def check_readable(backbone: TimmModule) -> None:
    """Refuse a backbone that cannot segment.

    Raises:
        TypeError: for one without one linear head.
        ValueError: for an image size that is not whole patches.
    """
    if type(backbone) is VisionTransformerDistilled or not isinstance(backbone.head, nn.Linear):
        raise TypeError(
            f"segmentation reads one linear head, which this {type(backbone).__name__} does not have; use a backbone "
            "that is not distilled, with num_classes above 0"
        )
    size, patch = tuple(backbone.patch_embed.img_size), tuple(backbone.patch_embed.patch_size)
    if any(side % part for side, part in zip(size, patch, strict=True)):
        fitting = tuple(-(-side // part) * part for side, part in zip(size, patch, strict=True))
        raise ValueError(
            f"the model takes {size[0]} x {size[1]} pixels, which are not whole patches of {patch[0]} x {patch[1]}; "
            f"build it for {fitting[0]} x {fitting[1]}, images are padded to that"
        )


def pad_to_patches(backbone: TimmModule, images: Tensor) -> Tensor:
    """Pad images with zeros on the right and at the bottom to whole patches."""
    patch = backbone.patch_embed.patch_size
    return pad_to([side + -side % part for side, part in zip(images.shape[-2:], patch, strict=True)], images)


def read_features(backbone: TimmModule, features: Tensor) -> Tensor:
    """What the head reads, (B, N0, D), of features after the final norm."""
    return backbone.head_drop(backbone.fc_norm(features))  # type: ignore[no-any-return]


def on_grid(values: Tensor, grid: Sequence[int]) -> Tensor:
    """Values of patches, (B, N0, C), as maps, (B, C, rows, columns), whose channels lie last in memory.

    For one image the stride from image to image decides nothing, but with a small one torch upsamples eight times
    slower. A graph that is to take batches of any size cannot ask for their number.
    """
    maps: Tensor = values.transpose(1, 2).unflatten(2, tuple(grid))
    if torch.compiler.is_compiling() or len(maps) > 1:
        return maps
    channels = values.shape[2]
    return values.contiguous().as_strided(maps.shape, (values.numel(), 1, grid[1] * channels, channels))


def upsample(logits: Tensor, grid: tuple[int, int], padded: Tensor, images: Tensor) -> Tensor:
    """Logits of patches, (B, N0, C), for every pixel of `padded`, cut to the size of `images`."""
    height, width = images.shape[-2:]
    pixels = F.interpolate(on_grid(logits, grid), size=padded.shape[-2:], mode="bilinear", align_corners=False)
    return pixels[:, :, :height, :width]
