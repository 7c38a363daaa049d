"""Behind a number of the race against official code (`tests/official/race.py`): its rounds, and their run."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from suite.report.layout import MISSING
from suite.report.trace.found import Trace, Used, look_up, runs_of
from suite.study.records import check_unedited

RECORD, AGAIN = "rounds.csv", "delete {}/ and race again"
SETTING = ("case", "batch", "device", "precision", "threads")
HOW = {
    "ratio_median": "median of all rounds of all launches",
    "ratio_low": "first quartile of all rounds of all launches",
    "ratio_high": "third quartile of all rounds of all launches",
    "lowest_launch": "lowest median of a launch",
    "highest_launch": "highest median of a launch",
    "rounds": "how many there are",
    "others_cores": "most processor cores that others used in a launch",
    "needed_official": "percent of the official pass in operators that both need, by torch's profiler (operators.csv)",
    "needed_own": "percent of this suite's pass in operators that both need, by torch's profiler (operators.csv)",
}

HEADINGS = {"ours / official": "ratio_median", "others' cores": "others_cores"}  # those of one field


def trace_race(folder: Path, row: str, column: str) -> Trace:
    """What is behind a number of such a table; a row is called CASE BATCH DEVICE PRECISION THREADS, or CASE BATCH.

    What is shown is the field of `table.csv`, with all its digits.

    Raises:
        UserError: for a row or a column that is not there, or an edited record.
    """
    for name, again in ((RECORD, AGAIN), ("table.csv", "make it again with: tests/official/race.py --table")):
        check_unedited(folder / name, again)
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    short = [f"{line['case']} {line['batch']}" for line in lines]
    known = {name: line for name, line in zip(short, lines, strict=True) if short.count(name) == 1}
    known |= {" ".join(line[name] for name in SETTING): line for line in lines}
    line = look_up("row", row, known, folder)
    field = look_up("column", column, {name: name for name in HOW} | HEADINGS, folder)
    setting = {name: line[name] for name in SETTING}
    with (folder / RECORD).open(newline="", encoding="utf-8") as file:
        rounds = [one for one in csv.DictReader(file) if {name: one[name] for name in SETTING} == setting]
    values = tuple(float(one["ratio"]) for one in rounds)
    name = " ".join(setting.values())

    def mine(run: dict[str, Any]) -> dict[str, Any] | None:
        own = [one for one in run["settings"] if one == name]
        kept = {key: fact for key, fact in run.items() if key != "settings"}
        device = run["processor"] if line["device"] == "cpu" else line["device"]
        return kept | {"device": device, "cells": own} if own else None

    facts = setting | {"column": column, "made": HOW[field], "record": str(folder / RECORD)}
    facts["ratio"] = "images per second of this suite over those of the official code, in turns"
    runs = runs_of(folder, mine, "tests/official/race.py")
    return Trace(line[field] or MISSING, facts, (Used(name, line["case"], MISSING, "done", values, "x"),), runs)
