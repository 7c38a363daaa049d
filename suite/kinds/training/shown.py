"""Values of lines as the table shows them, and words for them, for the sentences of the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from suite.kinds.training.summary import Line
from suite.kinds.training.table import schedules
from suite.report.layout import Table

CONTROL = "random pruning"
NAMES = {"classification": "top-1 accuracy", "segmentation": "mIoU"}
LETTER = re.compile("[a-z]'*")


class Shown:
    """Values of lines as the table shows them."""

    def __init__(self, lines: Sequence[Line], table: Table) -> None:
        self.lines = lines
        self.columns = {column.key: column for column in table.columns}
        self.rows = {line.label: row for line, row in zip(lines, table.rows(), strict=True)}
        self.name = NAMES[lines[0].task]
        self.several = len(schedules(lines)) > 1

    def text(self, line: Line, key: str) -> str:
        """A value without its mark; empty where there is none."""
        value = self.rows[line.label].values.get(key)
        return "" if value is None else self.columns[key].show(value)

    def marked(self, line: Line, key: str) -> str:
        """A value with the mark that the table has at it."""
        return self.rows[line.label].text(self.columns[key])

    def score(self, line: Line) -> str:
        """Median and interval."""
        assert line.accuracy is not None
        level = f", {100 * line.interval.level:g} % interval {self.text(line, 'interval')}" if line.interval else ""
        return f"{self.text(line, 'score')} % ({self.name}, {plural(line.accuracy.n, 'seed')}{level})"


def differs_significantly(one: Line, other: Line) -> bool:
    """Whether two rows share no group; a row without one, as of a single seed, takes part in no test."""
    return bool(one.group and other.group) and not letters_of(one) & letters_of(other)


def letters_of(line: Line) -> set[str]:
    """The groups of a line; after z comes a'."""
    return set(LETTER.findall(line.group))


def plural(count: int, what: str) -> str:
    """So many of something."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
