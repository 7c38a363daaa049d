"""A study of speed becomes measurements: all rows of a backbone that are timed side by side, and a cell for each row.

Rows of one backbone are timed interleaved in one process and share its weights, so that every ratio, that of two
methods too, is formed round by round, and both unpruned models are paid for once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from suite.kinds.speed.schema import SpeedBackbone, SpeedStudy
from suite.measure.timing_options import DeviceType, TimingOptions
from suite.reduction import registry
from suite.study.cells import Cell
from suite.study.configuration import Configuration
from suite.study.protocol import timing_identity


@dataclass(frozen=True)
class Device:
    """What is measured on: its type and the name that its maker gave it."""

    type: DeviceType
    name: str


@dataclass(frozen=True)
class Measurement:
    """One backbone at one batch size on one device: what is timed, by row, the unpruned model first, and its cells."""

    backbone: SpeedBackbone
    device: Device
    options: TimingOptions
    rows: dict[str, Configuration]
    cells: dict[str, Cell]

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.backbone.name}, batch of {self.options.batch}"


def measurements(study: SpeedStudy, device: Device) -> list[Measurement]:
    """All measurements of a study on a device, in its order; none if it names no such device."""
    options: TimingOptions | None = getattr(study.devices, device.type)
    if options is None:
        return []
    return [
        _measurement(one, device, options.at(size))
        for one in study.backbones
        for size in getattr(one.batch_sizes, device.type)
    ]


def _measurement(one: SpeedBackbone, device: Device, options: TimingOptions) -> Measurement:
    # speed cells of other studies, which have one method each, say no `study`
    shared = timing_identity(options, device.name) | {"study": "speed"}
    rows = one.configurations()
    size = one.backbone.size()
    label = f"batch of {options.batch}"
    cells = {
        name: Cell(shared | _model(row, size.patches, size.depth), f"{one.name}: {name}", label)
        for name, row in rows.items()
    }
    return Measurement(one, device, options, rows, cells)


def _model(row: Configuration, patches: int, depth: int) -> dict[str, Any]:
    settings = registry.settings_class(row.method)(**row.settings)
    return registry.identity(row.method) | {
        "task": row.task,
        "backbone": row.backbone.model_dump(mode="json"),
        "classes": row.classes,
        "settings": settings.model_dump(mode="json"),
        "removed": list(row.schedule.resolve(patches, depth).removed) if row.schedule else [0] * depth,
        "fusion": row.fusion,
    }
