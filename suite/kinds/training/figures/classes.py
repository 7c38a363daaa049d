"""Differences of the scores of parts, such as classes, to the unpruned model and random pruning, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from suite.errors import UserError
from suite.kinds.training.results import Results
from suite.kinds.training.summary import CONTROL
from suite.report.style import TWO_COLUMNS, canvas, heatmap
from suite.tasks.task import Task, is_of_part, task, tasks

SHOWN = 14  # parts that a page has room for
NOTE = (
    "median over seeds; bold: the same sign in every seed; random pruning has the row's own fusion where there is such"
)


def draw_classes(results: Results, path: Path) -> None:
    """A panel for each reference that the study has: medians of the differences.

    Bold where the difference has one sign in every seed that both have. Of more parts than a page holds, those on
    which the rows differ most.

    Raises:
        UserError: without scores of parts, or without an unpruned model and random pruning.
    """
    scores, goal = _by_part(results), task(results.task)
    panels = {}
    for title, references in _references(results).items():
        if differences := _differences(scores, references):
            panels[title] = differences
    if not panels:
        raise UserError("the study has neither the unpruned model nor random pruning to compare with")
    count = max(len(panel) for panel in panels.values())
    chosen = _most_different(panels)
    every, unit = scores["part"].nunique(), goal.headline.difference("percentage points")
    about = f"with the same seed, {unit}" if unit else "with the same seed"
    about += "" if len(chosen) == every else f"; the {len(chosen)} of {every} on which the rows differ most"
    size = (TWO_COLUMNS, len(panels) * (0.75 + 0.19 * count))
    with canvas(path, len(panels), 1, size=size, records=results.records()) as (figure, axes):
        for axis, (title, differences) in zip(axes[:, 0], panels.items(), strict=True):
            _heatmap(axis, differences, chosen, goal)
            axis.set_title(f"{goal.part_score} minus that of {title} {about}")
        figure.supxlabel(NOTE, fontsize=7)


def _by_part(results: Results) -> pd.DataFrame:
    cells = results.frame[(results.frame["kind"] == "accuracy") & (results.frame["repetition"] == "")]
    values = results.labelled(cells[cells["metric"].map(is_of_part)])
    if values.empty:
        has = ", ".join(sorted(name for name, one in tasks().items() if one.parts))
        raise UserError(f"the record has no scores of parts, such as classes; tasks that have them: {has}")
    return values.assign(part=values["metric"].str.removeprefix(task(results.task).parts))


def _references(results: Results) -> dict[str, dict[str, str | None]]:
    """What rows are compared with: by label of the row the label of the reference, if the study has it."""
    lines = results.lines
    unpruned = {line.epochs: line.label for line in lines if line.unpruned}
    control = {line.label: results.label(line.block, line.schedule) for line in lines if line.method != CONTROL}
    return {
        "the unpruned model": {line.label: unpruned.get(line.epochs) for line in lines if not line.unpruned},
        "random pruning": control,
    }


def _differences(scores: pd.DataFrame, references: Mapping[str, str | None]) -> dict[str, pd.DataFrame]:
    """By label: parts by seeds; only seeds that both have."""
    tables = {
        str(label): own.pivot_table(index="part", columns="seed", values="value", sort=False)
        for label, own in scores.groupby("label")
    }
    found = {
        label: (tables[label] - tables[reference]).dropna(axis=1, how="all")
        for label, reference in references.items()
        if label in tables and reference in tables
    }
    return {label: table for label, table in found.items() if not table.empty}


def _most_different(panels: dict[str, dict[str, pd.DataFrame]]) -> list[str]:
    """The parts to show, in the record's order."""
    first = next(iter(panels.values()))
    medians = pd.DataFrame({label: table.median(axis=1) for label, table in first.items()})
    parts = [str(name) for name in next(iter(first.values())).index]
    widest = (medians.max(axis=1) - medians.min(axis=1)).sort_values(ascending=False, kind="stable").index[:SHOWN]
    return [name for name in parts if name in set(widest)]


def _heatmap(axes: Axes, differences: dict[str, pd.DataFrame], parts: list[str], goal: Task) -> None:
    medians = pd.DataFrame({label: table.median(axis=1) for label, table in differences.items()}).T[parts]
    signs = {label: table.apply(np.sign) for label, table in differences.items()}
    agreed = pd.DataFrame({label: sign.sum(axis=1).abs() == sign.shape[1] for label, sign in signs.items()}).T[parts]
    largest = float(medians.abs().max().max())
    heatmap(medians, axes, 6, cmap="RdBu", center=0, vmin=-largest, vmax=largest, fmt=f"+.{goal.headline.decimals}f")
    cells = zip(axes.texts, medians.to_numpy().flat, agreed.to_numpy().flat, strict=True)
    for text, value, bold in cells:
        text.set(fontweight="bold" if bold else "normal", color="white" if abs(value) > 0.55 * largest else "0.1")
    axes.set(xlabel=goal.part, ylabel="")
    axes.tick_params(axis="x", rotation=0 if max(map(len, parts)) <= 10 else 40)
