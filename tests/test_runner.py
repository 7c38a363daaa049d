"""What the driver keeps, and what a person sees while cells run."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from suite.kinds.training import estimate
from suite.kinds.training.cells import expand
from suite.kinds.training.runner import CellQueue
from suite.kinds.training.track import Tracking
from suite.run.in_process import attempt, run_cells
from suite.run.on_ray import _config, _resources
from suite.run.progress import Progress
from suite.study.cells import Cell, Job, Result
from suite.study.load import load
from suite.study.store import Record

STUDIES = Path(__file__).parents[1] / "studies"
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
    record, told = Record(tmp_path), []
    progress = Progress([CELL], set(), 1, Console(file=io.StringIO()))
    keeper = CellQueue([CELL], record, progress, lambda cell, _entry: told.append(cell))
    for _ in range(2):
        keeper.started(CELL.cell_id)
        keeper.ended(CELL.cell_id, result() | {"origin": {"device": "Fake 1"}})
    keeper.ended(CELL.cell_id, {"status": "failed", "reason": "the worker process died"})
    entry = record.finished(CELL)
    assert entry is not None
    assert entry["metrics"] == {"acc1_last": 90.0}
    assert record.failed(CELL) is None
    assert told == [CELL]
    assert entry["provenance"]["device"] == "Fake 1", "the worker's: the driver may run on another machine"
    assert entry["provenance"]["command"]
    assert "origin" not in entry


@pytest.mark.parametrize(("own", "quiet"), [({"speed": {}}, 1), ({"recipe": {}}, 0.001)])
@pytest.mark.parametrize(("device", "gpu"), [("cpu", {}), ("cuda", {"GPU": 1})])
def test_a_speed_cell_takes_all_of_its_machine(own: Any, quiet: float, device: str, gpu: dict[str, int]) -> None:
    """Nobody else can hold any of `quiet` while it runs; all others share it. On cuda it takes a GPU of any node."""
    cell = Cell({"threads": 2, "device": device} | own, "a", "b")
    assert _resources({"cell": _config(cell, None, Path())}).bundles == [{"CPU": 2, "quiet": quiet} | gpu]


def test_a_cell_waits_for_its_own_base_and_no_other(tmp_path: Path) -> None:
    """Two bases, one of which fails: what starts from that is never handed out, and nothing is waited for."""
    bases = [Cell(CELL.identity | {"kind": "base", "seed": seed}, "base", "none") for seed in range(2)]
    own = [Cell(CELL.identity | {"seed": seed}, "random", "8 8 0", base.cell_id) for seed, base in enumerate(bases)]
    record, progress = Record(tmp_path), Progress([*bases, *own], set(), 2, Console(file=io.StringIO()))
    queue = CellQueue([*bases, *own], record, progress, lambda *_: None)
    assert [queue.take(), queue.take(), queue.take()] == [*bases, None]
    assert queue.may_grow()
    queue.ended(bases[1].cell_id, result() | {"weights": b"w"})
    assert queue.take() == own[1]
    assert queue.weights(own[1]) == record.weights_file(bases[1].cell_id)
    assert (queue.take(), queue.may_grow()) == (None, True)
    queue.ended(bases[0].cell_id, {"status": "failed", "reason": "no"})
    assert (queue.take(), queue.may_grow()) == (None, False)


def test_a_cell_whose_base_became_the_same_again_is_not_run_again(tmp_path: Path) -> None:
    """Its weights were lost, and with them what started from them; the same bits bring it back."""
    base = Cell(CELL.identity | {"kind": "base"}, "base", "none")
    own = Cell(CELL.identity, "random", "8 8 0", base.cell_id)
    record, progress = Record(tmp_path), Progress([base, own], set(), 1, Console(file=io.StringIO()))
    record.add(base, result(), b"w")
    record.add(own, result())
    record.weights_file(base.cell_id).unlink()
    assert record.finished(own) is None
    queue = CellQueue([base, own], record, progress, lambda *_: None)
    assert queue.take() == base
    queue.ended(base.cell_id, result() | {"weights": b"w"})
    assert queue.take() is None
    assert record.finished(own) is not None


def test_an_outage_of_mlflow_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, the cell is in the record, and later it is written."""
    monkeypatch.chdir(tmp_path)
    record, console = Record(), Console(file=io.StringIO(), width=200)
    tracking = Tracking("trial", [CELL], console)
    tracker = tracking.tracker
    assert tracker is not None
    experiment, tracker.experiment = tracker.experiment, type("Gone", (), {"experiment_id": "999"})()
    CellQueue([CELL], record, Progress([CELL], set(), 1, console), tracking.sync).ended(CELL.cell_id, result())
    assert "write it later with: suite track trial" in console.file.getvalue()  # type: ignore[attr-defined]
    assert record.finished(CELL) is not None
    tracker.experiment = experiment
    tracking.catch_up(record)
    assert len(tracker.client.search_runs([experiment.experiment_id], "tags.kind = 'accuracy'")) == 1


