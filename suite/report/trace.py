"""Where a number of a table comes from: its runs, their values, and the code and machine that made them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import pandas as pd

from suite.errors import UserError, suggest
from suite.report.batches import of_batch
from suite.report.checks import SCORES
from suite.report.cost_table import COLUMNS, COUNTS
from suite.report.layout import Column
from suite.report.scores import read_scores, score_of
from suite.report.study_table import columns, further_key, study_table
from suite.report.summary import Line, read_record, summarise

Found = TypeVar("Found")
PUBLISHED = Path("published/scores.csv")
COMPUTED = {"full": COUNTS[::2], "linear": COUNTS[1::2], "off by": ("deviation",), "published": ("value", "unit")}
TEST = "Wilcoxon's signed-rank test of paired seeds, two-sided and exact"
FORMULA = (
    "a block in which T tokens attend and M enter the MLP, of widths D, Q (queries), K (keys, values), G (gate) and F "
    "(hidden): T D (Q + 2K + G) + T Q D + 2 M D F, or 3 M D F if gated, and in full, not in linear, 2 T T Q; besides, "
    "the patch embedding, the head and what the method adds (suite/measure/cost.py)"
)


class Origin(NamedTuple):
    """What a column is made of: cells of a kind and one of their metrics, of the row alone or of others too."""

    kind: Literal["accuracy", "speed"]
    metric: str
    how: str
    rows: Literal["own", "control", "schedule"] = "own"
    batch: int | None = None  # of speed cells; None where the record says none


class Used(NamedTuple):
    """A cell behind a number, with its values of the metric."""

    cell_id: str
    row: str
    seed: str
    status: str
    values: tuple[float, ...]
    unit: str


@dataclass(frozen=True)
class Trace:
    """What is behind a number.

    Attributes:
        shown: the number as the table shows it.
        facts: what it is and how it was made, by name.
        cells: the cells it was made from; none for a number that was computed or published.
        runs: the entries of provenance.json that made these cells.
        unknown: ids of cells that provenance.json does not have.
    """

    shown: str
    facts: dict[str, str]
    cells: tuple[Used, ...] = ()
    runs: tuple[dict[str, Any], ...] = ()
    unknown: tuple[str, ...] = ()


def trace(address: str, results: Path = Path("results")) -> Trace:
    """What is behind the number at TABLE:ROW:COLUMN.

    A table is a folder in `results`; rows and columns are called as the table calls them, or as its CSV does.

    Raises:
        UserError: for an address that does not exist, naming the nearest that do.
    """
    table, _, rest = address.partition(":")
    row, colon, column = rest.rpartition(":")
    if not colon:
        raise UserError(f"{address!r} is no address; write TABLE:ROW:COLUMN, such as 'quickstart:cropr:seeds'")
    names = [file.parent.name for file in results.glob("*/table.csv")]
    if table not in names:
        raise UserError(f"{results}/ has no table {table!r}; {suggest(table, names)}")
    kind = _trace_score if (results / table / "cells.csv").is_file() else _trace_cost
    return kind(results / table, row.strip(), column.strip())


def origins(line: Line) -> dict[str, Origin]:
    """What each column of a line of a study's table is made of, by its key."""
    score, rounds = SCORES[line.task], "median over the rounds"
    return {
        "score": Origin("accuracy", score, "median over the seeds"),
        "interval": Origin("accuracy", score, "bootstrap of the median over the seeds"),
        "quartiles": Origin("accuracy", score, "first and third quartile over the seeds"),
        "seeds": Origin("accuracy", score, "cells with a score, of all that were tried"),
        "won": Origin(
            "accuracy", score, "seeds in which the row is above its control, of those that both have", "control"
        ),
        "gap": Origin("accuracy", score, "median over the seeds that both have of the row less its control", "control"),
        "gap interval": Origin("accuracy", score, "bootstrap of that median", "control"),
        "improvement": Origin("accuracy", score, "share of all pairs of runs in which the row's is above", "control"),
        "improvement interval": Origin("accuracy", score, "bootstrap of that share over seeds", "control"),
        "p": Origin("accuracy", score, f"{TEST}, corrected for all rows of the study after Holm", "control"),
        "smallest p": Origin("accuracy", score, "what p is at least with these seeds and that many rows", "control"),
        "group": Origin("accuracy", score, f"{TEST} of every two rows of the schedule", "schedule"),
        "published": Origin("accuracy", score, "printed by the source"),
        "difference": Origin("accuracy", score, "median over the seeds less the published score"),
        "verdict": Origin("accuracy", score, "the published score beside the interval of the median"),
        "tokens": Origin("accuracy", "tokens_fewest", "the same in every seed"),
        "macs": Origin("accuracy", "macs_full", "the same in every seed; 1 GMAC is 1e9"),
        "speed": Origin("speed", "speed_ratio", rounds, batch=line.batch),
        "eager": Origin("speed", "speed_ratio_eager", rounds, batch=line.batch),
    } | {further_key(one.batch): Origin("speed", "speed_ratio", rounds, batch=one.batch) for one in line.further}


