"""MLflow's store with ten thousand runs; all but a few are copied inside sqlite."""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from pace import slowness
from test_mlflow import cell_of, entry_of

from suite.run.mlflow_writer import Tracker, digest_of
from suite.study.cells import Cell

COUNT = 10_000
EACH = 2e-3  # seconds of a processor


def multiply(store: sqlite3.Connection, source: str, cells: Sequence[Cell]) -> None:
    """Copies of a run, for other cells, as if each were written by itself."""
    own = [(f"{cell.cell_id:0>32}", cell.cell_id, digest_of(cell, entry_of(cell), several=False)) for cell in cells]
    store.execute("CREATE TEMP TABLE own (run_uuid, cell_id, complete)")
    store.executemany("INSERT INTO own VALUES (?, ?, ?)", own)
    changed = "CASE old.key WHEN 'cell_id' THEN own.cell_id WHEN 'complete' THEN own.complete ELSE old.value END"
    for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
        columns = {name: f"old.{name}" for _, name, *_ in store.execute(f"PRAGMA table_info({table})")}
        columns |= {"run_uuid": "own.run_uuid"} | ({"value": changed} if table == "tags" else {})
        new = ", ".join(columns.values())
        store.execute(f"INSERT INTO {table} SELECT {new} FROM {table} AS old, own WHERE old.run_uuid = ?", (source,))
    store.execute("DROP TABLE own")


def runs(folder: Path) -> set[str]:
    """Ids of all runs of a store."""
    with sqlite3.connect(folder / "mlflow.db") as store:
        return {run for (run,) in store.execute("SELECT run_uuid FROM runs")}


@pytest.mark.slow
def test_one_cell_more_costs_little(tmp_path: Path) -> None:
    """All runs are read, every cell but the new one is found as it is, and one run is written."""
    first, *others, new = cells = [cell_of("random", seed) for seed in range(COUNT)]
    tracker = Tracker("trial", cells, tmp_path)
    tracker.sync(first, entry_of(first))
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        multiply(store, tracker.known[first.cell_id][0].run_id, others)
    before = runs(tmp_path)
    start = time.process_time()
    tracker = Tracker("trial", cells, tmp_path)
    for cell in cells:
        tracker.sync(cell, entry_of(cell))
    seconds = time.process_time() - start
    assert len(before) == 2 + COUNT - 1, "the study, the row and all cells but one"
    assert runs(tmp_path) - before == {tracker.known[new.cell_id][0].run_id}
    assert seconds / min(slowness() for _ in range(3)) < EACH * COUNT
