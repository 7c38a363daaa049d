"""A backbone under a method, in words, and the model it is without weights. Nothing heavy is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from suite.errors import UserError
from suite.reduction.registry import settings_class
from suite.reduction.settings import Fusion
from suite.strict import Strict, explained
from suite.study.schema import Backbone, ScheduleRule
from suite.tasks.task import TaskName, task

if TYPE_CHECKING:
    from torch import nn

    from suite.reduction.attention import TimmModule
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
        with explained(f"method {self.method}"):
            settings_class(self.method)(**self.settings)
        try:
            with torch.device(device):
                model = reduce(backbone, self.method, self._counts(backbone), self.settings, self.fusion)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"method {self.method} on {self.backbone.name}: {error}") from error
        return model.deploy() if deployed else model

    def read_out(self, model: ReducedModel) -> nn.Module:
        """The model as its task reads it: logits, (B, classes), or of pixels, (B, classes, height, width)."""
        return task(self.task).read_out(model).eval()

    def read_out_unpruned(self, backbone: TimmModule) -> nn.Module:
        """The untouched timm model, read in the same way."""
        return task(self.task).read_out_unpruned(backbone).eval()

    def _counts(self, backbone: TimmModule) -> tuple[int, ...] | None:
        if self.schedule is None:
            return None
        rows, columns = backbone.patch_embed.grid_size
        return self.schedule.resolve(rows * columns, len(backbone.blocks), backbone.num_prefix_tokens).removed
