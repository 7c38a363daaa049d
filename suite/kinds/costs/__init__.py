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
    lines=of("figures", "lines"),
    table=of("table", "cost_table"),
    facts=of("facts", "facts"),
    label=lambda line: line.figure.id,
    published=of("table", "published"),
    cells=lambda _folder, _lines, _line, _key, _field: (),  # what was counted is in the record
)
