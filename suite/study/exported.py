"""What `results/<study>/` has of cells, exported from the store: tidy rows, curves and examples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from suite.study.cells import Cell
from suite.study.entry import Entry, last_line
from suite.study.records import replace, write, write_provenance
from suite.study.store import Record

COLUMNS = (
    *("study", "cell_id", "kind", "status", "reason", "row", "method", "settings", "schedule", "fusion", "task"),
    *("data", "seed", "metric", "repetition", "value", "unit", "protocol"),
)
CURVE_COLUMNS = ("cell_id", "kind", "row", "schedule", "seed", "epoch", "metric", "value")


def tidy(study: str, cells: Iterable[Cell], record: Record) -> list[dict[str, object]]:
    """Rows of `cells.csv`, one per value, for every cell that finished or failed; sorted."""
    rows = []
    for cell in cells:
        entry = record.finished(cell) or record.failed(cell)
        if entry is not None:
            about = _about(study, cell, entry)
            rows += [about | values for values in _values(entry)]
    return sorted(rows, key=lambda row: (row["cell_id"], row["row"], row["metric"], row["repetition"]))


def curves(cells: Iterable[Cell], record: Record) -> list[dict[str, object]]:
    """Rows of `curves.csv`, one per value of an epoch, counted from 1, for every finished cell; sorted."""
    rows = []
    for cell in cells:
        entry = record.finished(cell)
        about = _known_as(cell) | {"kind": cell.kind}
        for metric, values in entry.get("curves", {}).items() if entry else ():
            rows += [
                about | {"epoch": epoch, "metric": metric, "value": repr(value)}
                for epoch, value in enumerate(values, 1)
            ]
    return sorted(rows, key=lambda row: (row["cell_id"], row["row"], row["metric"], row["epoch"]))


def examples(cells: Iterable[Cell], record: Record) -> list[dict[str, Any]]:
    """What `measure.examples.example` found for every finished cell that has it, with the cell's labels; sorted."""
    found = []
    for cell in cells:
        entry = record.finished(cell)
        example = entry.get("details", {}).get("example") if entry else None
        if example is not None:
            found.append(_known_as(cell) | {"method": cell.identity.get("method", "none")} | example)
    return sorted(found, key=lambda one: (one["cell_id"], one["row"]))


def write_csv(path: Path, rows: Iterable[dict[str, object]], origins: dict[str, object] | None = None) -> None:
    """Write tidy rows, and then beside them `provenance.json`: where they and the other records come from."""
    write(path, COLUMNS, rows)
    write_provenance(path.parent, origins or {})


def write_examples(path: Path, found: Iterable[dict[str, Any]]) -> None:
    """Write examples as JSON, a line for each cell."""
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in found)
    replace(path, f"[\n{lines}\n]\n" if lines else "[]\n")


def _known_as(cell: Cell) -> dict[str, Any]:
    seed = cell.identity.get("seed", "")
    return {"cell_id": cell.cell_id, "row": cell.row, "schedule": cell.schedule, "seed": seed}


def _about(study: str, cell: Cell, entry: Entry) -> dict[str, object]:
    identity = cell.identity
    return {
        "study": study,
        "cell_id": cell.cell_id,
        "kind": cell.kind,
        "status": entry["status"],
        "reason": last_line(entry),
        "row": cell.row,
        "method": identity.get("method", "none"),
        "settings": json.dumps(identity.get("settings", {}), sort_keys=True),
        "schedule": cell.schedule,
        "fusion": identity.get("fusion", "none"),
        "task": identity["task"],
        "data": identity["data"]["digest"] if "data" in identity else "",
        "seed": identity.get("seed", ""),
        "protocol": identity["protocol"],
    }


def _values(entry: Entry) -> Iterator[dict[str, object]]:
    """One row per metric and per repetition; a cell without metrics has one row with metric and value empty."""
    units, asked = entry.get("units", {}), entry["identity"].get("speed", {}).get("batch_size")
    # a speed cell's batch size is known even if it failed
    found = [("batch_size", "", repr(asked), "images")] if asked is not None else []
    found += [(metric, "", repr(value), units[metric]) for metric, value in entry.get("metrics", {}).items()]
    for metric, values in entry.get("repetitions", {}).items():
        found += [(metric, f"{turn:04}", repr(value), units[metric]) for turn, value in enumerate(values)]
    for one in found or [("", "", "", "")]:
        yield dict(zip(("metric", "repetition", "value", "unit"), one, strict=True))
