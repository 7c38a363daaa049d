"""The MLflow store: `mlflow.db` (sqlite) in the working folder, or what MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import mlflow
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from suite.errors import UserError

TROUBLE = (MlflowException, SQLAlchemyError, OSError)  # what a store may raise

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)


def store_uri(folder: Path = Path()) -> str:
    """The store in use: MLFLOW_TRACKING_URI, or `mlflow.db` in the folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve() / 'mlflow.db'}"


def missing_file(uri: str) -> Path | None:
    """The file of a store that has none yet; None for one that has, or is a server."""
    path = Path(uri.removeprefix("sqlite:///"))
    return path if uri.startswith("sqlite:///") and not path.is_file() else None


def experiment_id(uri: str, study: str) -> str:
    """Id of a study's experiment.

    Raises:
        UserError: if the store does not have it or it was deleted there, or the store cannot be used.
    """
    try:
        experiment = mlflow.MlflowClient(tracking_uri=uri).get_experiment_by_name(study)
    except TROUBLE as error:
        raise unusable(error) from error
    if experiment is None:
        raise UserError(f"MLflow has no runs of {study}; make them with: suite run {study}")
    _check_kept(experiment)
    return str(experiment.experiment_id)


def open_experiment(study: str, folder: Path) -> tuple[mlflow.MlflowClient, Experiment]:
    """A client, and the experiment of a study, made if need be.

    Raises:
        UserError: if the experiment was deleted.
    """
    client = mlflow.MlflowClient(tracking_uri=store_uri(folder))
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        artifacts = None if os.environ.get("MLFLOW_TRACKING_URI") else (folder.resolve() / "mlartifacts").as_uri()
        experiment = client.get_experiment(client.create_experiment(study, artifacts))
    _check_kept(experiment)
    return client, experiment


def unusable(error: Exception) -> UserError:
    """What to tell of a store that does not answer."""
    return UserError(f"cannot use the MLflow store (MLFLOW_TRACKING_URI, or mlflow.db here): {error}")


def _check_kept(experiment: Experiment) -> None:
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"the MLflow experiment {experiment.name!r} is deleted; restore it with: "
            f"mlflow experiments restore -x {experiment.experiment_id}"
        )
