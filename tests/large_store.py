"""A study of many cells whose record and MLflow store are complete; made from one real run per row.

`python tests/large_store.py 10000` times what `suite run` does when nothing is left to run.
"""

import contextlib
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from suite.kinds.training.mlflow_views import box_plots, row_metrics, saved, views
from suite.kinds.training.runner import export
from suite.kinds.training.summary import read_record, summarise
from suite.kinds.training.table import study_table
from suite.kinds.training.track import Tracking
from suite.report.render import markdown
from suite.run.mlflow_writer import Summary, Tracker, digest_of
from suite.study.cells import Cell
from suite.study.store import FORMAT, Entry, Record

TITLE = "large"
ROWS = ("none", "random", "tome", "evit", *(f"cropr {index}" for index in range(16)))


def cell_of(row: str, seed: int) -> Cell:
    """An accuracy cell as a study of classification has them."""
    removed = [0] * 6 if row == "none" else [12, 12, 12, 12, 0, 0]
    identity = {
        "kind": "accuracy",
        "protocol": 1,
        "task": "classification",
        "device": "cpu",
        "precision": "float32",
        "backbone": {"name": "vit_tiny_patch16_224", "options": {"img_size": 32, "patch_size": 4}},
        "classes": 10,
        "method": row.split(maxsplit=1)[0],
        "version": 1,
        "removed": removed,
        "fusion": "none",
        "settings": {"row": row},
        "data": {"recipe": {"recipe": "digit-scenes"}, "digest": "0"},
        "recipe": {"epochs": 8, "batch_size": 32, "learning_rate": 1e-3},
        "threads": 1,
        "seed": seed,
        "start": "none",
    }
    return Cell(identity, row, "none" if row == "none" else "12 12 12 12 0 0")


def result_of(cell: Cell) -> dict[str, Any]:
    """What a worker reports, with as many numbers as a real cell has."""
    score = 50 + len(cell.row) + cell.identity["seed"] / 1000
    names = ("acc1_last", "acc1_best", "tokens_fewest", "macs_full", "macs_linear")
    ledger = ("tokens_attention", "tokens_mlp", "tokens_leaving")
    return {
        "status": "done",
        "reason": "",
        "seconds": 1.0,
        "metrics": dict(zip(names, (score, score, 17, 9e6, 8e6), strict=True)),
        "units": dict.fromkeys((*names, *ledger), "1"),
        "curves": {name: [score] * 8 for name in ("loss", "acc1", "learning_rate")},
        "repetitions": {name: [65, 53, 41, 29, 17, 17] for name in ledger},
        "provenance": {"commit": "0", "started": "then", "versions": {}},
    }


def make(folder: Path, count: int) -> list[Cell]:
    """The record of so many cells and a store with their runs; all but one run of each row are copied inside sqlite."""
    record = Record(folder)
    cells = [cell_of(row, seed) for row in ROWS for seed in range(count // len(ROWS))]
    templates: dict[str, Cell] = {}
    entries: dict[str, Entry] = {}
    tracker = Tracker(TITLE, cells, folder)
    (record.home / "cells").mkdir(parents=True)
    (record.home / "format").write_text(FORMAT)
    for cell in cells:
        entry = entries[cell.cell_id] = {"cell_id": cell.cell_id, "identity": cell.identity} | result_of(cell)
        (record.home / "cells" / f"{cell.cell_id}.json").write_text(json.dumps(entry, indent=1))
        if templates.setdefault(cell.row, cell) is cell:
            tracker.sync(cell, entry)
    with sqlite3.connect(folder / "mlflow.db") as store:
        for row, template in templates.items():
            own = [cell for cell in cells if cell.row == row and cell is not template]
            digests = [digest_of(cell, entries[cell.cell_id], several=False) for cell in own]
            _copy(store, tracker.known[template.cell_id][0].run_id, own, digests)
    return cells


def _copy(store: sqlite3.Connection, source: str, cells: list[Cell], digests: list[str]) -> None:
    """Other runs like this one, for other cells."""
    for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
        rows = store.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (source,))
        names = [column[0] for column in rows.description]
        lines = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
        copies = []
        for cell, digest in zip(cells, digests, strict=True):
            changed = {"cell_id": cell.cell_id, "seed": str(cell.identity["seed"]), "complete": digest}
            for line in lines:
                values = line | {"run_uuid": f"{cell.cell_id:0>32}"}
                if table == "tags" and values["key"] in changed:
                    values["value"] = changed[values["key"]]
                copies.append(tuple(values.values()))
        store.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(names))})", copies)


def timed(what: str, work: Callable[[], Any], seconds: dict[str, float]) -> Any:
    """Do it, and note how much processor time it took."""
    start = time.process_time()
    found = work()
    seconds[what] = time.process_time() - start
    return found


def look_through(folder: Path, cells: list[Cell]) -> dict[str, float]:
    """Processor seconds of every part of a `suite run` with nothing left to run, its table and MLflow's parents too."""
    from rich.console import Console

    seconds: dict[str, float] = {}
    record, results = Record(folder), folder / "results" / TITLE
    with contextlib.chdir(folder):
        tracking = timed("read the store", lambda: Tracking(TITLE, cells, Console()), seconds)
    tracker = tracking.tracker
    timed("compare with the record", lambda: tracking.catch_up(record), seconds)
    timed("export the record", lambda: export(results, cells, record), seconds)
    lines = timed("build the table", lambda: summarise(read_record(results)), seconds)
    summary = Summary(row_metrics(lines), markdown(study_table(TITLE, lines)), box_plots(lines), saved(views(lines)))
    timed("give medians to parents", lambda: tracker.conclude(summary, results), seconds)
    return seconds


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        made: dict[str, float] = {}
        all_cells = timed("make the store", lambda: make(Path(place), int(sys.argv[1])), made)
        for name, value in (made | look_through(Path(place), all_cells)).items():
            print(f"{value:6.1f} s  {name}")  # noqa: T201
