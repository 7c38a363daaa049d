"""What a study of speed may say: published speed-ups beside measured ones. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from suite.measure.timing_options import Counts, Precision
from suite.reduction.settings import Fusion
from suite.strict import Strict
from suite.study.configuration import Configuration
from suite.study.published import Excluded as LeftOut
from suite.study.schema import Backbone, MethodName, ScheduleRule

UNPRUNED = "unpruned"  # the row of the unpruned model, which every backbone has


class How(Strict):
    """How models are timed on one type of device; `suite speed --help` says what each means."""

    precision: Precision = "float32"
    threads: int = Field(1, ge=1)
    rounds: int = Field(20, ge=5)
    warmup_rounds: int = Field(5, ge=1)
    compiled: bool = False
    graph: bool = False


class Devices(Strict):
    """How models are timed on each type of device; one that is not named is not measured on."""

    cpu: How | None = None
    cuda: How | None = None


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
        if row is None:
            return Configuration(backbone=self.backbone, classes=self.classes)
        return Configuration(
            backbone=self.pooled(row),
            method=row.method,
            settings=row.settings,
            schedule=row.schedule,
            fusion=row.fusion,
            classes=self.classes,
        )


class SpeedStudy(Strict):
    """Published speed-ups beside measured ones; `excluded`: published rows that nothing here can run, and why."""

    question: str
    kind: Literal["speed"]
    published: Path
    devices: Devices
    backbones: tuple[SpeedBackbone, ...] = Field(min_length=1)
    excluded: tuple[LeftOut, ...] = ()
