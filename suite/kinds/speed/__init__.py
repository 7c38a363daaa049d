"""Timing: studies of speed, speed cells of other studies, `suite speed`, latency budgets."""

from functools import partial

from suite.kinds.speed.schema import SpeedStudy
from suite.plugins import later
from suite.study.kind import Drawing, Kind

of = partial(later, __name__)

KIND = Kind(
    name="speed",
    record="rounds.csv",
    schema=SpeedStudy,
    problems=of("checks", "problems"),
    check=of("run", "check"),
    plan=of("run", "plan"),
    run=of("run", "run"),
    lines=of("lines", "lines"),
    table=of("table", "table"),
    facts=of("facts", "facts"),
    drawings={
        "speed": Drawing(
            "Measured and published speed",
            "Speed-up of every row over the unpruned model of the same backbone. Circles are measured, hollow where "
            "the timing is unreliable (‡ in the table); diamonds are published, squares too but read in a text about "
            "the source.",
            of("figure", "draw_speeds"),
        )
    },
    label=of("table", "label"),
    cells=of("table", "cells"),
)
