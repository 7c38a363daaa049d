"""How rows are drawn in every figure: colours for colour-blind readers, a marker each for print in grey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import seaborn as sns

from suite.kinds.training.line import Line
from suite.kinds.training.summary import CONTROL

MARKERS = "osD^vP<X>*hpd8"
BLACK, GREY = (0.0, 0.0, 0.0), (0.55, 0.55, 0.55)

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """How a line of the table is drawn in every figure."""

    colour: Colour
    marker: str


def looks(lines: Sequence[Line]) -> dict[str, Look]:
    """By label: a colour for each method, a marker for each line; unpruned is black, random pruning grey."""
    methods = sorted({line.method for line in lines if not line.unpruned} - {CONTROL})
    colours: dict[str, Colour] = dict(zip(methods, sns.color_palette("colorblind", len(methods)), strict=True))
    colours |= {line.method: BLACK for line in lines if line.unpruned} | {CONTROL: GREY}
    return {line.label: Look(colours[line.method], MARKERS[place % len(MARKERS)]) for place, line in enumerate(lines)}
