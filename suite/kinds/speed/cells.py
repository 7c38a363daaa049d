"""A study of speed becomes measurements: all rows of a backbone that are timed side by side, and a cell for each row.

Rows of one backbone take turns in one process and share its weights, so that every ratio, that of two methods too, is
formed round by round, and both unpruned models are paid for once.
"""

from __future__ import annotations

from dataclasses import dataclass

from suite.kinds.speed.schema import UNPRUNED, How, SpeedBackbone, SpeedRow, SpeedStudy
from suite.measure.timing_options import DeviceType
from suite.reduction.registry import settings_class
from suite.study.cells import Cell

PROTOCOL = 1  # raise it when what is timed, or how, is something else than before


@dataclass(frozen=True)
class Device:
    """What is measured on: its type and the name that its maker gave it."""

    type: DeviceType
    name: str


@dataclass(frozen=True)
class Measurement:
    """One backbone at one batch size on one device.

    Attributes:
        cells: by row, the unpruned model first.
        removed: patches that each row removes in each block.
    """

    backbone: SpeedBackbone
    batch_size: int
    device: Device
    how: How
    cells: dict[str, Cell]
    removed: dict[str, tuple[int, ...]]


def measurements(study: SpeedStudy, device: Device) -> list[Measurement]:
    """All measurements of a study on a device, in its order; none if it names no such device."""
    how: How | None = getattr(study.devices, device.type)
    if how is None:
        return []
    return [
        _measurement(one, batch_size, device, how)
        for one in study.backbones
        for batch_size in getattr(one.batch_sizes, device.type)
    ]


def _measurement(one: SpeedBackbone, batch_size: int, device: Device, how: How) -> Measurement:
    _, patches, depth = one.backbone.size()
    shared = {
        "kind": "speed",
        "study": "speed",  # speed cells of other studies have one method each
        "protocol": PROTOCOL,
        "task": "classification",
        "classes": one.classes,
        "device": device.type,
        "device_name": device.name,
        "batch_size": batch_size,
    } | how.model_dump(mode="json")
    removed = {UNPRUNED: (0,) * depth}
    removed |= {row.name: row.schedule.resolve(patches, depth).removed for row in one.rows}
    rows: dict[str, SpeedRow | None] = {UNPRUNED: None, **{row.name: row for row in one.rows}}
    cells = {}
    for name, row in rows.items():
        model = {"backbone": one.pooled(row).model_dump(mode="json"), "removed": list(removed[name])}
        cells[name] = Cell(shared | model | _method(row), f"{one.name}: {name}", f"batch of {batch_size}")
    return Measurement(one, batch_size, device, how, cells, removed)


def _method(row: SpeedRow | None) -> dict[str, object]:
    if row is None:
        return {"method": "none", "fusion": "none"}
    settings = settings_class(row.method)
    return {
        "method": row.method,
        "version": settings.version,
        "settings": settings(**row.settings).model_dump(mode="json"),
        "fusion": row.fusion,
    }
