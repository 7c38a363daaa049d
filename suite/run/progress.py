"""What a person sees while cells run: done, running, failed, and the time left."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Container, Iterable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suite.study.cells import Cell


class Progress:
    """A live display on a terminal, one line per finished cell elsewhere.

    The time left is the steps left of each kind times that kind's mean time per step so far, over the cells that run at
    once.
    """

    def __init__(
        self, cells: Iterable[Cell], done: Container[str], cores: int, console: Console, *, ticking: bool = True
    ) -> None:
        """Show `cells`, of which those with an id in `done` were finished before, on so many `cores` at once.

        `ticking`: draw twice a second, from a thread; without, only between steps, which disturbs no timing here.
        """
        self.console = console
        self.cells = {cell.cell_id: cell for cell in cells}
        self.cores = cores
        self.steps: dict[str, float] = {
            cell_id: cell.steps if cell_id in done else 0 for cell_id, cell in self.cells.items()
        }
        self.status = {cell_id: "done" if cell_id in done else "waiting" for cell_id in self.cells}
        self.began: dict[str, float] = {}
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])  # kind: seconds, steps
        self.start = time.monotonic()
        self.live = Live(
            get_renderable=self.render, console=console, refresh_per_second=2, transient=True, auto_refresh=ticking
        )

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def started(self, cell_id: str) -> None:
        """The cell began; a cell whose worker died begins again."""
        self.status[cell_id], self.steps[cell_id], self.began[cell_id] = "running", 0, time.monotonic()
        self._draw()

    def advanced(self, cell_id: str, steps: float) -> None:
        """So many of the cell's steps are done, or a part of its only one."""
        now = time.monotonic()
        spent = self.spent[self.cells[cell_id].kind]
        spent[0] += now - self.began[cell_id]
        spent[1] += steps - self.steps[cell_id]
        self.steps[cell_id], self.began[cell_id] = steps, now
        self._draw()

    def ended(self, cell_id: str, status: str, note: str) -> None:
        """The cell finished, was skipped, or failed."""
        self.status[cell_id], self.steps[cell_id] = status, self.cells[cell_id].steps
        name = _name(self.cells[cell_id])
        style = {"done": "green", "failed": "red"}.get(status, "yellow")
        counts = f"{self._count('done') + self._count('skipped')}/{len(self.cells)}"
        line = Text.assemble(f"{counts:>7}  ", (f"{status:<7}", style), f"  {name}  {note}")
        self.console.print(line, soft_wrap=True)

    def seconds_left(self) -> float | None:
        """Estimate of the time left, None before anything is known."""
        if not self.spent:
            return None
        total, steps = (sum(kind[part] for kind in self.spent.values()) for part in (0, 1))
        left = 0.0
        several = Counter(cell.kind for cell in self.cells.values())
        for cell_id, cell in self.cells.items():
            spent = self.spent.get(cell.kind, [total, steps])
            at_once = 1 if cell.alone else min(several[cell.kind], max(1, self.cores // cell.cores))
            left += (cell.steps - self.steps[cell_id]) * spent[0] / (spent[1] or 1) / at_once
        return left

    def render(self) -> RenderableType:
        """The display: a bar with counts and time left, and a line per running cell."""
        done, total = sum(self.steps.values()), sum(cell.steps for cell in self.cells.values())
        left = self.seconds_left()
        head = Table.grid(padding=(0, 2))
        head.add_row(
            ProgressBar(total=max(total, 1), completed=done, width=30),
            Text.assemble(
                (f"{self._count('done') + self._count('skipped')} done", "green"),
                f"  {self._count('running')} running  ",
                (f"{self._count('failed')} failed", "red" if self._count("failed") else ""),
                f"  of {len(self.cells)} cells",
            ),
            f"{_clock(time.monotonic() - self.start)} gone, {'?' if left is None else _clock(left)} left",
        )
        running = [cell for cell_id, cell in self.cells.items() if self.status[cell_id] == "running"]
        lines = [
            Text(f"  {_name(cell)}: {_part(self.steps[cell.cell_id], cell.steps)}", style="dim") for cell in running
        ]
        return Group(head, *lines)

    def _draw(self) -> None:
        if self.live.is_started:
            self.live.refresh()

    def _count(self, status: str) -> int:
        return sum(found == status for found in self.status.values())


def _name(cell: Cell) -> str:
    return f"{cell.row} ({', '.join(filter(None, [cell.kind, cell.variant]))})"


def _part(steps: float, of: int) -> str:
    return f"{steps} of {of} steps" if of > 1 else f"{steps:.0%}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
