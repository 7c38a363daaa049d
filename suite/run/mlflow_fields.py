"""What MLflow's runs say about cells, rows and a study: names, tags, parameters, metrics, named alike everywhere.

A parameter is on a cell if it tells cells of a study apart; what all share is on the run of the study.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mlflow.entities import Metric, Param

from suite.study.cells import Cell, shown
from suite.study.entry import Entry, last_line
from suite.tasks.task import is_of_part

NOT_SHARED = ("kind", "seed", "start", "method", "version", "settings/", "removed", "fusion")
LONGEST = 6000  # characters of a parameter, which MLflow limits


def cell_name(cell: Cell, several: bool) -> str:
    """What tells it from its siblings, then its row; `several`: whether the study has several schedules to name."""
    return f"{cell.variant} · {row_name(cell, several)}"


def row_name(cell: Cell, several: bool) -> str:
    """A row as tables call it."""
    return f"{cell.row} [{shown(cell.schedule)}]" if several and cell.schedule != "none" else cell.row


def cell_tags(study: str, cell: Cell, entry: Entry) -> dict[str, str]:
    """Everything to filter by; tags of a run are text."""
    identity, provenance = cell.identity, entry.get("provenance", {})
    return {
        "cell_id": cell.cell_id,
        "study": study,
        "row": cell.row,
        "kind": cell.kind,
        "method": identity.get("method", "none"),
        "seed": str(identity.get("seed", "")),
        "task": identity["task"],
        "git_commit": str(provenance.get("commit", "")),
        "protocol": str(identity["protocol"]),
        "status": entry["status"],
        "reason": last_line(entry)[:5000],
    }


def row_parameters(cell: Cell) -> dict[str, str]:
    """What tells a row from the others; `removed` only where the schedule has another name."""
    identity = cell.identity
    own = {"row": cell.row, "method": identity["method"], "schedule": cell.schedule, "fusion": identity["fusion"]}
    removed = " ".join(map(str, identity["removed"]))
    if any(identity["removed"]) and removed != cell.schedule:
        own["removed"] = removed
    return own | {name: str(value) for name, value in _flatten(identity["settings"], "settings/").items()}


def cell_parameters(cell: Cell) -> dict[str, str]:
    """Those of its row, and its seed or batch size; a cell that is of no row has all of its own."""
    if not cell.of_row:
        return {name: str(value) for name, value in _flatten(cell.identity).items()}
    if cell.alone:
        return row_parameters(cell) | {"batch_size": str(cell.identity["speed"]["batch_size"])}
    return row_parameters(cell) | {"seed": str(cell.identity["seed"])}


def shared_parameters(cells: Sequence[Cell]) -> dict[str, str]:
    """What the trained cells of all rows have in common, and how all speed cells time."""
    shared = _common(_flatten(cell.identity) for cell in cells if cell.of_row and not cell.alone)
    speed = _common(_flatten(cell.identity) for cell in cells if cell.alone)
    shared |= {name: value for name, value in speed.items() if name.startswith("speed/")}
    return {name: str(value) for name, value in shared.items() if not name.startswith(NOT_SHARED)}


def params(values: dict[str, str]) -> list[Param]:
    """As MLflow takes them."""
    return [Param(name, value[:LONGEST]) for name, value in values.items()]


def cell_metrics(entry: Entry, now: int) -> list[Metric]:
    """Finals at step 0, of single classes under `class/`; curves under `epoch/`, token counts under `block/`.

    `now`: milliseconds since 1970.
    """
    finals = dict(entry.get("metrics", {}))
    if "macs_full" in finals:
        finals["gmacs"] = finals["macs_full"] / 1e9
    found = [Metric(f"class/{name}" if is_of_part(name) else name, finals[name], now, 0) for name in finals]
    series = {f"epoch/{name}": values for name, values in entry.get("curves", {}).items()}
    for name, values in entry.get("repetitions", {}).items():
        series[f"{'block' if name.startswith('tokens') else 'round'}/{name}"] = values
    return found + [
        Metric(name, value, now, step) for name, values in series.items() for step, value in enumerate(values)
    ]


def _common(dictionaries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    first, *others = [*dictionaries] or [{}]
    return {key: value for key, value in first.items() if all(one.get(key) == value for one in others)}


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= _flatten(item, f"{prefix}{key}/")
        else:
            flat[prefix + key] = item
    return flat
