"""The committed record of a study of speed, `rounds.csv`: a line for each round of each row, of all devices.

What was measured here lies in `.suite/cells/` and is put in its place; lines of other machines stay as long as the
study still asks for what they measured.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast, get_args

from suite.errors import UserError
from suite.kinds.speed.cells import Device, Measurement, measurements
from suite.kinds.speed.schema import SpeedStudy
from suite.measure.timing_options import DeviceType
from suite.study.digests import check_unedited, write_provenance
from suite.study.store import Entry, Record

Round = dict[str, str]  # a line of rounds.csv
COLUMNS = (
    *("device_type", "device", "backbone", "row", "batch_size", "precision", "threads", "compiled", "graph"),
    *("round", "speedup", "speedup_eager", "seconds", "macs_ratio", "kernels", "timing_warnings", "session", "cell_id"),
)
NUMBERS = ("speedup", "speedup_eager", "macs_ratio", "batch_size", "round", "threads")


def read_rounds(folder: Path) -> list[Round]:
    """Read `rounds.csv` of a results folder; nothing if there is none.

    Raises:
        UserError: if it is not such a record, or was edited.
    """
    path = folder / "rounds.csv"
    if not path.is_file():
        return []
    check_unedited(path, "delete both and measure again with: suite run {}")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            found = ", ".join(reader.fieldnames or ())
            raise UserError(f"{path} has the columns {found}; expected {', '.join(COLUMNS)}")
        rounds = list(reader)
    for number, line in enumerate(rounds, 2):
        whole = None not in line.values() and line["device_type"] in get_args(DeviceType)
        if not whole or not all(_is_number(line[name]) for name in NUMBERS):
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
    for device in _devices(by_cell):
        for measurement in measurements(study, device):
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
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"rounds.{os.getpid()}.tmp"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rounds)
    temporary.replace(folder / "rounds.csv")  # whole or not at all: it may be all there is of another machine
    entries = {cell_id: entry for cell_id, (_, _, entry) in finished.items()}
    write_provenance(folder, {"runs": _origins(folder, {line["cell_id"] for line in rounds}, entries)})
    return dropped


def _devices(by_cell: dict[str, dict[int, Round]]) -> list[Device]:
    """Processors first, each device once."""
    found = {(line["device_type"], line["device"]) for lines in by_cell.values() for line in lines.values()}
    return [Device(cast(DeviceType, kind), name) for kind, name in sorted(found)]


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
    seconds = entry.get("seconds", [])  # of a GPU only
    return [
        shared
        | {"round": str(index), "speedup": repr(unpruned), "speedup_eager": repr(eager)}
        | {"seconds": repr(seconds[index]) if seconds else ""}
        for index, (unpruned, eager) in enumerate(timed)
    ]


def _origins(folder: Path, kept: set[str], entries: dict[str, Entry]) -> list[dict[str, Any]]:
    """Every distinct provenance with the cells it covers; those of other machines stay with their lines."""
    path = folder / "provenance.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
    others = [run | {"cells": [cell for cell in run["cells"] if cell in kept - entries.keys()]} for run in runs]
    groups = {json.dumps(run | {"cells": []}, sort_keys=True): run for run in others}
    for cell_id, entry in entries.items():
        origin = entry["provenance"] | {"cells": []}
        groups.setdefault(json.dumps(origin, sort_keys=True), origin)["cells"].append(cell_id)
    return sorted((run for run in groups.values() if run["cells"]), key=lambda run: str(run["started"]))


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False
