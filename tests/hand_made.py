"""Records made by hand: tidy rows of cells, the results folder that has them, and what the table says of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from suite.kinds.training.line import Line
from suite.kinds.training.summary import lines_of
from suite.study.exported import COLUMNS, write_csv

Rows = list[dict[str, Any]]
SCHEDULE = "8 8 0"
ABOUT = dict.fromkeys(COLUMNS, "") | {
    "study": "trial",
    "task": "classification",
    "data": "d",
    "settings": "{}",
    "protocol": "1",
    "schedule": SCHEDULE,
    "fusion": "none",
    "status": "done",
}


def cell(row: str, seed: int, score: float | None, **about: str) -> Rows:
    """An accuracy cell; without a score it failed."""
    same = ABOUT | {"cell_id": f"{row}-{seed}", "kind": "accuracy", "row": row, "method": row.split(maxsplit=1)[0]}
    same |= {"seed": str(seed)} | about
    if score is None:
        return [same | {"status": "failed", "reason": "ValueError: it broke"}]
    metrics = {"acc1_last": score, "acc1_best": score + 1, "tokens_fewest": 17, "macs_full": 1.5e9}
    return [same | {"metric": metric, "value": repr(value)} for metric, value in metrics.items()]


def cells(row: str, *scores: float, **about: str) -> Rows:
    """An accuracy cell for each of the seeds 0, 1, 2, ..."""
    return [values for seed, score in enumerate(scores) for values in cell(row, seed, score, **about)]


def diverged(row: str, seed: int) -> Rows:
    """A cell whose score is not a number."""
    return [values for values in cell(row, seed, float("nan")) if values["metric"] != "acc1_best"]


def speed(row: str, ratios: Iterable[float], reason: str = "") -> Rows:
    """A speed cell."""
    same = ABOUT | {"cell_id": f"{row}-speed", "kind": "speed", "data": "", "row": row, "method": row, "reason": reason}
    same |= {"metric": "speed_ratio"}
    return [same | {"repetition": f"{turn:04}", "value": repr(value)} for turn, value in enumerate(ratios)]


def written(folder: Path, rows: Iterable[dict[str, Any]], origins: dict[str, object] | None = None) -> Path:
    """The results folder `trial` with these rows, as a run writes it."""
    write_csv(folder / "trial" / "cells.csv", rows, origins)
    return folder / "trial"


def lines(folder: Path, rows: Iterable[dict[str, Any]]) -> list[Line]:
    """The lines of the table of these rows."""
    return lines_of(written(folder, rows))
