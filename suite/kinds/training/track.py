"""What MLflow gets of a study: beside the record while it runs, or anew from a record. It is never a reason to fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console

from suite.errors import UserError
from suite.kinds.training.cells import expand
from suite.kinds.training.results import read_curves
from suite.kinds.training.summary import Line, read_record, summarise
from suite.kinds.training.table import study_table
from suite.report.layout import Table
from suite.report.render import markdown
from suite.study.cells import Cell
from suite.study.load import load_study, title_of
from suite.study.store import Entry, Record
from suite.terminal import ManualProgress

if TYPE_CHECKING:
    from suite.run.mlflow_writer import Tracker

RESULTS = Path("results")


class Tracking:
    """Writes a study's runs into MLflow; what fails there is said, the study goes on, and the record has it all."""

    def __init__(self, title: str, cells: Sequence[Cell], folder: Path, console: Console) -> None:
        self.title, self.cells, self.folder, self.console = title, cells, folder, console
        self.tracker: Tracker | None = None
        self._try("this run", self._connect)

    def catch_up(self, record: Record) -> None:
        """Have in MLflow what is in the record: an earlier run may have been killed, or the store may be new."""
        with ManualProgress(self.console, len(self.cells), text="looking through MLflow") as bar:
            for cell in self.cells:
                if entry := record.finished(cell) or record.failed(cell):
                    self.sync(cell, entry)
                bar.advance()
        self._write("earlier runs", lambda tracker: tracker.put_aside())

    def sync(self, cell: Cell, entry: Entry) -> None:
        """Have the run of one cell."""
        self._write(cell.row, lambda tracker: tracker.sync(cell, entry))

    def conclude(self, lines: Sequence[Line], made: Table, question: str) -> None:
        """Give parent runs their medians, and the study's run its table and all that its folder holds."""
        self._write("medians", partial(_conclude, self.folder / RESULTS / self.title, lines, made, question))

    def _connect(self) -> None:
        from suite.run.mlflow_writer import Tracker

        self.tracker = Tracker(self.title, self.cells, self.folder)

    def _write(self, what: str, write: Callable[[Tracker], None]) -> None:
        if self.tracker:
            self._try(what, partial(write, self.tracker))

    def _try(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # whatever MLflow, its store or a server between may raise
            cure = f"write it later with: suite track {self.title}"
            self.console.print(f"{what}: not written to MLflow ({error}); {cure}", style="yellow", soft_wrap=True)


def track_study(name: str, console: Console, folder: Path = Path()) -> None:
    """Write a study's runs into MLflow from the record in `.suite/`, and what is not there from `results/<study>/`.

    Raises:
        UserError: if there is neither, or if MLflow's store cannot be used.
    """
    from suite.run.mlflow_writer import Tracker

    study, title = load_study(name), Path(title_of(name)).name
    cells, record, results = expand(study), Record(folder), folder / RESULTS / title
    exported = entries_of(results, cells) if (results / "cells.csv").is_file() else {}
    known = [(cell, record.finished(cell) or exported.get(cell.cell_id) or record.failed(cell)) for cell in cells]
    found = [(cell, entry) for cell, entry in known if entry]
    if not found:
        raise UserError(f"nothing of {title} is recorded, in .suite or in {results}; run it with: suite run {name}")
    tracker = Tracker(title, cells, folder)
    with ManualProgress(console, len(found), text="writing to MLflow") as bar:
        for cell, entry in found:
            tracker.sync(cell, entry)
            bar.advance()
    tracker.put_aside()
    if exported:
        lines = summarise(read_record(results))
        _conclude(results, lines, study_table(title, lines), study.question, tracker)
    console.print(f"MLflow has {len(found)} of {len(cells)} cells; show them with: suite ui {name}", soft_wrap=True)


def attach(study: str, folder: Path, console: Console) -> bool:
    """Have what the folder holds in MLflow too, if the study's runs are there; returns whether it is.

    Pages and figures need no store and make none.
    """
    try:
        from suite.run.mlflow_store import experiment_id, store_uri
        from suite.run.mlflow_writer import Tracker
    except ModuleNotFoundError:
        return False
    uri = store_uri()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        return False
    try:
        experiment_id(uri, folder.name)
        Tracker(folder.name, expand(load_study(study))).attach(folder)
    except Exception as error:  # what it is about is written already
        console.print(f"not put into MLflow: {error}", style="yellow", soft_wrap=True)
        return False
    return True


def entries_of(results: Path, cells: Sequence[Cell]) -> dict[str, Entry]:
    """Entries of cells, by id, as far as the exported records of a results folder know them.

    Raises:
        UserError: if they cannot be read.
    """
    frame, curves = read_record(results), read_curves(results)
    commits = {
        cell_id: run["commit"]
        for run in json.loads((results / "provenance.json").read_text(encoding="utf-8"))["runs"]
        for cell_id in run["cells"]
    }
    values, epochs = dict([*frame.groupby("cell_id")]), dict([*curves.groupby("cell_id")])
    return {
        cell.cell_id: _entry(cell, values[cell.cell_id], epochs.get(cell.cell_id), commits.get(cell.cell_id, ""))
        for cell in cells
        if cell.cell_id in values
    }


def _entry(cell: Cell, values: pd.DataFrame, epochs: pd.DataFrame | None, commit: str) -> Entry:
    """The entry of one cell from its rows of `cells.csv` and `curves.csv`."""
    named = values[values["metric"] != ""]
    single = named[(named["repetition"] == "") & (named["metric"] != "batch_size")]  # which the identity has
    return {
        "cell_id": cell.cell_id,
        "identity": cell.identity,
        "status": values["status"].iloc[0],
        "reason": values["reason"].iloc[0],
        "metrics": dict(zip(single["metric"], single["value"], strict=True)),
        "units": dict(zip(named["metric"], named["unit"], strict=True)),
        "repetitions": _series(named[named["repetition"] != ""].sort_values("repetition")),
        "curves": {} if epochs is None else _series(epochs.sort_values("epoch")),
        "provenance": {"commit": commit},
    }


def _series(rows: pd.DataFrame) -> dict[str, list[float]]:
    return {str(metric): list(own["value"]) for metric, own in rows.groupby("metric", sort=False)}


def _conclude(results: Path, lines: Sequence[Line], made: Table, question: str, tracker: Tracker) -> None:
    from suite.kinds.training.mlflow_views import box_plots, row_metrics, views
    from suite.run.mlflow_writer import Summary

    note = f"{question.strip()}\n\n{markdown(made)}"
    tracker.conclude(Summary(row_metrics(lines), note, box_plots(lines), views(lines)), results)