def _trace_score(folder: Path, row: str, column: str) -> Trace:
    """A number of a study's table."""
    frame = read_record(folder)
    lines, scores = summarise(frame), read_scores(folder.parent / PUBLISHED)
    by_row = [line.row for line in lines]
    unique = {line.row: line for line in lines if by_row.count(line.row) == 1}
    line = _found("row", row, unique | {line.label: line for line in lines}, folder)
    made = origins(line)
    chosen = _found("column", column, _names([one for one in columns(lines) if one.key in made]), folder)
    origin, published = made[chosen.key], score_of(scores, folder.name, line.row, line.schedule)
    measured = chosen.key != "published"
    cells = tuple(_cells(frame, line, lines, origin)) if measured else ()
    drawn = study_table(folder.name, lines, scores)
    text = next(own.text(chosen) for own, one in zip(drawn.rows(), lines, strict=True) if one is line)
    facts = {"row": line.label, "column": chosen.heading, "made": origin.how, "metric": origin.metric}
    if measured:
        facts["record"] = f"{folder / 'cells.csv'}"
    doubts = {line.batch: line.tainted} | {one.batch: one.tainted for one in line.further}
    if origin.kind == "speed" and doubts[origin.batch]:
        facts["not to be trusted"] = doubts[origin.batch]
    if published and chosen.key in ("published", "difference", "verdict"):
        facts |= {name: value for name, value in published._asdict().items() if name not in ("study", "row") and value}
    return Trace(text, facts, cells, *_provenance(folder, [cell.cell_id for cell in cells]))


def _trace_cost(folder: Path, row: str, column: str) -> Trace:
    """A number of the table of costs, whose rows are called by the id of the published figure."""
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = {found["id"]: found for found in csv.DictReader(file) if "id" in found and "computed_as" in found}
    if not rows:
        raise UserError(f"{folder}/ is neither a study's table nor one of costs; only those can be traced")
    values = _found("row", row, rows, folder)
    chosen = _found("column", column, _names([one for one in COLUMNS if one.heading or one.fields]), folder)
    fields = COMPUTED.get(chosen.heading, chosen.fields)
    shown = ", ".join(f"{field} {values[field] or 'none'}" for field in fields)
    told = ("where", "method", "backbone", "setting", "name", "value", "unit", "source", "evidence")
    facts = {name: values[name] for name in (*told, "computed_as", "read_as", "note") if values[name]}
    if values["computed_as"]:
        facts |= {"formula": FORMULA, "again": f"suite run {folder.name}, which also lets torch count every model"}
    return Trace(shown, facts)


def _found(what: str, name: str, known: Mapping[str, Found], folder: Path) -> Found:
    """What is called `name`.

    Raises:
        UserError: if nothing is, with the nearest names.
    """
    if name not in known:
        raise UserError(f"the table {folder.name} has no {what} {name!r}; {suggest(name, known)}")
    return known[name]


def _names(shown: Sequence[Column]) -> dict[str, Column]:
    """Columns by what a reader may call them: names in the CSV, keys, and first of all headings."""
    fields = {field: column for column in shown for field in column.fields}
    return fields | {column.key: column for column in shown} | {one.heading: one for one in shown if one.heading}


def _cells(frame: pd.DataFrame, line: Line, lines: Sequence[Line], origin: Origin) -> Iterator[Used]:
    """The cells behind a number, row by row and seed by seed; a cell without the metric has no values."""
    others = [one.row for one in lines if one.schedule == line.schedule]
    wanted = {"own": [line.row], "control": [line.row, line.control or line.row], "schedule": others}
    kind = of_batch(frame, origin.batch) if origin.kind == "speed" else frame[frame["kind"] == origin.kind]
    same = (kind["schedule"] == line.schedule) & kind["row"].isin(wanted[origin.rows])
    for (row, _, cell_id), own in kind[same].groupby(["row", "seed", "cell_id"]):
        values = own[own["metric"] == origin.metric].sort_values("repetition")
        if origin.kind == "speed":
            values = values[values["repetition"] != ""]
        first, unit = own.iloc[0], "".join(values["unit"].unique())
        yield Used(str(cell_id), str(row), first["seed"], first["status"], tuple(values["value"]), unit)


def _provenance(folder: Path, cells: Sequence[str]) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    """The runs of provenance.json that made these cells, each with just these; and the cells that none of them made."""
    path = folder / "provenance.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
    except (json.JSONDecodeError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}); write it again with: suite run {folder.name}") from error
    runs = [run | {"cells": [cell for cell in cells if cell in run["cells"]]} for run in found]
    known = {cell for run in runs for cell in run["cells"]}
    return tuple(run for run in runs if run["cells"]), tuple(cell for cell in cells if cell not in known)
