"""Behind a number of a table of costs: a published figure has its id, and no cells, for it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suite.kinds.costs.figures import Line
from suite.report.trace import Used


def label(line: Line) -> str:
    """The id of the published figure."""
    return line.figure.id


def cells(folder: Path, lines: Sequence[Line], line: Line, key: str, field: str) -> list[Used]:
    """None: what was counted is in the record."""
    return []
