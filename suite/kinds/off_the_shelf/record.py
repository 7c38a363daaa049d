"""The record of a study without training: `loyalty.csv`, a line for each row, schedule and metric."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.errors import UserError
from suite.kinds.off_the_shelf import KIND
from suite.kinds.off_the_shelf.cells import SMALLER, UNPRUNED
from suite.kinds.off_the_shelf.scores import METRICS, Metric
from suite.report.statistics.aggregates import spread
from suite.report.statistics.intervals import LEVEL, mean, share
from suite.study import records
from suite.study.cells import Cell
from suite.study.entry import Entry, last_line
from suite.study.store import Record

ABOUT = ("row", "schedule", "method", "settings", "fusion", "image", "status", "reason", "macs_full", "macs_linear")
NUMBERS = ("mean", "low", "high", "gain", "gain_low", "gain_high")
TIMED = ("speed", "speed_low", "speed_high", "speed_timing_warnings", "speed_cell")
FIELDS = (*ABOUT, *TIMED, "images", "groups", "metric", "cells", *NUMBERS, "values")
MOST_VALUES = 1000  # groups whose values are in the record
Ends = tuple[float, float | None, float | None]  # a mean and both ends of its interval
Scores = dict[str, NDArray[np.float64]]  # by metric, a value for each group


@dataclass(frozen=True)
class Found:
    """A metric of a row: its mean over groups of images with its interval, and the same less that of smaller images.

    Attributes:
        mean, gain: each with the ends of its interval at 95 %, None where one group has none; `gain` is None without
            smaller images at its cost.
        cells: by the id of a cell, the mean over groups of its images.
    """

    mean: Ends
    gain: Ends | None
    cells: Mapping[str, float]


@dataclass(frozen=True)
class Line:
    """A row under a schedule, as the record has it.

    Attributes:
        image: the size of its images where it is another.
        speed: images per second over those of the unpruned model, with quartiles; None if it was not timed.
        speed_cell: the id of the cell that timed it.
    """

    row: str
    schedule: str
    method: str
    settings: str
    fusion: str
    image: str
    speed: float | None
    speed_low: float | None
    speed_high: float | None
    speed_timing_warnings: str
    speed_cell: str
    status: str
    reason: str
    macs_full: float | None
    macs_linear: float | None
    images: int
    groups: int
    found: Mapping[str, Found]

    @property
    def label(self) -> str:
        """What tells it from all others."""
        return self.row if self.row == UNPRUNED else f"{self.row} [{self.schedule}]"


def export(folder: Path, cells: Sequence[Cell], record: Record, groups: Sequence[str]) -> None:
    """Write the record of finished and failed cells, and `provenance.json`; `groups` has the group of each image."""
    entries = {cell.cell_id: entry for cell in cells if (entry := record.finished(cell) or record.failed(cell))}
    records.write(folder / KIND.record, FIELDS, rows_of(cells, entries, groups))
    made = {cell_id: entry["provenance"] for cell_id, entry in entries.items()}
    records.write_provenance(folder, {"runs": records.merge([], made)})


def rows_of(cells: Sequence[Cell], entries: Mapping[str, Entry], groups: Sequence[str]) -> list[dict[str, object]]:
    """What the record has of cells and what was found, by their ids."""
    scored = [cell for cell in cells if not cell.alone]
    rows, values = _by_row(scored, entries), values_of(scored, entries, groups)
    timed = {(cell.schedule, cell.row): _speed(cell, entries.get(cell.cell_id)) for cell in cells if cell.alone}
    control = _control(scored, entries, values)
    equal = {
        key: _between(control, _macs([entries[cell.cell_id] for cell in own]))
        for key, own in rows.items()
        if values[key] and key[0] not in (UNPRUNED, SMALLER)
    }
    compared = sum(map(bool, equal.values()))
    return [
        timed.get(key, {}) | line
        for key, own in rows.items()
        for line in _lines(own, entries, groups, values[key], equal.get(key, {}), compared)
    ]


def _by_row(cells: Iterable[Cell], entries: Mapping[str, Entry]) -> dict[tuple[str, str], list[Cell]]:
    """The cells that have ended, by schedule and row."""
    rows: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.cell_id in entries:
            rows.setdefault((cell.schedule, cell.row), []).append(cell)
    return rows


def values_of(
    cells: Iterable[Cell], entries: Mapping[str, Entry], groups: Sequence[str]
) -> dict[tuple[str, str], Scores]:
    """By schedule and row, the mean of each group over seeds by metric; nothing where no cell is finished."""
    rows, members = _by_row(cells, entries), _members(groups)
    return {key: _values([entries[cell.cell_id] for cell in own], members) for key, own in rows.items()}


def _speed(cell: Cell, entry: Entry | None) -> dict[str, object]:
    """Images per second over those of the unpruned model, median and quartiles over rounds, and what speaks against."""
    if entry is None:
        return {}
    said: dict[str, object] = {"speed_timing_warnings": last_line(entry), "speed_cell": cell.cell_id}
    if entry["status"] != "done":
        return said
    found = spread(entry["repetitions"]["speed_ratio"])
    return said | {"speed": repr(found.median), "speed_low": repr(found.low), "speed_high": repr(found.high)}


def _control(
    cells: Sequence[Cell], entries: Mapping[str, Entry], values: Mapping[tuple[str, str], Scores]
) -> list[tuple[float, Scores]]:
    """Cost and scores of smaller images, the unpruned model last; nothing while some are not finished."""
    own = [cell for cell in cells if cell.schedule in (UNPRUNED, SMALLER)]
    if len(own) < 2 or not all(values.get((cell.schedule, cell.row)) for cell in own):
        return []
    costs = [(_macs([entries[cell.cell_id]]), values[cell.schedule, cell.row]) for cell in own]
    return sorted(costs, key=lambda pair: pair[0])


def _macs(entries: Sequence[Entry]) -> float:
    """Multiply-accumulates of the first that is finished."""
    return float(next(entry["metrics"]["macs_full"] for entry in entries if entry["status"] == "done"))


def _between(control: Sequence[tuple[float, Scores]], macs: float) -> Scores:
    """Scores of smaller images at so many multiply-accumulates: on the line between the two sizes next to it, by group.

    Nothing below the smallest; what costs more than the unpruned model is compared with it.
    """
    if not control or macs < control[0][0]:
        return {}
    place = float(np.interp(macs, [cost for cost, _ in control], range(len(control))))
    (_, low), (_, high) = control[int(place)], control[min(int(place) + 1, len(control) - 1)]
    return {name: low[name] + (place - int(place)) * (high[name] - low[name]) for name in low}


def _members(groups: Sequence[str]) -> NDArray[np.intp]:
    """The number of each image's group, in the order of the groups' names."""
    return np.unique(list(groups), return_inverse=True)[1]


def _values(entries: Sequence[Entry], members: NDArray[np.intp]) -> Scores:
    """By metric, the mean of each group of images over seeds; nothing without finished cells."""
    done = [entry["repetitions"] for entry in entries if entry["status"] == "done"]
    count = np.bincount(members)
    return {
        name: np.bincount(members, np.mean([own[name] for own in done], axis=0)) / count
        for name in (done[0] if done else {})
    }


def _lines(
    cells: Sequence[Cell],
    entries: Mapping[str, Entry],
    groups: Sequence[str],
    found: Scores,
    equal: Scores,
    compared: int,
) -> Iterator[dict[str, object]]:
    """A line for each metric of a row with its scores; `equal` has those of smaller images at its cost, or nothing."""
    cell, own = cells[0], [entries[cell.cell_id] for cell in cells]
    wrong = next((entry for entry in own if entry["status"] != "done"), own[0])
    costs = next((entry["metrics"] for entry in own if entry["status"] == "done"), {})
    about: dict[str, object] = {
        "row": cell.row,
        "schedule": cell.schedule,
        "method": cell.identity["method"],
        "settings": json.dumps(cell.identity["settings"], sort_keys=True),
        "fusion": cell.identity["fusion"],
        "image": "x".join(map(str, cell.identity.get("image", ()))),
        "status": wrong["status"],
        "reason": last_line(wrong),
        **{name: repr(costs[name]) for name in ("macs_full", "macs_linear") if name in costs},
        "images": len(groups),
        "groups": len(set(groups)),
    }
    if not found:
        yield about
    alone = {cell.cell_id: _values([entries[cell.cell_id]], _members(groups)) for cell in cells}
    for name, values in found.items():
        gain = _gain(values - equal[name], compared) if name in equal else (None,) * 3
        numbers = zip(NUMBERS, (*_interval(values, METRICS[name]), *gain), strict=True)
        said = {key: repr(value) for key, value in numbers if value is not None}
        ids = " ".join(f"{cell_id}={float(scores[name].mean())!r}" for cell_id, scores in alone.items() if scores)
        yield about | {"metric": name, "cells": ids, "values": _named(values, groups)} | said


def _named(values: NDArray[np.float64], groups: Sequence[str]) -> str:
    """What each group has, as JSON; nothing where they are many."""
    if len(values) > MOST_VALUES:
        return ""
    return json.dumps({group: float(f"{value:.6g}") for group, value in zip(np.unique(groups), values, strict=True)})


def _interval(values: NDArray[np.float64], metric: Metric) -> Ends:
    """Mean and both ends of its interval over groups; of one group that is no share there are none.

    By Student's t, but not beyond what the metric can be; of a share by Wilson's, which is not empty where all agree.
    """
    found = share(values.tolist()) if metric.unit == "%" else mean(values.tolist())
    middle = float(values.mean())
    if found is None:
        return middle, None, None
    low, high = max(found.low, metric.least), min(found.high, metric.most)
    return middle, min(middle, low), max(middle, high)  # which were rounded


def _gain(differences: NDArray[np.float64], compared: int) -> Ends:
    """Mean of differences over groups, with an interval that holds for so many rows at once, by Student's t.

    None for one group, and where all differences are equal and too few to tell them from chance by their signs.
    """
    found = mean(differences.tolist(), compared)
    if found is None or (found.low == found.high and found.p * compared > 1 - LEVEL):
        return float(differences.mean()), None, None
    return found.mean, found.low, found.high


def lines(folder: Path) -> list[Line]:
    """The rows of a results folder's record, in its order.

    Raises:
        UserError: if there is no record or no row in it, or it is damaged or was edited.
    """
    found = lines_of(records.lines(folder / KIND.record, FIELDS))
    if not found:
        raise UserError(f"{folder / KIND.record} has no row yet; make some with: suite run {folder.name}")
    return found


def lines_of(rows: Iterable[Mapping[str, object]]) -> list[Line]:
    """The rows of what `rows_of` makes, or of a record."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        one = {name: str(row.get(name, "")) for name in FIELDS}
        found.setdefault((one["schedule"], one["row"]), []).append(one)
    return [_line(own) for own in found.values()]


def _line(own: Sequence[Mapping[str, str]]) -> Line:
    first: dict[str, Any] = {name: own[0][name] for name in (*ABOUT, *TIMED)}
    first |= {name: _number(first[name]) for name in ("macs_full", "macs_linear", *TIMED[:3])}
    found = {name: _found(one) for name in METRICS for one in own if one["metric"] == name}
    return Line(**first, images=int(own[0]["images"]), groups=int(own[0]["groups"]), found=found)


def _found(one: Mapping[str, str]) -> Found:
    middle, low, high, gain, gain_low, gain_high = (_number(one[name]) for name in NUMBERS)
    assert middle is not None
    cells = {cell_id: float(value) for cell_id, _, value in (part.partition("=") for part in one["cells"].split())}
    return Found((middle, low, high), None if gain is None else (gain, gain_low, gain_high), cells)


def _number(text: str) -> float | None:
    return float(text) if text else None
