"""Tokens that attention and MLP compute in each block, row by row."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from suite.errors import UserError
from suite.kinds.training.results import Results
from suite.report.style import TWO_COLUMNS, canvas, heatmap

PARTS = {"tokens_attention": "attention", "tokens_mlp": "MLP"}
SIDE_BY_SIDE = 12  # blocks that two panels have room for beside each other


def draw_tokens(results: Results, path: Path) -> None:
    """Two panels of numbers, attention and MLP: a line for each row, a column for each block; prefix tokens count.

    Raises:
        UserError: if the record has no tokens, or seeds disagree about them.
    """
    tables = {title: _table(results, metric) for metric, title in PARTS.items()}
    count, depth = tables["MLP"].shape
    beside = depth <= SIDE_BY_SIDE
    shape = (1, 2) if beside else (2, 1)
    height = 0.9 + 0.2 * count
    most = max(table.max().max() for table in tables.values())
    records = results.records()
    with canvas(path, *shape, size=(TWO_COLUMNS, height * shape[0]), sharey=beside, records=records) as (figure, axes):
        for axis, (title, table) in zip(axes.flat, tables.items(), strict=True):
            heatmap(table, axis, 7 if depth <= SIDE_BY_SIDE else 6, vmin=0, vmax=most, cmap="Blues", fmt=".0f")
            axis.set(title=f"tokens in {title}", xlabel="block", ylabel="")
        figure.supxlabel("class token and other prefix tokens included; per image, as deployed", fontsize=7)


def _table(results: Results, metric: str) -> pd.DataFrame:
    frame = results.frame
    cells = results.labelled(frame[(frame["kind"] == "accuracy") & (frame["metric"] == metric)])
    if cells.empty:
        raise UserError(f"the record has no {metric}; resume with: suite run")
    blocks = cells.assign(block=cells["repetition"].astype(int) + 1)
    if (blocks.groupby(["label", "block"])["value"].nunique() > 1).any():
        raise UserError(f"seeds of a row disagree about {metric}")
    table = blocks.pivot_table(index="label", columns="block", values="value")
    return table.reindex([label for label in results.labels if label in table.index])
