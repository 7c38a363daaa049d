"""What MLflow gets of a study: beside the record while it runs, or anew from a record. It is never a reason to fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console

from suite.errors import UserError
from suite.kinds.training.cells import expand
from suite.kinds.training.results import read_curves
from suite.kinds.training.summary import lines_of, read_record
from suite.kinds.training.table import study_table
from suite.redaction import redacted
from suite.report.render import as_records, markdown
from suite.study.cells import Cell
from suite.study.entry import Entry
from suite.study.kind import Loaded
from suite.study.load import RESULTS, words_of
from suite.study.records import runs
from suite.study.store import Record
from suite.terminal import ManualProgress

if TYPE_CHECKING:
    from suite.run.mlflow_writer import Tracker


class Tracking:
    """Writes a study's runs into MLflow; what fails there is said, the study goes on, and the record has it all."""

    def __init__(self, title: str, cells: Sequence[Cell], console: Console) -> None:
        self.title, self.cells, self.console = title, cells, console
        self.tracker: Tracker | None = None
        self._try("this run", self._connect)

    def catch_up(self, record: Record) -> None:
        """Have in MLflow what is in the record: an earlier run may have been killed, or the store may be new."""
        with ManualProgress(self.console, len(self.cells), text="looking through MLflow") as bar:
            for cell in self.cells:
                if entry := record.finished(cell) or record.failed(cell):
                    self.sync(cell, entry)
                bar.advance()
        if tracker := self.tracker:
            self._try("earlier runs", tracker.archive)

    def sync(self, cell: Cell, entry: Entry) -> None:
        """Have the run of one cell."""
        if tracker := self.tracker:
            self._try(cell.row, lambda: tracker.sync(cell, entry))

    def _connect(self) -> None:
        from suite.run.mlflow_writer import Tracker

        self.tracker = Tracker(self.title, self.cells)

    def _try(self, what: str, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # whatever MLflow, its store or a server between may raise
            cure = f"write it later with: suite track {self.title}"
            said = redacted(" ".join(str(error).split()))
            self.console.print(f"{what}: not written to MLflow ({said}); {cure}", style="yellow", soft_wrap=True)


def track_study(loaded: Loaded, console: Console) -> None:
    """Write a study's runs into MLflow from the record in `.suite/`, and what is not there from `results/<study>/`.

    Raises:
        UserError: if there is neither, or if MLflow's store cannot be used.
    """
    from suite.run.mlflow_writer import Tracker

    cells, record, results = expand(loaded.study), Record(), RESULTS / loaded.name
    exported = entries_of(results, cells) if (results / "cells.csv").is_file() else {}
    known = [(cell, record.finished(cell) or exported.get(cell.cell_id) or record.failed(cell)) for cell in cells]
    found = [(cell, entry) for cell, entry in known if entry]
    if not found:
        cure = f"run it: suite run {words_of(loaded)}"
        raise UserError(f"there is nothing of {loaded.name} in .suite or {results}; {cure}")
    tracker = Tracker(loaded.name, cells)
    with ManualProgress(console, len(found), text="writing to MLflow") as bar:
        for cell, entry in found:
            tracker.sync(cell, entry)
            bar.advance()
    tracker.archive()
    if exported:
        _conclude(tracker, results, loaded.study.question, console)
    console.print(f"{len(found)} of {len(cells)} cells are in MLflow; see them with: suite ui {loaded.name}")


def publish(loaded: Loaded, folder: Path, console: Console) -> bool:
    """Give the study's run all that a results folder holds, and rows their medians; returns whether MLflow has it.

    Pages and figures need no store and make none.
    """
    try:
        from suite.run.mlflow_store import experiment_id, missing_file, store_uri
        from suite.run.mlflow_writer import Tracker
    except ModuleNotFoundError:
        return False
    uri = store_uri()
    if missing_file(uri):
        return False
    try:
        experiment_id(uri, folder.name)
        tracker = Tracker(folder.name, expand(loaded.study))
        if not tracker.started:
            return False
        _conclude(tracker, folder, loaded.study.question, console)
    except Exception as error:  # what it is about is written already
        console.print(redacted(f"not put into MLflow: {error}"), style="yellow", soft_wrap=True)
        return False
    return True


def entries_of(results: Path, cells: Sequence[Cell]) -> dict[str, Entry]:
    """Entries of cells, by id, as far as the exported records of a results folder know them.

    Raises:
        UserError: if they cannot be read.
    """
    frame, curves = read_record(results), read_curves(results)
    commits = {cell_id: run["commit"] for run in runs(results) for cell_id in run["cells"]}
    values, epochs = dict([*frame.groupby("cell_id")]), dict([*curves.groupby("cell_id")])
    return {
        cell.cell_id: _entry(cell, values[cell.cell_id], epochs.get(cell.cell_id), commits.get(cell.cell_id, ""))
        for cell in cells
        if cell.cell_id in values
    }


def _entry(cell: Cell, values: pd.DataFrame, epochs: pd.DataFrame | None, commit: str) -> Entry:
    named, first = values[values["metric"] != ""], values.iloc[0]
    single = named[(named["repetition"] == "") & (named["metric"] != "batch_size")]  # which the identity has
    return {
        "cell_id": cell.cell_id,
        "identity": cell.identity,
        "status": first["status"],
        "reason": first["reason"],
        "metrics": dict(zip(single["metric"], single["value"], strict=True)),
        "units": dict(zip(named["metric"], named["unit"], strict=True)),
        "repetitions": _series(named[named["repetition"] != ""].sort_values("repetition")),
        "curves": {} if epochs is None else _series(epochs.sort_values("epoch")),
        "provenance": {"commit": commit},
    }


def _series(rows: pd.DataFrame) -> dict[str, list[float]]:
    return {str(metric): list(own["value"]) for metric, own in rows.groupby("metric", sort=False)}


def _conclude(tracker: Tracker, results: Path, question: str, console: Console) -> None:
    """Give MLflow what a results folder says of its study, and its page two views, if it takes them."""
    from suite.kinds.training.mlflow_views import box_plots, row_metrics, saved, views

    lines = lines_of(results)
    table = study_table(results.name, lines)
    rows = row_metrics(as_records(table), lines[0].task)
    tracker.conclude(rows, f"{question.strip()}\n\n{markdown(table)}", box_plots(lines), results)
    try:
        tracker.tag(saved(views(lines, {name for metrics in rows.values() for name in metrics})))
    except Exception as error:  # how a page saves views is MLflow's own affair, and may change
        said = redacted(f"MLflow's page has no saved views of this study: {error}")
        console.print(said, style="yellow", soft_wrap=True)
