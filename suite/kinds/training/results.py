"""What `results/<study>/` holds, for figures: the table's lines, values by seed, curves and examples."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.errors import UserError
from suite.kinds.training.checks import scores
from suite.kinds.training.line import Line
from suite.kinds.training.summary import read_record
from suite.study.exported import CURVE_COLUMNS
from suite.study.records import check_unedited, parsed, read

Example = dict[str, Any]
EXAMPLE_KEYS = {"cell_id", "row", "method", "schedule", "seed", "grid", "depth", "left_after", "prediction"}


@dataclass(frozen=True)
class Results:
    """The committed record of a study: its folder, and the lines of its table, in their order."""

    folder: Path
    lines: Sequence[Line]

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        """`cells.csv`, values as numbers."""
        return read_record(self.folder)

    def records(self, *names: str) -> list[Path]:
        """The paths of records of the folder, `cells.csv` first, which labels whatever is drawn."""
        return [self.folder / name for name in ("cells.csv", *names)]

    @property
    def task(self) -> str:
        return self.lines[0].task

    @property
    def labels(self) -> list[str]:
        """Of the lines, in the table's order."""
        return [line.label for line in self.lines]

    def label(self, row: str, schedule: str) -> str | None:
        """How tables and figures call a row under a schedule; None if the table has no such line."""
        return next((line.label for line in self.lines if (line.row, line.schedule) == (row, schedule)), None)

    def labelled(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A tidy frame with a column `label`; what has none, such as the base, is left out."""
        names = {(line.row, line.schedule): line.label for line in self.lines}
        label = pd.Series([*zip(frame["row"], frame["schedule"], strict=True)], frame.index, dtype=object).map(names)
        return frame.assign(label=label).dropna(subset="label")


def last_scores(folder: Path) -> pd.DataFrame:
    """Scores in the last epoch of every finished run: row, schedule, method, fusion, seed, metric, score, unit.

    Raises:
        UserError: as `read_record`.
    """
    record = read_record(folder)
    found = record[(record["kind"] == "accuracy") & record["metric"].isin(scores())].rename(columns={"value": "score"})
    found["seed"] = pd.to_numeric(found["seed"])
    return found[["row", "schedule", "method", "fusion", "seed", "metric", "score", "unit"]].reset_index(drop=True)


def read_curves(folder: Path) -> pd.DataFrame:
    """Read `curves.csv` of a results folder, values as numbers; NaN for what is none.

    Raises:
        UserError: if it is missing, was edited, or its columns are others.
    """
    frame = read(folder / "curves.csv", CURVE_COLUMNS)
    numbers = {name: pd.to_numeric(frame[name], errors="coerce") for name in ("seed", "epoch", "value")}
    return frame.assign(**numbers)


def read_examples(folder: Path) -> list[Example]:
    """Read `examples.json` of a results folder: what `measure.examples.example` found, with the cell's labels.

    Raises:
        UserError: if it is missing, was edited, is damaged, or has no example.
    """
    path, again = folder / "examples.json", f"make it again with: suite run {folder.name}"
    check_unedited(path)
    try:
        found = parsed(path)
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {again}") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) and one.keys() >= EXAMPLE_KEYS for one in found):
        raise UserError(f"{path} is not a list of examples with {', '.join(sorted(EXAMPLE_KEYS))}; {again}")
    if not found:
        raise UserError(
            f"{path} has no example: no cell has finished, or all did before examples were recorded, and then only "
            "running them anew makes one"
        )
    for one in found:
        if "computed" in one and not _is_computed(one):
            raise UserError(
                f"{path}: the example of cell {one['cell_id']} has a damaged computed, which needs a text of 0 and 1, "
                f"one for each patch of the grid, for each image and block; {again}"
            )
    return found


def _is_computed(example: Example) -> bool:
    images, patches = example["computed"], math.prod(example["grid"])
    return (
        isinstance(images, list)
        and len(images) == len(example["left_after"])
        and all(isinstance(blocks, list) and len(blocks) == example["depth"] for blocks in images)
        and all(isinstance(block, str) and re.fullmatch(f"[01]{{{patches}}}", block) for block in chain(*images))
    )


def kept_after(example: Example) -> list[NDArray[np.bool_]]:
    """For each image, (depth, rows, columns): which of its patches are kept after each block; no padding.

    Where patches idle and return, a block keeps those that it computes. A example of such a model without `computed` is
    older than that; in it a patch is gone from the first block that it sat out.
    """
    depth, grid = example["depth"], example["grid"]
    if "computed" in example:
        found = [np.array([[*block] for block in image]) == "1" for image in example["computed"]]
    else:
        found = [np.array(left) > np.arange(depth)[:, None] for left in example["left_after"]]
    sizes = example.get("patches") or [grid] * len(found)
    cut = zip(found, sizes, strict=True)
    return [kept.reshape(depth, *grid)[:, :rows, :columns] for kept, (rows, columns) in cut]
