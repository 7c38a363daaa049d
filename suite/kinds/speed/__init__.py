"""Timing: studies of speed, speed cells of other studies, `suite speed`, latency budgets."""

from functools import partial

from suite.kinds.speed.drawings import DRAWINGS
from suite.kinds.speed.schema import SpeedStudy
from suite.plugins import later
from suite.study.kind import Kind

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
    drawings=DRAWINGS,
    label=of("trace", "label"),
    cells=of("trace", "cells"),
)
