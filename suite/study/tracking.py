"""MLflow: an experiment per study, a run per cell, derived from the record by the driver alone.

The default store is `mlflow.db` (sqlite) in the working folder, where `mlflow ui` finds it; MLFLOW_TRACKING_URI is
honoured. Metrics: finals at step 0, curves under `epoch/`, tokens per block under `block/`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when mlflow is imported
os.environ["DO_NOT_TRACK"] = "true"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # by default a wrong address is tried for minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")

import mlflow
from mlflow.entities import Experiment, Metric, Param, Run
from mlflow.exceptions import MlflowException

from suite.errors import UserError
from suite.study.cells import Cell
from suite.study.record import Entry

COMPLETE = "complete"  # tag: digest of the entry that the run was written from
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)


class Tracker:
    """Writes cells of one study into MLflow; each cell has one run, however often it is written."""

    def __init__(self, study: str, folder: Path = Path()) -> None:
        """Connect, and create the store and the experiment if need be.

        Raises:
            UserError: if the store at MLFLOW_TRACKING_URI cannot be used.
        """
        home = folder.resolve()
        given = os.environ.get("MLFLOW_TRACKING_URI")
        self.uri = given or f"sqlite:///{home / 'mlflow.db'}"
        self.study = study
        try:
            self.client = mlflow.MlflowClient(tracking_uri=self.uri)
            self.experiment = self._experiment(None if given else (home / "mlartifacts").as_uri())
        except (MlflowException, OSError) as error:
            raise UserError(f"cannot use the MLflow store (MLFLOW_TRACKING_URI, or mlflow.db here): {error}") from error

    def sync(self, cell: Cell, entry: Entry) -> None:
        """Have one run that says what `entry` says; a run that was cut short or says something else is replaced."""
        digest = hashlib.sha256(json.dumps([cell.row, cell.schedule, entry], sort_keys=True).encode()).hexdigest()
        found = self._find(cell)
        if [run.data.tags.get(COMPLETE) for run in found] == [digest]:
            return
        for run in found:
            self.client.delete_run(run.info.run_id)
        tags = self._tags(cell, entry)
        run = self.client.create_run(self.experiment.experiment_id, run_name=self._name(cell), tags=tags)
        self._fill(run.info.run_id, cell, entry, digest)

    def keep_picture(self, path: Path) -> None:
        """Have one run that is nobody's cell and holds this picture as an artifact; a second call replaces it."""
        tag = f"tags.picture = '{path.name}'"
        for run in self.client.search_runs([self.experiment.experiment_id], tag):
            self.client.delete_run(run.info.run_id)
        tags = {"picture": path.name, "study": self.study}
        run = self.client.create_run(self.experiment.experiment_id, run_name=path.stem, tags=tags)
        self.client.log_artifact(run.info.run_id, str(path))
        self.client.set_terminated(run.info.run_id, "FINISHED")

    def _experiment(self, artifacts: str | None) -> Experiment:
        experiment = self.client.get_experiment_by_name(self.study)
        if experiment is None:
            experiment = self.client.get_experiment(self.client.create_experiment(self.study, artifacts))
        if experiment.lifecycle_stage == "deleted":
            raise UserError(
                f"the MLflow experiment {self.study!r} is deleted; restore it with: "
                f"mlflow experiments restore -x {experiment.experiment_id}"
            )
        return experiment

    def _find(self, cell: Cell) -> list[Run]:
        return list(self.client.search_runs([self.experiment.experiment_id], f"tags.cell_id = '{cell.cell_id}'"))

    def _fill(self, run_id: str, cell: Cell, entry: Entry, digest: str) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(run_id, metrics=_metrics(entry, now), params=_parameters(cell))
        if entry["status"] == "failed":
            self.client.log_text(run_id, entry["reason"], "traceback.txt")
        else:
            self.client.log_dict(run_id, entry, "cell.json")
        self.client.set_terminated(run_id, "FAILED" if entry["status"] == "failed" else "FINISHED")
        self.client.set_tag(run_id, COMPLETE, digest)  # last of all: a run without it was cut short

    def _name(self, cell: Cell) -> str:
        return " · ".join(filter(None, [cell.row, cell.kind, cell.variant]))

    def _tags(self, cell: Cell, entry: Entry) -> dict[str, str]:
        identity, provenance = cell.identity, entry.get("provenance", {})
        return {
            "cell_id": cell.cell_id,
            "study": self.study,
            "row": cell.row,
            "kind": cell.kind,
            "method": identity.get("method", "none"),
            "seed": str(identity.get("seed", "")),
            "task": identity["task"],
            "git_commit": str(provenance.get("commit", "")),
            "protocol": str(identity["protocol"]),
            "status": entry["status"],
            "reason": _last_line(entry),
        }


def _last_line(entry: Entry) -> str:
    lines: list[str] = entry.get("reason", "").strip().splitlines()
    return lines[-1][:5000] if lines else ""


def _parameters(cell: Cell) -> list[Param]:
    """What was asked for, flat, with one name for one thing in every cell."""
    flat = {"row": cell.row, "schedule": cell.schedule, "start": cell.start or ""} | _flatten(cell.identity)
    return [Param(key, str(value)[:6000]) for key, value in flat.items()]


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= _flatten(item, f"{prefix}{key}/")
        else:
            flat[prefix + key] = item
    return flat


def _metrics(entry: Entry, now: int) -> list[Metric]:
    finals = [Metric(name, value, now, 0) for name, value in entry.get("metrics", {}).items()]
    series = {f"epoch/{name}": values for name, values in entry.get("curves", {}).items()}
    for name, values in entry.get("repetitions", {}).items():
        series[f"{'block' if name.startswith('tokens') else 'round'}/{name}"] = values
    return finals + [
        Metric(name, value, now, step) for name, values in series.items() for step, value in enumerate(values)
    ]
