"""Behind a number of a study of speed: the rounds of its row, and of the row that it is compared to, on one device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from suite.kinds.speed.lines import Line
from suite.kinds.speed.rounds import Round, asked_for, read_rounds
from suite.kinds.speed.table import COLUMNS, OF_PUBLISHED
from suite.report.layout import MISSING
from suite.report.trace import Used
from suite.study.load import study_of


def label(line: Line) -> str:
    """Backbone and row; batch and device in brackets."""
    return f"{line.backbone} {line.row} [{line.batch_size}, {line.setup.device}]"


def cells(folder: Path, lines: Sequence[Line], line: Line, key: str, field: str) -> list[Used]:
    """The cells of the row, and of the row that it is compared to where the column is about both."""
    if line.measured is None or key in ("published", *OF_PUBLISHED):
        return []
    rounds, _ = asked_for(study_of(folder.name), read_rounds(folder))
    names = [line.row, *([line.compare_to] if key == "compare_to ratio" and line.compare_to else [])]
    metric = next(column.metric for column in COLUMNS if column.key == key)
    return [cell for name in names for cell in _cells(line, name, rounds, metric)]


def _cells(line: Line, row: str, rounds: Sequence[Round], metric: str) -> Iterator[Used]:
    """The cell of a row with the value of every round; an empty one was not measured."""
    wanted = asdict(line.setup) | {"backbone": line.backbone, "batch_size": line.batch_size, "row": row}
    own = [one for one in rounds if all(one[name] == value for name, value in wanted.items())]
    for cell_id in dict.fromkeys(one["cell_id"] for one in own):
        values = tuple(float(one[metric]) for one in own if metric and one["cell_id"] == cell_id and one[metric])
        yield Used(cell_id, row, MISSING, "done", values, "s" if metric == "seconds" else "x")
