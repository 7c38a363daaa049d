"""Models whose cost is asked for, by `suite flops` or by a study of published costs. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from suite.errors import UserError
from suite.kinds.training.schema import Backbone, MethodName, ScheduleRule
from suite.reduction.registry import settings_class
from suite.reduction.settings import Fusion
from suite.strict import Strict

if TYPE_CHECKING:
    from torch import nn

    from suite.reduction.blocks import TimmModule
    from suite.reduction.model import ReducedModel


CONVENTIONS = ("full", "linear", "full with norms", "linear with norms")  # the fields of `measure.norms.Counts`


class Configuration(Strict):
    """A backbone under a method, for a task. A bare name of a backbone stands for it without options."""

    backbone: Backbone
    method: str = "none"
    settings: dict[str, Any] = {}
    schedule: ScheduleRule | None = None
    fusion: Fusion = "none"
    task: Literal["classification", "segmentation"] = "classification"
    classes: int = Field(1000, ge=0)

    @field_validator("backbone", mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_task(self) -> Configuration:
        if self.task == "classification" and self.fusion not in ("none", "last-layer"):
            raise ValueError(f"fusion {self.fusion} is for segmentation; a classification has none or last-layer")
        return self

    def unpruned(self) -> Configuration:
        """The same backbone and task without reduction."""
        return Configuration(backbone=self.backbone, task=self.task, classes=self.classes)

    def build_backbone(self, device: str = "meta") -> TimmModule:
        """The backbone with random weights in evaluation mode; on the device `meta` all shapes and no weights.

        Raises:
            UserError: if timm does not know it, its blocks are not supported, or the processor has not the memory.
        """
        import torch

        from suite.reduction.backbone import create_backbone, on_meta

        name, options = self.backbone.name, self.backbone.options
        if device == "cpu":
            from suite.measure.fit import weights_fit

            weights_fit(sum(tensor.nbytes for tensor in on_meta(name, options, self.classes).parameters()))
        with torch.device(device):
            return create_backbone(name, options, self.classes).eval()

    def build(self, device: str = "meta", deployed: bool = True, backbone: TimmModule | None = None) -> ReducedModel:
        """The reduced model with random weights; without `deployed`, with all that only training needs.

        Args:
            device: `meta` (all shapes, no weights), `cpu` or another of torch.
            deployed: in evaluation mode, without what only training needs.
            backbone: the configuration's own, on that device; saves building it, and models can share its weights.

        Raises:
            UserError: for whatever of it cannot be.
        """
        import torch

        from suite.reduction.model import reduce

        backbone = self.build_backbone(device) if backbone is None else backbone
        try:
            settings_class(self.method)(**self.settings)
            with torch.device(device):
                model = reduce(backbone, self.method, self._counts(backbone), self.settings, self.fusion)
        except ValidationError as error:
            raise UserError(f"method {self.method}: {explain(error)}") from error
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"method {self.method} on {self.backbone.name}: {error}") from error
        return model.deploy() if deployed else model

    def read_out(self, model: ReducedModel) -> nn.Module:
        """The model as its task reads it: logits, (B, classes), or of pixels, (B, classes, height, width)."""
        from suite.tasks.segmentation.pixels import PixelModel

        return PixelModel(model).eval() if self.task == "segmentation" else model

    def read_out_unpruned(self, backbone: TimmModule) -> nn.Module:
        """The untouched timm model, read in the same way."""
        from suite.tasks.segmentation.pixels import UnprunedPixels

        return UnprunedPixels(backbone).eval() if self.task == "segmentation" else backbone

    def _counts(self, backbone: TimmModule) -> tuple[int, ...] | None:
        if self.schedule is None:
            return None
        rows, columns = backbone.patch_embed.grid_size
        return self.schedule.resolve(rows * columns, len(backbone.blocks), backbone.num_prefix_tokens).removed


class CostRow(Configuration):
    """How published figures are computed.

    `published`: ids in the table of published figures, or patterns of them (`*`). `convention`: by which their source
    must have counted; without it the one in which most figures of the source fit is taken. `note`: what is known about
    a miss.
    """

    method: MethodName = "none"
    published: tuple[str, ...] = Field(min_length=1)
    convention: Literal["full", "linear", "full with norms", "linear with norms"] | None = None
    note: str = ""

    @property
    def model(self) -> str:
        """What is computed, as JSON; equal for rows of the same model."""
        return self.model_dump_json(exclude={"published", "convention", "note"}, exclude_defaults=True)


class LeftOut(Strict):
    """Published figures that nothing here can compute, and why."""

    published: tuple[str, ...] = Field(min_length=1)
    note: str = Field(min_length=1)


class CostStudy(Strict):
    """Published costs beside computed ones.

    A figure fits if the computed one rounds to what is printed; within `tolerance` percent it is at least near.
    """

    question: str
    task: Literal["costs"]
    published: Path
    tolerance: float = Field(gt=0)
    rows: tuple[CostRow, ...] = Field(min_length=1)
    left_out: tuple[LeftOut, ...] = ()


def explain(error: ValidationError) -> str:
    """What is wrong with each part, on one line."""
    said = []
    for detail in error.errors():
        place = [*detail["loc"], *([detail["ctx"]["key"]] if detail["type"] == "at_key" else [])]
        message = detail["msg"].removeprefix("Value error, ")
        said.append(f"{'.'.join(map(str, place))}: {message}" if place else message)
    return "; ".join(said)
