"""Deployed models in torch.compile, torch.export and ONNX Runtime; made by `suite export`."""

from functools import partial

from suite.plugins import later
from suite.study.kind import Kind

of = partial(later, __name__)

KIND = Kind(
    name="export",
    record="findings.csv",
    command="suite export",
    lines=of("record", "lines"),
    table=of("table", "export_table"),
    facts=of("table", "facts"),
    label=of("table", "label"),
    cells=of("table", "cells"),
)
