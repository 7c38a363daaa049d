"""What training loops share: optimizer and learning rate, order of the data, precision, and what stops a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from suite.seeds import seed_for
from suite.tasks import processes
from suite.tasks.recipe import TrainingRecipe

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from suite.reduction.model import ReducedModel


BEFORE_BLOCKS = {"cls_token", "dist_token", "reg_token", "pos_embed", "patch_embed", "norm_pre", "rope"}
SMALLEST_SCALE = 1e-4  # of gradients in float16; it starts at 65,536 and is halved whenever they overflow


class TrainingFailed(RuntimeError):
    """Training cannot go on; the message says why and what to try."""


def to_input(images: Tensor, normalisation: str = "inception") -> Tensor:
    """Turn bytes, (B, 3, height, width), into floats, normalised by mean and deviation; by default from -1 to 1."""
    if normalisation == "inception":
        return images.float().div_(127.5).sub_(1)
    import torch

    from suite.data.preparation import statistics

    known = statistics(normalisation)
    mean, deviation = (torch.tensor(known[name]).view(3, 1, 1) for name in ("mean", "std"))
    return images.float().div_(255).sub_(mean).div_(deviation)


def pad_to(size: Sequence[int], images: Tensor) -> Tensor:
    """Pad images, (B, 3, height, width), with zeros on the right and at the bottom to a height and width."""
    from torch.nn import functional as F

    height, width = images.shape[-2:]
    return F.pad(images, (0, size[1] - width, 0, size[0] - height))


def data_order(task: str, seed: int) -> torch.Generator:
    """What shuffles the training images: it depends on task and seed, never on the method."""
    import torch

    return torch.Generator().manual_seed(seed_for("data order", task, seed))


def optimizer_for(
    model: ReducedModel, recipe: TrainingRecipe, updates: int, decay: str = "cosine"
) -> tuple[torch.optim.Optimizer, Any]:
    """AdamW, and timm's scheduler of its learning rate, whose `step_update` must be called before every update.

    An epoch has so many `updates`. After a linear warm-up the rate falls by `decay`: `cosine`, or `poly`, (1 - t)^0.9.
    Parameters that the backbone does not have get `method_learning_rate`, if the recipe says one.
    """
    import suite.torchvision_operators  # noqa: F401  (before timm, see there)

    # isort: split
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2

    learns: Any = model if recipe.layer_decay is None else _by_layer(model, recipe)
    optimizer = create_optimizer_v2(learns, opt="adamw", lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    if recipe.method_learning_rate is not None:
        _scale(optimizer, model, recipe.method_learning_rate / recipe.learning_rate)
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=decay,
        decay_rate=0.9,
        num_epochs=recipe.epochs - recipe.warmup_epochs,
        warmup_epochs=recipe.warmup_epochs,
        warmup_prefix=True,  # the decay takes what the warm-up leaves
        warmup_lr=0.0,
        min_lr=recipe.min_learning_rate,
        step_on_epochs=False,
        updates_per_epoch=updates,
    )
    return optimizer, scheduler


def _by_layer(model: ReducedModel, recipe: TrainingRecipe) -> list[dict[str, Any]]:
    """Groups of parameters as in BEiT, MAE and Cropr: what comes after the blocks, or is none of timm's, has scale 1.

    timm's own groups count the last norm to the last block.
    """
    kept, depth = model.backbone.no_weight_decay(), len(model.backbone.blocks)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        inner = name.removeprefix("backbone.")
        decays = parameter.ndim > 1 and inner not in kept
        groups.setdefault((_layer(name, depth), decays), []).append(parameter)
    assert recipe.layer_decay is not None
    return [
        {
            "params": parameters,
            "lr_scale": recipe.layer_decay ** (depth + 1 - layer),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (layer, decays), parameters in groups.items()
    ]


def _layer(name: str, depth: int) -> int:
    """Of a parameter: 0 before the blocks, their numbers from 1, and one more for all that comes after or is added."""
    backbone, _, inner = name.partition(".")
    first, _, rest = inner.partition(".")
    if backbone == "backbone" and first == "blocks":
        return int(rest.partition(".")[0]) + 1
    return 0 if backbone == "backbone" and first in BEFORE_BLOCKS else depth + 1


def _scale(optimizer: torch.optim.Optimizer, model: ReducedModel, scale: float) -> None:
    """Have all but the backbone learn at so many times its rate; timm's schedulers read `lr_scale`."""
    backbone = {id(parameter) for parameter in model.backbone.parameters()}
    for group in list(optimizer.param_groups):
        apart = [parameter for parameter in group["params"] if id(parameter) not in backbone]
        if apart:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) in backbone]
            optimizer.add_param_group(group | {"params": apart, "lr_scale": scale})


def precise(model: nn.Module, precision: str) -> torch.autocast:
    """A context in which a model computes in a precision: autocast where its parameters are, nothing for float32."""
    import torch

    where = next(model.parameters()).device.type
    half = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    return torch.autocast(where, half, enabled=half is not None)


class Updates:
    """Backward passes and steps: with scaled gradients in float16, clipped, and refused where nothing is finite."""

    def __init__(self, model: ReducedModel, recipe: TrainingRecipe, optimizer: torch.optim.Optimizer) -> None:
        import torch

        self.model, self.recipe, self.optimizer = model, recipe, optimizer
        self.scaler = torch.amp.GradScaler(recipe.device, enabled=recipe.precision == "float16")

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, scaled."""
        self.scaler.scale(loss).backward()

    def step(self, update: int) -> None:
        """Clip, then step; scaled gradients that overflowed are left out.

        Raises:
            TrainingFailed: if they overflow however little they are scaled.
        """
        processes.sum_gradients(self.model.parameters())
        self.scaler.unscale_(self.optimizer)
        clip(self.model, self.recipe.clip_gradient)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.scaler.get_scale() < SMALLEST_SCALE:
            raise TrainingFailed(
                f"gradients are not finite in float16 however little they are scaled (update {update}): no step is "
                "taken any more; use precision: bfloat16 or float32, or lower learning_rate"
            )


def clip(model: ReducedModel, limit: float | None) -> None:
    """Clip the gradients of the backbone, the method and the fusion separately: none scales those of another."""
    import suite.torchvision_operators  # noqa: F401  (before timm, see there)

    # isort: split
    from timm.utils import dispatch_clip_grad

    for part in (model.backbone, model.method, model.fusion):
        parameters = list(part.parameters()) if part is not None else []
        if limit is not None and parameters:
            dispatch_clip_grad(parameters, limit)


def check_weights(model: nn.Module, epoch: int) -> None:
    """Refuse to go on with weights that are not finite.

    Raises:
        TrainingFailed: naming the first of them.
    """
    broken = [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]
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
    if not loss.isfinite():
        raise TrainingFailed(
            f"the training loss became {loss.item()} in epoch {epoch} (update {update}, learning rate "
            f"{optimizer.param_groups[0]['lr']:.3g}); lower learning_rate, or set clip_gradient or warmup_epochs"
        )
