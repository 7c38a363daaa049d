"""What a person sees while cells run."""

import io

import pytest
from rich.console import Console

from suite.run import progress
from suite.run.progress import Progress
from suite.study.cells import Cell


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
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
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
