"""The figures of a study of speed; drawing them imports what is heavy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suite.study.kind import Drawing


def _draw(_folder: Path, lines: Sequence[Any], path: Path) -> None:
    from suite.kinds.speed.figure import draw_speeds

    draw_speeds(lines, path)


DRAWINGS = {
    "speed": Drawing(
        "Measured and published speed",
        "Speed-up of every row over the unpruned model of the same backbone. Circles are measured, hollow where the "
        "timing is unreliable (‡ in the table); diamonds are published, squares too but read in a text about the "
        "source.",
        _draw,
    )
}
