"""What studies say about published numbers: rows of their tables, and the figures of studies of costs."""

from __future__ import annotations

import csv
import functools
import io
import math
from collections.abc import Mapping
from pathlib import Path

from suite.errors import UserError, suggest
from suite.kinds.costs.figures import Figure, read_published
from suite.kinds.costs.record import RECORD
from suite.kinds.costs.schema import CostStudy
from suite.kinds.costs.table import column_read, read_costs
from suite.kinds.training.published import read_scores
from suite.kinds.training.summary import read_record, summarise
from suite.kinds.training.table import study_table
from suite.ledger.lines import NOT_TAKEN, OUTSIDE, REPRODUCED, Line, digest
from suite.report.render import as_csv
from suite.study.load import load, study_names
from suite.study.published import half_a_unit

RESULTS = Path("results")
SCORES = "published/scores.csv"
MINUS = " minus "
VERDICTS = {"fits": REPRODUCED, "near": OUTSIDE, "off": OUTSIDE, "not computed": NOT_TAKEN}


def cost_studies() -> dict[str, CostStudy]:
    """The studies of costs in `studies/`, by name."""
    studies = {name: load(name) for name in study_names()}
    return {name: one.study for name, one in studies.items() if one.kind.name == "costs"}


def cost_lines() -> list[Line]:
    """A line for each published figure of the studies of costs, out of their committed tables.

    Raises:
        UserError: if a table is missing, was changed after it was written, or was made from other figures.
    """
    return [line for name, study in cost_studies().items() for line in _lines_of(name, study)]


def study_value(asked: str) -> tuple[float | None, bytes]:
    """What a study's table says, as `STUDY: ROW: COLUMN`, and the record that it rests on.

    ROW is a row's name, `NAME [SCHEDULE]` where the study has several schedules, or two of those with `minus` between.
    The value is None while the study has no results, or a row no finished cell. A table with its record beside it is
    believed only where it says what the record makes.

    Raises:
        UserError: for a study, a row or a column that is not there, an edited record, or a table older than it.
    """
    parts = asked.split(": ")
    if len(parts) != 3:
        raise UserError(f"{asked!r} does not name a study's number; write STUDY: ROW: COLUMN")
    study, rows, column = parts
    labels = [row.label for row in load(study).study.methods]
    for row in rows.split(MINUS):
        name = row.partition(" [")[0]
        if name not in labels:
            raise UserError(f"the study {study} has no row {name!r}; {suggest(name, labels)}")
    path = RESULTS / study / "table.csv"
    known = sorted({name for table in sorted(RESULTS.glob("*/table.csv")) for name in _head(table)})
    if column not in (_head(path) if path.is_file() else known):
        raise UserError(f"the table of the study {study} has no column {column!r}; {suggest(column, known)}")
    if not path.is_file():
        return None, b""
    found = [_checked(path, row, column) for row in rows.split(MINUS)]
    value = None if None in found else found[0] if len(found) == 1 else _difference(*found)
    return value, b"\0".join(file.read_bytes() for file in (path.with_name("cells.csv"), path) if file.is_file())


def _difference(value: float | None, other: float | None) -> float:
    assert value is not None
    assert other is not None
    return value - other


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text ({error}); restore it, or delete it and make it again") from error


def _head(path: Path) -> list[str]:
    return next(csv.reader(io.StringIO(_text(path))), [])


def _checked(path: Path, row: str, column: str) -> float | None:
    """One number of a study's table; a record beside it is unedited (`read_record` sees to it) and makes the same."""
    value = _cell(path, _text(path), row, column)
    record = path.with_name("cells.csv")
    if not record.is_file():
        return value
    made = _cell(record, _made(path.parent.resolve(), digest(record.read_bytes())), row, column)
    if (value is None) != (made is None) or not math.isclose(value or 0, made or 0, rel_tol=1e-6):
        raise UserError(
            f"{path} says {value} for {row!r}, {column}, its record {made}; make it again with: "
            f"suite table {path.parent.name}"
        )
    return value


@functools.lru_cache
def _made(folder: Path, _record: str) -> str:
    """The CSV that a study's record makes; once for a record, for intervals take a second."""
    return as_csv(study_table(folder.name, summarise(read_record(folder)), read_scores(folder.parent / SCORES)))


def _cell(path: Path, text: str, row: str, column: str) -> float | None:
    """One number of a study's table, whose text this is; None if it was not measured, or the row has no cell yet."""
    label, _, schedule = row.removesuffix("]").partition(" [")
    lines = list(csv.DictReader(io.StringIO(text)))
    found = [line for line in lines if line.get("row") == label and schedule in ("", line.get("schedule"))]
    unknown = schedule and all(line.get("schedule") != schedule for line in lines)
    if len(found) > 1 or unknown:
        raise UserError(f"{path} has {len(found)} rows {row!r}; name one, with its schedule where there are several")
    said = found[0].get(column) if found else None
    try:
        return float(said) if said else None
    except ValueError as error:
        raise UserError(f"{path} says {said!r} for {row!r}, {column}; ask for a column of numbers") from error


def _lines_of(name: str, study: CostStudy) -> list[Line]:
    path, rows = RESULTS / name / RECORD, read_costs(RESULTS / name)
    made_of = [tuple(row.get(field) for field in Figure._fields) for row in rows]
    if made_of != [tuple(figure) for figure in read_published(study.published)]:
        raise UserError(f"{path} was not made from {study.published} as it is now; make it with: suite run {name}")
    record = digest(path.read_bytes())
    return [_cost_line(name, row, record) for row in rows]


def _cost_line(name: str, row: Mapping[str, str], record: str) -> Line:
    computed = row["verdict"] != "not computed"
    measured = float(row[column_read(row)]) if computed else 0.0
    read_as = f"read as {row['read_as']}" if computed else ""
    return Line(
        id=row["id"],
        table=row["where"].partition(", ")[2],
        row="",
        method=row["method"],
        backbone=row["backbone"],
        setting=row["setting"],
        metric=row["name"],
        published=row["value"],
        unit=row["unit"],
        measured=f"{measured:.6g}" if computed else "",
        off_by=f"{measured - float(row['value']):.6g}" if computed else "",
        tolerance=f"{half_a_unit(row['value']):.6g}",
        tolerance_from="half a unit of the last printed digit",
        state=VERDICTS[row["verdict"]],
        remark=". ".join(said for said in (read_as, row["note"] if computed else "") if said),
        differs="",
        needs="" if computed else f"a model that can be computed: {row['note']}",
        command=f"suite run {name}" if computed else "",
        evidence=row["evidence"],
        source=row["source"],
        published_digest=digest(*(row[field].encode() for field in Figure._fields)),
        record_digest=record,
    )
