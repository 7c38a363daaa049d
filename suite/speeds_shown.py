"""What a person sees of a study of speed: its plan, and a bar while it is measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from suite.study.record import Record
from suite.study.speed_cells import Measurement

REFRESH = 0.2  # seconds between two drawings of the bar, which happen between rounds


def show_plan(planned: Sequence[Measurement], record: Record, console: Console) -> None:
    """A line for each row of each measurement."""
    for one in planned:
        console.print(f"{one.device.name}: {one.backbone.name}, batch of {one.batch_size}, {one.how.precision}")
        for row, cell in one.cells.items():
            entry = record.finished(cell) or record.failed(cell) or {"status": "to run"}
            reason = (entry.get("reason") or entry.get("tainted") or "").strip().splitlines()[-1:]
            line = "  ".join([f"{cell.cell_id}  {entry['status']:<7}  {row}", *reason])
            console.print(f"  {line}", highlight=False, soft_wrap=True)


class Bar:
    """A bar over all rounds, by their multiply-accumulates. It has no thread, which would disturb what is timed.

    Args:
        left: what is to be measured.
        macs: of an image, by backbone and row.
        console: to draw on.
    """

    def __init__(self, left: Sequence[Measurement], macs: Mapping[str, Mapping[str, float]], console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self.console = console
        self.progress = Progress(
            *columns, console=console, transient=True, auto_refresh=False, speed_estimate_period=3600
        )
        self.weights = {id(one): one.batch_size * sum(macs[one.backbone.name].values()) for one in left}
        self.task = self.progress.add_task("", total=sum(self._whole(one) for one in left))
        self.ahead, self.drawn = 0.0, 0.0

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def say(self, one: Measurement, what: str) -> None:
        """Say what is done now."""
        text = f"{one.backbone.name}, batch of {one.batch_size}{': ' if what else ''}{what}"
        self.progress.update(self.task, description=text, refresh=True)

    def round(self, one: Measurement) -> None:
        """One more round is done."""
        due = time.monotonic() - self.drawn > REFRESH
        self.progress.update(self.task, advance=self.weights[id(one)], refresh=due)
        self.drawn = time.monotonic() if due else self.drawn

    def ended(self, one: Measurement, how: str) -> None:
        """A measurement ended."""
        self.ahead += self._whole(one)
        self.progress.update(self.task, completed=self.ahead, refresh=True)
        self.console.print(f"{one.backbone.name}, batch of {one.batch_size}: {how}", highlight=False, soft_wrap=True)

    def _whole(self, one: Measurement) -> float:
        return (one.how.rounds + one.how.warmup_rounds) * self.weights[id(one)]
