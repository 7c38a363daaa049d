"""Tokens and multiply-accumulates beside published figures."""

from functools import partial

from suite.kinds.costs.schema import CostStudy
from suite.plugins import later
from suite.study.kind import Kind

of = partial(later, __name__)

KIND = Kind(
    name="costs",
    record="figures.csv",
    schema=CostStudy,
    check=of("compute", "check"),
    plan=of("compute", "plan"),
    run=of("compute", "run"),
    lines=of("record", "lines"),
    table=of("table", "cost_table"),
    facts=of("facts", "facts"),
    label=of("trace", "label"),
    cells=of("trace", "cells"),
)
