"""What a study of speed may say: published speed-ups beside measured ones. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from suite.kinds.training.schema import Backbone, MethodName, ScheduleRule
from suite.measure.timing_options import Counts, TimingOptions
from suite.reduction.settings import Fusion
from suite.strict import Strict
from suite.study.configuration import Configuration, LeftOut


class Devices(Strict):
    """How models are timed on each type of device; one that is not named is not measured on.

    The batch size is said by each backbone.
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
                message = f"unknown key; the {key} is said elsewhere in a study of speed"
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

    name: str = Field(min_length=1)
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

    name: str = Field(min_length=1)
    backbone: Backbone
    task: Literal["classification", "segmentation"] = "classification"
    classes: int = Field(1000, ge=1)
    batch_sizes: BatchSizes
    published: str = ""
    rows: tuple[SpeedRow, ...] = Field(min_length=1)

    @field_validator("backbone", mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def pooled(self, row: SpeedRow | None = None) -> Backbone:
        """The backbone that a row runs on; without a row that of the unpruned model."""
        if row is None or row.pool is None:
            return self.backbone
        return self.backbone.model_copy(update={"options": self.backbone.options | {"global_pool": row.pool}})

    def configuration(self, row: SpeedRow | None = None) -> Configuration:
        """A row's model; without a row the unpruned one."""
        shared: dict[str, Any] = {"backbone": self.pooled(row), "task": self.task, "classes": self.classes}
        if row is not None:
            reduction = ("method", "settings", "schedule", "fusion")
            shared |= {name: getattr(row, name) for name in reduction}
        return Configuration.model_validate(shared)


class SpeedStudy(Strict):
    """Published speed-ups beside measured ones; `excluded`: published rows that nothing here can run, and why."""

    question: str
    task: Literal["speed"]
    published: Path
    devices: Devices
    backbones: tuple[SpeedBackbone, ...] = Field(min_length=1)
    excluded: tuple[LeftOut, ...] = ()