def test_in_this_process_cells_run_in_order_and_fail_alone(tmp_path: Path) -> None:
    """A cell gets the weights that it starts from, says its steps, and may write below `scratch`; Ctrl-C passes."""
    cells = [Cell({"seed": seed}, "a", "b", start="base") for seed in range(3)]
    waiting, base = list(cells), tmp_path / "base.pt"
    base.write_bytes(b"w")
    seen: list[tuple[str, Any]] = []

    class Watching:
        def take(self) -> Cell | None:
            return waiting.pop(0) if waiting else None

        def may_grow(self) -> bool:
            return False

        def weights(self, cell: Cell) -> Path | None:
            return base

        def started(self, cell_id: str) -> None:
            seen.append(("started", cell_id))

        def advanced(self, cell_id: str, steps: int) -> None:
            seen.append(("advanced", steps))

        def ended(self, cell_id: str, result: Result) -> None:
            seen.append(("ended", result["reason"].splitlines()[-1]))

    def work(job: Job) -> Result:
        if job.identity["seed"] == 1:
            raise ValueError("no")
        if job.identity["seed"] == 2:
            raise KeyboardInterrupt
        job.progress(5)
        Path(job.places["scratch"]).mkdir()
        assert job.weights == base
        return {"reason": "fine"}

    with pytest.raises(KeyboardInterrupt):
        run_cells(work, Watching(), tmp_path / "scratch")
    first, second, third = (("started", cell.cell_id) for cell in cells)
    assert seen == [first, ("advanced", 5), ("ended", "fine"), second, ("ended", "ValueError: no"), third]
    assert not (tmp_path / "scratch").exists()
    assert attempt(work, Job({"seed": 1}, None))["status"] == "failed"


def cell(kind: str, seed: int, epochs: int = 4) -> Cell:
    """A cell of so many steps."""
    identity = {"kind": kind, "seed": seed, "threads": 1, "recipe": {"epochs": epochs}}
    return Cell(identity, f"{kind} row", "8 8 0")


def shown(display: Progress) -> str:
    """What the display looks like now."""
    console = Console(file=io.StringIO(), width=120)
    console.print(display.render())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_counts_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Done, running and failed cells, and the time left from the time per step so far."""
    clock = [0.0]
    monkeypatch.setattr("suite.run.progress.time.monotonic", lambda: clock[0])
    base, *others = cells = [cell("base", 0), *(cell("accuracy", seed, epochs=1) for seed in range(4))]
    display = Progress(cells, set(), cores=2, console=Console(file=io.StringIO(), width=120))
    assert "0 done  0 running  0 failed  of 5 cells" in shown(display)
    assert "? left" in shown(display)
    display.started(base.cell_id)
    clock[0] = 10.0
    display.advanced(base.cell_id, 1)
    assert display.seconds_left() == pytest.approx(3 * 10 + 4 * 10 / 2), (
        "unknown kinds cost as much a step as known ones"
    )
    assert "base row (base, seed 0): 1 of 4 steps" in shown(display)
    display.advanced(base.cell_id, 4)
    display.ended(base.cell_id, "done", "90 %")
    display.started(others[0].cell_id)
    clock[0] = 12.0
    display.advanced(others[0].cell_id, 1)
    display.ended(others[0].cell_id, "failed", "ValueError: it broke")
    assert "1 done  0 running  1 failed  of 5 cells" in shown(display)
    assert display.seconds_left() == pytest.approx(3 * 2 / 2)
    assert "0:12 gone, 0:03 left" in shown(display)


def test_a_line_per_finished_cell() -> None:
    """Where nobody watches, every ended cell leaves a line."""
    only, earlier = cell("accuracy", 7), cell("accuracy", 8)
    console = Console(file=io.StringIO(), width=120)
    with Progress([only, earlier], {earlier.cell_id}, cores=1, console=console) as display:
        display.started(only.cell_id)
        display.ended(only.cell_id, "done", "90.0 %")
    line = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert line == "2/2 done accuracy row (accuracy, seed 7) 90.0 %"


def test_what_is_left_takes_as_long_as_what_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cell, else its row, else its kind; nothing is said of a kind that has none."""
    cells = [cell for cell in expand(load(str(STUDIES / "quickstart.yaml")).study) if not cell.alone]
    bases, rows = ([cell for cell in cells if (cell.kind == "base") is wanted] for wanted in (True, False))
    monkeypatch.setattr(estimate, "_seconds", lambda *_: {bases[0].cell_id: 60.0})
    assert "is not known" in estimate.duration("quickstart", cells, rows, 2)
    known = {bases[0].cell_id: 60.0, rows[0].cell_id: 120.0, rows[-1].cell_id: 240.0}
    monkeypatch.setattr(estimate, "_seconds", lambda *_: known)
    first, last = ([cell for cell in rows if cell.row == one.row] for one in (rows[0], rows[-1]))
    assert len(first) == len(last) == 5
    assert "the others about 10 min on 1 idle cores" in estimate.duration("quickstart", cells, first, 1)
    assert "the others about 10 min on 2 idle cores" in estimate.duration("quickstart", cells, last, 2)
    other = [cell for cell in rows if cell.row not in (rows[0].row, rows[-1].row)]
    assert f"about {len(other) * 180 / 3600:.1f} h on 1" in estimate.duration("quickstart", cells, other, 1)
    assert not estimate.duration("quickstart", cells, [], 2)
