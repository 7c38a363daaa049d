"""A backbone under a method, in words, and the model it is without weights. Nothing heavy is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from suite.errors import UserError
from suite.reduction.registry import settings_class
from suite.reduction.settings import Fusion
from suite.strict import Strict, explain
from suite.study.schema import Backbone, ScheduleRule
from suite.tasks.task import TaskName, task

if TYPE_CHECKING:
    from suite.reduction.blocks import TimmModule
    from suite.reduction.model import ReducedModel


class Configuration(Strict):
    """A backbone under a method, for a task. A bare name of a backbone stands for it without options."""

    backbone: Backbone
    method: str = "none"
    settings: dict[str, Any] = {}
    schedule: ScheduleRule | None = None
    fusion: Fusion = "none"
    task: TaskName = "classification"
    classes: int = Field(1000, ge=0)

    @field_validator("backbone", mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_task(self) -> Configuration:
        task(self.task).check_fusion(self.fusion)
        return self

    @property
    def dense(self) -> bool:
        """Whether the task reads every patch."""
        return task(self.task).dense

    def unpruned(self) -> Configuration:
        """The same backbone and task without reduction."""
        return Configuration(backbone=self.backbone, task=self.task, classes=self.classes)


def build(configuration: Configuration, backbone: TimmModule | None = None) -> ReducedModel:
    """The deployed model on the meta device: all shapes, no weights. Imports torch.

    `backbone` saves building it; it must be the configuration's own.

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
    return model.deploy()


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
