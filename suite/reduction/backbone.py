"""Build timm backbones by name."""

from __future__ import annotations

from typing import Any

import torch

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
import timm

from suite.errors import UserError, suggest
from suite.reduction.blocks import TimmModule, check_supported


def create_backbone(name: str, options: dict[str, Any], classes: int, drop_path: float = 0.0) -> TimmModule:
    """Create a timm model with random weights.

    Raises:
        UserError: for a name or an option timm does not know, or a model whose blocks are not supported.
    """
    if not timm.is_model(name):
        raise UserError(f"timm has no model {name!r}; {suggest(name, timm.list_models())}")
    try:
        model = timm.create_model(name, num_classes=classes, drop_path_rate=drop_path, **options)
        check_supported(model)
    except (TypeError, ValueError, AssertionError, RuntimeError, ArithmeticError) as error:
        raise UserError(f"backbone {name} with options {options}: {error}") from error
    return model


def measure_backbone(name: str, options: dict[str, Any]) -> tuple[int, int, int]:
    """Image side, number of patches and depth of a backbone, without allocating its weights.

    Raises:
        UserError: as `create_backbone`.
    """
    with torch.device("meta"):
        model = create_backbone(name, options, classes=1)
    grid, side = model.patch_embed.grid_size, model.patch_embed.img_size[0]
    return side, grid[0] * grid[1], len(model.blocks)
