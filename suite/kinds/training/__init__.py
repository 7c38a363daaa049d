"""Training every method on several seeds, and comparing them; the kind of a study that names none."""

from functools import partial

from suite.kinds.training.figures import DRAWINGS
from suite.kinds.training.schema import Study
from suite.plugins import later
from suite.study.kind import Kind

of = partial(later, __name__)

KIND = Kind(
    name="training",
    record="cells.csv",
    schema=Study,
    problems=of("problems", "problems"),
    missing=of("study", "missing"),
    read=of("study", "read"),
    check=of("study", "check"),
    plan=of("study", "plan"),
    estimate=of("estimate", "estimate"),
    timed=of("timed_table", "timed_table"),
    run=of("runner", "run"),
    track=of("track", "track_study"),
    publish=of("track", "publish"),
    lines=of("summary", "lines_of"),
    table=of("table", "table"),
    facts=of("facts", "facts"),
    drawings=DRAWINGS,
    label=lambda line: str(line.label),
    cells=of("trace", "cells"),
    scores=of("results", "last_scores"),
    weights=of("kept", "find"),
    compare=of("agreement", "compare"),
)
