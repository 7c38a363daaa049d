"""What the driver keeps."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from suite.kinds.training.runner import ResultWriter
from suite.run.mlflow_writer import Tracker
from suite.run.on_ray import _resources
from suite.run.progress import Progress
from suite.study.cells import Cell
from suite.study.store import Record

CELL = Cell(
    {
        "kind": "accuracy",
        "task": "classification",
        "protocol": 1,
        "seed": 3,
        "threads": 1,
        "method": "random",
        "settings": {},
        "removed": [8, 8, 0],
        "fusion": "none",
        "recipe": {"epochs": 1},
    },
    "random",
    "8 8 0",
)


def result() -> dict[str, Any]:
    """What a worker reports."""
    return {"status": "done", "reason": "", "metrics": {"acc1_last": 90.0}, "units": {"acc1_last": "%"}}


def test_a_result_that_arrives_twice_is_kept_once(tmp_path: Path) -> None:
    """A worker that dies between its last word and its end is replaced, and the replacement reports again."""
    record, tracker = Record(tmp_path), Tracker("trial", [CELL], tmp_path)
    progress = Progress([CELL], set(), 1, Console(file=io.StringIO()))
    keeper = ResultWriter([CELL], record, tracker, progress)
    for _ in range(2):
        keeper.started(CELL.cell_id)
        keeper.ended(CELL.cell_id, result())
    keeper.ended(CELL.cell_id, {"status": "failed", "reason": "the worker process died"})
    entry = record.finished(CELL)
    assert entry is not None
    assert entry["metrics"] == {"acc1_last": 90.0}
    assert record.failed(CELL) is None
    cells = tracker.client.search_runs([tracker.experiment.experiment_id], "tags.kind = 'accuracy'")
    assert len(cells) == 1


@pytest.mark.parametrize(("kind", "quiet"), [("speed", 1), ("accuracy", 0.001), ("base", 0.001)])
def test_a_speed_cell_takes_all_of_its_machine(kind: str, quiet: float) -> None:
    """Nobody else can hold any of `quiet` while it runs; all others share it."""
    config = {"cell": {"identity": {"kind": kind, "threads": 2, "device": "cpu"}}}
    assert _resources(config).bundles == [{"CPU": 2, "quiet": quiet}]


@pytest.mark.parametrize(("kind", "quiet"), [("speed", 1), ("accuracy", 0.001)])
def test_a_cell_on_cuda_takes_a_gpu(kind: str, quiet: float) -> None:
    """One, of whatever node has it; where speed is measured, with the machine around it."""
    config = {"cell": {"identity": {"kind": kind, "threads": 4, "device": "cuda"}}}
    assert _resources(config).bundles == [{"CPU": 4, "quiet": quiet, "GPU": 1}]


def test_what_a_worker_says_of_its_machine_is_in_the_provenance(tmp_path: Path) -> None:
    """The driver may run on another one: the device is the worker's."""
    record, tracker = Record(tmp_path), Tracker("trial", [CELL], tmp_path)
    progress = Progress([CELL], set(), 1, Console(file=io.StringIO()))
    said = result() | {"origin": {"device": "Fake 1"}}
    ResultWriter([CELL], record, tracker, progress).ended(CELL.cell_id, said)
    entry = record.finished(CELL)
    assert entry is not None
    assert entry["provenance"]["device"] == "Fake 1"
    assert entry["provenance"]["command"]
    assert "origin" not in entry


def test_an_outage_of_mlflow_loses_nothing(tmp_path: Path) -> None:
    """It is said, the cell is in the record, and the next run writes it."""
    record, tracker = Record(tmp_path), Tracker("trial", [CELL], tmp_path)
    console = Console(file=io.StringIO(), width=200)
    experiment, tracker.experiment = tracker.experiment, type("Gone", (), {"experiment_id": "999"})()
    ResultWriter([CELL], record, tracker, Progress([CELL], set(), 1, console)).ended(CELL.cell_id, result())
    assert "not written to MLflow, the next run will" in console.file.getvalue()  # type: ignore[attr-defined]
    entry = record.finished(CELL)
    assert entry is not None
    tracker.experiment = experiment
    tracker.sync(CELL, entry)
    assert len(tracker.client.search_runs([experiment.experiment_id], "tags.kind = 'accuracy'")) == 1
