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


def build(configuration: Configuration, backbone: TimmModule | None = None, deployed: bool = True) -> ReducedModel:
    """The model on the meta device: all shapes, no weights; if `deployed`, without what only training needs.

    `backbone` saves building it; it must be the configuration's own. Imports torch.

    Raises:
        UserError: for whatever of it cannot be.
    """
    import torch

    from suite.reduction.model import reduce

    method, rule = configuration.method, configuration.schedule
    backbone = build_backbone(configuration) if backbone is None else backbone
    rows, columns = backbone.patch_embed.grid_size
    try:
        settings_class(method)(**configuration.settings)
        size = rows * columns, len(backbone.blocks), backbone.num_prefix_tokens
        counts = rule.resolve(*size).removed if rule else None
        with torch.device("meta"):
            model = reduce(backbone, method, counts, configuration.settings, configuration.fusion)
    except ValidationError as error:
        raise UserError(f"method {method}: {explain(error)}") from error
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"method {method} on {configuration.backbone.name}: {error}") from error
    return model.deploy() if deployed else model


def build_backbone(configuration: Configuration) -> TimmModule:
    """The configuration's backbone on the meta device, in evaluation mode.

    Raises:
        UserError: if timm does not know it, or its blocks are not supported.
    """
    import torch

    from suite.reduction.backbone import create_backbone

    backbone = configuration.backbone
    with torch.device("meta"):
        return create_backbone(backbone.name, backbone.options, configuration.classes).eval()


def explain(error: ValidationError) -> str:
    """What is wrong with each part, on one line."""
    said = []
    for detail in error.errors():
        place = [*detail["loc"], *([detail["ctx"]["key"]] if detail["type"] == "at_key" else [])]
        message = detail["msg"].removeprefix("Value error, ")
        said.append(f"{'.'.join(map(str, place))}: {message}" if place else message)
    return "; ".join(said)
