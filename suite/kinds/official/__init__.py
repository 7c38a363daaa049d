"""The official code of each method, timed beside ours; made by `suite race`."""

from functools import partial

from suite.plugins import later
from suite.study.kind import Kind

of = partial(later, __name__)

KIND = Kind(
    name="official",
    record="race.csv",
    command="suite race",
    lines=of("record", "lines"),
    table=of("table", "official_table"),
    facts=of("table", "facts"),
    label=of("table", "label"),
    cells=of("table", "cells"),
)
