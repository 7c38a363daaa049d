"""Run what is not finished of a study, and keep what finishes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from rich.console import Console

from suite.study.cells import Cell, expand
from suite.study.load import check_backbone, find_study, load_study
from suite.study.progress import Progress
from suite.study.provenance import provenance
from suite.study.record import Entry, Record, tidy, write_csv
from suite.study.tracking import Tracker


@dataclass(frozen=True)
class Outcome:
    """How a run of a study ended: how many of its cells are finished, failed, and not run."""

    finished: int
    failed: int
    not_run: int


class Keeper:
    """Keeps each result the moment it arrives: record first, then MLflow, then the display."""

    def __init__(self, cells: Sequence[Cell], record: Record, tracker: Tracker, progress: Progress) -> None:
        self.waiting = {cell.cell_id: cell for cell in cells}
        self.record, self.tracker, self.progress = record, tracker, progress

    def started(self, cell_id: str) -> None:
        self.progress.started(cell_id)

    def advanced(self, cell_id: str, steps: int) -> None:
        self.progress.advanced(cell_id, steps)

    def ended(self, cell_id: str, result: dict[str, Any]) -> None:
        cell = self.waiting.pop(cell_id)
        weights = result.pop("weights", None)
        entry = self.record.add(cell, result | {"provenance": provenance()}, weights)
        self.progress.ended(cell_id, entry["status"], _note(entry))
        try:
            self.tracker.sync(cell, entry)
        except (MlflowException, OSError) as error:
            self.progress.warn(f"not written to MLflow, the next run will: {error}")


def run_study(name: str, console: Console, folder: Path = Path()) -> Outcome:
    """Run all cells of a study that are not finished, in rounds: base, accuracy, speed.

    Results are exported to `results/<study>/`. An interrupted or killed run loses only the cells that were running.

    Raises:
        UserError: for a study that cannot run, a second run in the same folder, or a file that cannot be written.
    """
    provenance()  # as the code is now, not when the first cell ends
    study, title = load_study(name), find_study(name).stem
    cells, record = expand(study), Record(folder)
    with record.locked():
        tracker = Tracker(title, folder)
        _sync(cells, record, tracker)
        left = [cell for cell in cells if record.finished(cell) is None]
        console.print(f"{title}: {len(cells)} cells, {len(cells) - len(left)} finished, {len(left)} to run")
        if left:
            check_backbone(name)
            _run(left, record, tracker, console)
        export(title, cells, record, folder)
    finished = sum(record.finished(cell) is not None for cell in cells)
    failed = sum(record.failed(cell) is not None for cell in cells)
    return Outcome(finished, failed, len(cells) - finished - failed)


def export(title: str, cells: Sequence[Cell], record: Record, folder: Path) -> Path:
    """Write `results/<study>/cells.csv` and `provenance.json` from the record; returns the folder."""
    results = folder / "results" / title
    write_csv(results / "cells.csv", tidy(title, cells, record))
    entries = [entry for cell in cells if (entry := record.finished(cell))]
    (results / "provenance.json").write_text(json.dumps(_origins(entries), indent=1) + "\n")
    return results


def _run(left: Sequence[Cell], record: Record, tracker: Tracker, console: Console) -> None:
    from suite.study.cluster import run_cells, running_ray

    distinct = list({cell.cell_id: cell for cell in left}.values())
    cores = len(os.sched_getaffinity(0))
    with Progress(distinct, cores, console) as progress, running_ray(max(cell.threads for cell in distinct)):
        keeper = Keeper(distinct, record, tracker, progress)
        for kind in ("base", "accuracy", "speed"):
            bases = {cell.start for cell in left if cell.start}
            weights = {base: record.weights(base) for base in bases if record.has(base)}
            ready = [cell for cell in distinct if cell.kind == kind and (not cell.start or cell.start in weights)]
            if ready:
                run_cells(ready, weights, keeper, record.home / "ray")
            if any(cell.cell_id in keeper.waiting for cell in ready):
                return  # interrupted


def _sync(cells: Sequence[Cell], record: Record, tracker: Tracker) -> None:
    """Bring MLflow up to date with the record, in case an earlier run was killed between the two."""
    for cell in cells:
        entry = record.finished(cell) or record.failed(cell)
        if entry is not None:
            tracker.sync(cell, entry)


def _note(entry: Entry) -> str:
    shown, metrics = {"acc1_last": "{:.1f} %", "speed_ratio": "{:.2f} x"}, entry.get("metrics", {})
    parts = [form.format(metrics[name]) for name, form in shown.items() if name in metrics]
    return ", ".join(parts + str(entry.get("reason", "")).strip().splitlines()[-1:])


def _origins(entries: Sequence[Entry]) -> dict[str, Any]:
    """Every distinct provenance with the cells it covers, the digest of the base weights, and seconds per cell."""
    groups: dict[str, dict[str, Any]] = {}
    for entry in entries:
        key = json.dumps(entry["provenance"], sort_keys=True)
        groups.setdefault(key, {**entry["provenance"], "cells": []})["cells"].append(entry["cell_id"])
    return {
        "runs": sorted(groups.values(), key=lambda group: str(group["started"])),
        "base_weights": sorted({entry["weights_digest"] for entry in entries if "weights_digest" in entry}),
        "seconds": {entry["cell_id"]: round(entry.get("seconds", 0.0), 1) for entry in entries},
    }
