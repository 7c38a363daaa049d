"""Every method on weights as they are, without training: accuracy, and loyalty to the unpruned model."""

from functools import partial

from suite.kinds.off_the_shelf.schema import OffTheShelfStudy
from suite.plugins import later
from suite.study.kind import Drawing, Kind

of = partial(later, __name__)

KIND = Kind(
    name="off-the-shelf",
    record="loyalty.csv",
    schema=OffTheShelfStudy,
    problems=of("problems", "problems"),
    missing=of("run", "missing"),
    check=of("run", "check"),
    plan=of("run", "plan"),
    estimate=of("run", "estimate"),
    read=of("run", "read"),
    run=of("run", "run"),
    lines=of("record", "lines"),
    table=of("table", "table"),
    facts=of("facts", "facts"),
    drawings={
        "budgets": Drawing(
            "Loyalty to the unpruned model over budgets",
            "Mean over images with its 95 % interval against multiply-accumulates, each row a line over the schedules.",
            of("figure", "draw_budgets"),
        ),
        "pareto": Drawing(
            "Score against speed",
            "Mean over images against median speed, with the Pareto front; a hollow mark is an unreliable timing.",
            of("figure", "draw_speeds"),
        ),
    },
    label=lambda line: str(line.label),
    cells=of("table", "cells"),
)
