"""What a study of speed may say: published speed-ups beside measured ones. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from suite.measure.timing_options import UNPRUNED, Counts, TimingOptions
from suite.reduction.settings import Fusion
from suite.strict import Strict
from suite.study.configuration import Configuration
from suite.study.published import Excluded
from suite.study.schema import Backbone, MethodName, Name, ScheduleRule
from suite.tasks.task import TaskName


class Devices(Strict):
    """How models are timed on each type of device; one that is not named is not measured on.

    Each backbone has a batch size of its own.
    """

    cpu: TimingOptions | None = None
    cuda: TimingOptions | None = None

    @field_validator("cpu", "cuda", mode="before")
    @classmethod
    def _of_that_type(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        for key in ("device", "batch_size"):
            if key in value:
                message = f"unknown key; a study of speed gives the {key} elsewhere"
                raise PydanticCustomError("at_key", "{message}", {"key": key, "message": message})
        return value | {"device": info.field_name}


class BatchSizes(Strict):
    """Images at a time, on each type of device; a backbone without any there is not measured on it."""

    cpu: Counts = ()
    cuda: Counts = ()


class SpeedRow(Strict):
    """A method on its backbone.

    `pool`: what is read out, if not what the backbone reads. `published`: an id in the table of published speeds.
    `compare_to`: a row of the same backbone, to which its ratio is stated too, round by round.
    """

    name: Name = Field(min_length=1)
    method: MethodName
    schedule: ScheduleRule
    settings: dict[str, Any] = {}
    fusion: Fusion = "none"
    pool: Literal["token", "avg"] | None = None
    published: str = ""
    compare_to: str = ""
    note: str = ""


class SpeedBackbone(Strict):
    """A backbone under several methods. `published`: the id of the unpruned model, for ratios of throughputs."""

    name: Name = Field(min_length=1)
    backbone: Backbone
    task: TaskName = "classification"
    classes: int = Field(1000, ge=1)
    batch_sizes: BatchSizes
    published: str = ""
    rows: tuple[SpeedRow, ...] = Field(min_length=1)

    @field_validator("backbone", mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def configurations(self) -> dict[str, Configuration]:
        """The unpruned model and each row's, by name."""
        shared: dict[str, Any] = {"task": self.task, "classes": self.classes}
        found = {UNPRUNED: Configuration(backbone=self.backbone, **shared)}
        for row in self.rows:
            reduction = {name: getattr(row, name) for name in ("method", "settings", "schedule", "fusion")}
            pool = {"global_pool": row.pool} if row.pool else {}
            pooled = self.backbone.model_copy(update={"options": self.backbone.options | pool})
            found[row.name] = Configuration(backbone=pooled, **shared, **reduction)
        return found


class SpeedStudy(Strict):
    """Published speed-ups beside measured ones; `excluded`: published rows that nothing here can run, and why."""

    question: str
    kind: Literal["speed"]
    published: Path
    devices: Devices
    backbones: tuple[SpeedBackbone, ...] = Field(min_length=1)
    excluded: tuple[Excluded, ...] = ()
