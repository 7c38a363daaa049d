"""Warnings, and the progress bar of everything that takes long; it does not disturb what is timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from suite.redaction import redacted

Item = TypeVar("Item")
REFRESH = 0.2  # seconds between two drawings


def plain(**options: Any) -> Console:
    """A console that shows text as it is: its brackets and colons are no markup and no emoji."""
    return Console(markup=False, emoji=False, **options)


def warn(sentence: str) -> None:
    """Say on stderr what a person should know, though everything goes on."""
    console = plain(stderr=True, highlight=False)
    console.print(redacted(f"warning: {sentence}"), soft_wrap=True)


class Lossy:
    """A text stream for long work: where its reader is gone or its disk is full, what is written is lost.

    That is said once, on stderr, and the work goes on.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.lost = stream, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write what can be written."""
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        self._try(self.stream.flush)

    def _try(self, act: Callable[[], object]) -> None:
        if self.lost:
            return
        try:
            act()
        except OSError as error:
            self.lost = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())  # so that Python can end, too
            warn(f"nothing more can be written to the output ({error.strerror}); the work goes on")


class ManualProgress:
    """It has no thread of its own, which would compute while models are timed: it is drawn when something is done.

    On a terminal only; it is gone when it ends.
    """

    def __init__(
        self,
        console: Console,
        total: float | None = None,
        *columns: ProgressColumn,
        text: str = "",
        memory: float = 30.0,
    ) -> None:
        """`columns`: by default text, bar, count and time left, estimated from the last `memory` seconds."""
        usual = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(
            *(columns or usual),
            console=console,
            transient=True,
            auto_refresh=False,
            speed_estimate_period=memory,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task(text, total=total)
        self.drawn = 0.0

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def show(self, text: str) -> None:
        """Say what is done now."""
        self.progress.update(self.task, description=text, refresh=True)

    def tell(self, label: str, what: str) -> None:
        """Say what is done now with what is called `label`."""
        self.show(f"{label}: {what}" if what else label)

    def advance(self, by: float = 1) -> None:
        """So much more is done."""
        self.progress.update(self.task, advance=by)
        self._draw()

    def reach(self, done: float, total: float) -> None:
        """So much is done, of so much."""
        self.progress.update(self.task, completed=done, total=total)
        self._draw()

    def _draw(self) -> None:
        if time.monotonic() - self.drawn > REFRESH:
            self.progress.refresh()
            self.drawn = time.monotonic()


def track(items: Iterable[Item], what: str, total: int, console: Console) -> Iterator[Item]:
    """The items, with a bar on a terminal as long as there are more; `what` names them beside it."""
    with ManualProgress(console, total, text=what) as bar:
        for item in items:
            bar.advance()
            yield item
