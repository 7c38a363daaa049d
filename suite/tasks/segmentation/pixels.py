"""From patches to pixels: a linear head for every patch and bilinear upsampling, as in Cropr's official code."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite.reduction.blocks import TimmModule
from suite.reduction.method import Output
from suite.reduction.model import Dense, ReducedModel


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
        logits = patch_logits(self.reduced.backbone, features, dense)
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


def pad_to_patches(backbone: TimmModule, images: Tensor) -> Tensor:
    """Pad images with zeros on the right and at the bottom to whole patches."""
    height, width = images.shape[-2:]
    patch = backbone.patch_embed.patch_size
    return F.pad(images, (0, -width % patch[1], 0, -height % patch[0]))


def read_features(backbone: TimmModule, features: Tensor) -> Tensor:
    """What the head reads, (B, N0, D), of features after the final norm."""
    return backbone.head_drop(backbone.fc_norm(features))  # type: ignore[no-any-return]


def patch_logits(backbone: TimmModule, features: Tensor, dense: Dense) -> Tensor:
    """Logits of every patch, (B, N0, classes); with logit fusion, of removed patches those from where they left."""
    logits: Tensor = backbone.head(features)
    return logits if dense.predicted is None else torch.where(dense.stayed.unsqueeze(-1), logits, dense.predicted)


def on_grid(values: Tensor, grid: Sequence[int]) -> Tensor:
    """Values of patches, (B, N0, C), as maps, (B, C, rows, columns)."""
    maps: Tensor = values.transpose(1, 2).unflatten(2, tuple(grid))
    return maps


def upsample(logits: Tensor, grid: tuple[int, int], padded: Tensor, images: Tensor) -> Tensor:
    """Logits of patches, (B, N0, C), for every pixel of `padded`, cut to the size of `images`."""
    height, width = images.shape[-2:]
    pixels = F.interpolate(on_grid(logits, grid), size=padded.shape[-2:], mode="bilinear", align_corners=False)
    return pixels[:, :, :height, :width]
