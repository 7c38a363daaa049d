"""What stops training with a sentence when numbers break, and keeps a method from braking the backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
from timm.utils import dispatch_clip_grad

from suite.reduction.model import ReducedModel


class TrainingFailed(RuntimeError):
    """Training cannot go on; the message says why and what to try."""


def clip(model: ReducedModel, limit: float | None) -> None:
    """Clip the backbone, the method and the fusion apart, so that none shortens the step of another."""
    for part in (model.backbone, model.method, model.fusion):
        parameters = list(part.parameters()) if part is not None else []
        if limit is not None and parameters:
            dispatch_clip_grad(parameters, limit)


def check_weights(model: nn.Module, epoch: int) -> None:
    """Refuse to go on with weights that are not finite.

    Raises:
        TrainingFailed: naming the first of them.
    """
    broken = [name for name, parameter in model.named_parameters() if not torch.isfinite(parameter).all()]
    if broken:
        raise TrainingFailed(
            f"after epoch {epoch} {len(broken)} parameters are not finite, {broken[0]} the first; lower "
            "learning_rate, or set clip_gradient or warmup_epochs"
        )


def check_finite(loss: Tensor, epoch: int, update: int, optimizer: torch.optim.Optimizer) -> None:
    """Refuse to go on with a loss that is not finite.

    Raises:
        TrainingFailed: saying where and at what learning rate.
    """
    if not torch.isfinite(loss):
        raise TrainingFailed(
            f"the training loss became {loss.item()} in epoch {epoch} (update {update}, learning rate "
            f"{optimizer.param_groups[0]['lr']:.3g}); lower learning_rate, or set clip_gradient or warmup_epochs"
        )
