"""A progress bar that does not disturb what is timed."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn

REFRESH = 0.2  # seconds between two drawings


class ManualProgress:
    """It has no thread of its own, which would compute while models are timed: it is drawn between rounds."""

    def __init__(self, console: Console, total: float, *columns: ProgressColumn, memory: float = 30.0) -> None:
        """`memory`: the seconds from which the time that remains is estimated."""
        self.progress = Progress(
            *columns, console=console, transient=True, auto_refresh=False, speed_estimate_period=memory
        )
        self.task = self.progress.add_task("", total=total)
        self.drawn = 0.0

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def show(self, text: str) -> None:
        """Say what is done now."""
        self.progress.update(self.task, description=text, refresh=True)

    def advance(self, by: float = 1) -> None:
        """So much more is done."""
        due = time.monotonic() - self.drawn > REFRESH
        self.progress.update(self.task, advance=by, refresh=due)
        self.drawn = time.monotonic() if due else self.drawn
