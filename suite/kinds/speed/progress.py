"""What a person sees while a study of speed is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from suite.kinds.speed.cells import Measurement
from suite.terminal import ManualProgress


class Bar(ManualProgress):
    """A bar over all rounds, by their multiply-accumulates.

    Args:
        left: what is to be measured.
        macs: of an image, by backbone and row.
        console: to draw on.
    """

    def __init__(self, left: Sequence[Measurement], macs: Mapping[str, Mapping[str, float]], console: Console) -> None:
        self.weights = {id(one): one.options.batch * sum(macs[one.backbone.name].values()) for one in left}
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        super().__init__(console, sum(self._whole(one) for one in left), *columns, memory=3600)
        self.console, self.ahead = console, 0.0

    def say(self, one: Measurement, what: str) -> None:
        """Say what is done now."""
        self.show(f"{one.label}{': ' if what else ''}{what}")

    def round(self, one: Measurement) -> None:
        """One more round is done."""
        self.advance(self.weights[id(one)])

    def ended(self, one: Measurement, how: str) -> None:
        """A measurement ended."""
        self.ahead += self._whole(one)
        self.progress.update(self.task, completed=self.ahead, refresh=True)
        self.console.print(f"{one.label}: {how}", highlight=False, soft_wrap=True)

    def _whole(self, one: Measurement) -> float:
        return (one.options.rounds + one.options.warmup_rounds) * self.weights[id(one)]
