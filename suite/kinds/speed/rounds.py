"""The committed record of a study of speed, `rounds.csv`: a line for each round of each row, of all devices.

What was measured here lies in `.suite/cells/` and is put in its place; lines of other machines stay as long as the
study still asks for what they measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast, get_args

from suite.errors import UserError
from suite.kinds.speed.cells import Device, Measurement, measurements
from suite.kinds.speed.schema import SpeedStudy
from suite.measure.timing_options import DeviceType
from suite.study.entry import Entry
from suite.study.published import is_number
from suite.study.records import lines, merge, runs, write, write_provenance
from suite.study.store import Record

Round = dict[str, str]  # a line of rounds.csv
COLUMNS = (
    *("device_type", "device", "backbone", "row", "batch_size", "precision", "threads", "compiled", "graph"),
    *("round", "speedup", "speedup_eager", "seconds", "macs_ratio", "kernels", "timing_warnings", "session", "cell_id"),
)
NUMBERS = ("speedup", "speedup_eager", "macs_ratio", "batch_size", "round", "threads")


def read_rounds(folder: Path) -> list[Round]:
    """Read `rounds.csv` of a results folder; nothing if there is none.

    UserError if it is not such a record, or was edited.
    """
    path = folder / "rounds.csv"
    if not path.is_file():
        return []
    rounds = lines(path, COLUMNS)
    for number, line in enumerate(rounds, 2):
        if line["device_type"] not in get_args(DeviceType) or not all(
            is_number(line[name]) and float(line[name]) >= 0 for name in NUMBERS
        ):
            raise UserError(
                f"{path}:{number}: not a line of such a record; make it again with: suite run {folder.name}"
            )
    return rounds


def asked_for(study: SpeedStudy, rounds: Iterable[Round]) -> tuple[list[Round], int]:
    """The lines whose cells the study asks for, in its order and under its names; and how many cells it does not."""
    by_cell: dict[str, dict[int, Round]] = {}  # rows of two names may share a cell
    for line in rounds:
        by_cell.setdefault(line["cell_id"], {})[int(line["round"])] = line
    kept: list[Round] = []
    asked: set[str] = set()
    devices = {(line["device_type"], line["device"]) for lines in by_cell.values() for line in lines.values()}
    for kind, name in sorted(devices):  # processors first
        for measurement in measurements(study, Device(cast(DeviceType, kind), name)):
            for row, cell in measurement.cells.items():
                names = {"backbone": measurement.backbone.name, "row": row}
                kept += [line | names for _, line in sorted(by_cell.get(cell.cell_id, {}).items())]
                asked.add(cell.cell_id)
    return kept, len(by_cell.keys() - asked)


def export(study: SpeedStudy, here: Iterable[Measurement], record: Record, folder: Path) -> int:
    """Write `rounds.csv` and `provenance.json`; returns how many cells the study no longer asks for."""
    finished = {
        cell.cell_id: (measurement, row, entry)
        for measurement in here
        for row, cell in measurement.cells.items()
        if (entry := record.finished(cell))
    }
    earlier = [line for line in read_rounds(folder) if line["cell_id"] not in finished]
    new = [line for cell_id, found in finished.items() for line in _lines(cell_id, *found)]
    rounds, dropped = asked_for(study, [*earlier, *new])
    if not rounds:
        return dropped
    write(folder / "rounds.csv", COLUMNS, rounds)
    made = {cell_id: entry["provenance"] for cell_id, (_, _, entry) in finished.items()}
    write_provenance(folder, {"runs": merge(runs(folder), made, {line["cell_id"] for line in rounds})})
    return dropped


def _lines(cell_id: str, measurement: Measurement, row: str, entry: Entry) -> list[Round]:
    options, timed = measurement.options, zip(entry["speedup"], entry["speedup_eager"], strict=True)
    shared = {
        "device_type": measurement.device.type,
        "device": measurement.device.name,
        "backbone": measurement.backbone.name,
        "row": row,
        "batch_size": str(options.batch),
        "precision": options.precision,
        "threads": str(options.threads),
        "compiled": str(options.compile).lower(),
        "graph": str(options.graph).lower(),
        "macs_ratio": repr(entry["macs_ratio"]),
        "kernels": entry["kernels"],
        "timing_warnings": entry["timing_warnings"],
        "session": entry["session"],
        "cell_id": cell_id,
    }
    seconds: list[float] = entry.get("seconds", [])  # of a GPU only
    return [
        shared
        | {"round": str(index), "speedup": repr(unpruned), "speedup_eager": repr(eager)}
        | {"seconds": repr(seconds[index]) if seconds else ""}
        for index, (unpruned, eager) in enumerate(timed)
    ]
