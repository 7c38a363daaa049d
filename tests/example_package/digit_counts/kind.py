"""A kind of study: how many parameters backbones have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from suite.errors import UserError
from suite.report.layout import Block, Column, Row, Table
from suite.report.page.facts import Facts
from suite.strict import Strict
from suite.study import records
from suite.study.kind import Kind, Loaded
from suite.study.provenance import provenance
from suite.study.schema import Backbone
from suite.study.sides import Comparison, Side

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console

RECORD = "parameters.csv"
FIELDS = ("backbone", "parameters")
Line = Mapping[str, str]


class Study(Strict):
    """The backbones to count."""

    question: str
    kind: Literal["parameters"]
    backbones: tuple[Backbone, ...] = Field(min_length=1)


def run(loaded: Loaded, _console: Console, _in_process: bool) -> int:
    """Count, and write the record."""
    folder = Path("results") / loaded.name
    rows = [{"backbone": one.name, "parameters": _count(one)} for one in loaded.study.backbones]
    records.write(folder / RECORD, FIELDS, rows)
    records.write_provenance(folder, {"runs": [provenance() | {"cells": []}]})
    return 0


def _count(backbone: Backbone) -> int:
    from suite.reduction.backbone import on_meta

    return sum(parameter.numel() for parameter in on_meta(backbone.name, backbone.options, 1000).parameters())


def table(name: str, lines: Sequence[Line]) -> Table:
    """A row for each backbone."""
    columns = (
        Column("backbone", "backbone", align="left", fields=("backbone",), how="as the study names it"),
        Column("parameters", "parameters, M", "{:.1f}".format, fields=("parameters",), how="counted"),
    )
    rows = [Row({"backbone": line["backbone"], "parameters": int(line["parameters"]) / 1e6}) for line in lines]
    return Table(name, "Parameters of backbones.", columns, (Block("", tuple(rows)),))


def facts(_folder: Path, lines: Sequence[Line]) -> Facts:
    """Which is the largest."""
    largest = max(lines, key=lambda line: int(line["parameters"]))
    return Facts(f"{largest['backbone']} has the most parameters.")


def read(folder: Path) -> Sequence[Line]:
    """The rows of the record."""
    return records.lines(folder / RECORD, FIELDS)


def scores(folder: Path) -> DataFrame:
    """Millions of parameters, of no seed."""
    from pandas import DataFrame

    return DataFrame(
        {"row": line["backbone"], "seed": 0, "score": int(line["parameters"]) / 1e6} for line in read(folder)
    )


def compare(sides: Sequence[Side]) -> Comparison:
    """Whether all records count the same."""
    counted = [read(one.folder) for one in sides]

    def draw(_path: Path) -> None:
        raise UserError("counts of parameters have no figure")

    return Comparison(table(sides[0].name, counted[0]), any(lines != counted[0] for lines in counted), draw)


def plan(loaded: Loaded) -> list[Mapping[str, Any]]:
    """A line for each backbone."""
    return [{"status": "to run", "backbone": one.name} for one in loaded.study.backbones]


KIND = Kind(
    name="parameters",
    record=RECORD,
    schema=Study,
    check=lambda loaded: f"{len(loaded.study.backbones)} backbones",
    plan=plan,
    run=run,
    lines=read,
    table=table,
    facts=facts,
    label=lambda line: str(line["backbone"]),
    cells=lambda *_: (),
    scores=scores,
    compare=compare,
)
