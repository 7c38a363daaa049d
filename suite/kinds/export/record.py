"""The record of `suite export`, `findings.csv`: a line for each deployed model and way out of eager torch."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from suite.errors import UserError
from suite.measure.export import Finding
from suite.report.statistics import spread
from suite.study.digests import check_unedited

Line = dict[str, str]  # of the record; empty where nothing was measured
RECORD = "findings.csv"
MODEL = ("task", "backbone", "method", "fusion")
FIELDS = (
    *(*MODEL, "path", "status", "reason", "batch_sizes", "difference", "largest_logit", "same_class", "same_kept"),
    *("draws", "recompiled", "speed_median", "speed_low", "speed_high", "speed_timing_warnings"),
)


def line_of(model: dict[str, str], path: str, status: Literal["works", "fails", "skipped"], found: Finding) -> Line:
    """The line of a finding about a model, given by the fields `MODEL`; numbers at full precision."""
    speed = found.speed
    rounds = spread(speed.ratios) if speed else None
    numbers = {
        "difference": found.difference,
        "largest_logit": found.largest,
        "same_class": found.same_class,
        "same_kept": found.same_kept,
        "draws": found.draws,
        "recompiled": found.recompiled,
        "speed_median": rounds and rounds.median,
        "speed_low": rounds and rounds.low,
        "speed_high": rounds and rounds.high,
    }
    texts = {name: "" if number is None else repr(number) for name, number in numbers.items()}
    sizes = " ".join(map(str, found.sizes))
    texts |= {
        "reason": found.reason,
        "batch_sizes": sizes,
        "speed_timing_warnings": speed.timing_warnings if speed else "",
    }
    return model | {"path": path, "status": status} | texts


def model_of(line: Line) -> tuple[str, ...]:
    """Task, backbone, method and fusion."""
    return tuple(line[field] for field in MODEL)


def write_findings(folder: Path, lines: Iterable[Line]) -> None:
    """Write the record of a folder, whole; its digest in `provenance.json` is then that of the earlier one."""
    temporary = folder / f"findings.{os.getpid()}.tmp"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    temporary.replace(folder / RECORD)


def read_findings(folder: Path) -> list[Line]:
    """Read the record of a folder; nothing if there is none.

    Raises:
        UserError: if its columns are others, or it is not the one that `provenance.json` was written with.
    """
    path = folder / RECORD
    if not path.is_file():
        return []
    check_unedited(path, "delete both and export again with: suite export")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != FIELDS:
            raise UserError(
                f"{path} has other columns than these: {', '.join(FIELDS)}; move it away, then export again"
            )
        return list(reader)
