"""The MLflow store: `mlflow.db` (sqlite) in the working folder, or what MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import mlflow
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from suite.errors import UserError, not_installed
from suite.redaction import redacted

TROUBLE = (MlflowException, SQLAlchemyError, OSError, ImportError)  # what a store may raise
SERVERS = ("postgresql", "mysql", "mssql")  # databases that MLflow writes into, each with a driver of its own
PATIENCE = 5  # seconds for another process to be done with mlflow.db
ANEW = "it is derived from the record: move it away, and write it anew with: suite track STUDY"


def _redact(record: logging.LogRecord) -> bool:
    record.msg, record.args = redacted(record.getMessage()), ()
    return True


logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback for what is told in a line
for _handler in logging.getLogger("mlflow").handlers:
    _handler.addFilter(_redact)


def store_uri(folder: Path = Path()) -> str:
    """The store in use: MLFLOW_TRACKING_URI, or `mlflow.db` in the folder, whatever that is called."""
    path = str(folder.resolve() / "mlflow.db")
    # MLflow makes the folder of what begins with sqlite:/// as it is written
    quoted = f"sqlite+pysqlite:///{quote(path)}" if re.search("[?%#]", path) else f"sqlite:///{path}"
    return os.environ.get("MLFLOW_TRACKING_URI") or quoted


def file_of(uri: str) -> Path | None:
    """The file of a store, there or not; None for one that is a server."""
    found = make_url(uri).database if re.match(r"sqlite(\+\w+)?:///", uri) else None
    return Path(found) if found and found != ":memory:" else None


def missing_file(uri: str) -> Path | None:
    """The file of a store that has none yet; None for one that has, or is a server."""
    path = file_of(uri)
    return path if path and not path.exists() else None


def check(uri: str) -> None:
    """Refuse at once what MLflow would try for minutes: a database that does not answer, a file that is none.

    Raises:
        UserError: with the reason and what helps.
    """
    _check_readable(uri)
    path = file_of(uri)
    try:
        if path and path.exists():
            _check_file(path)
        elif _scheme(uri) in SERVERS:
            create_engine(uri, poolclass=NullPool).connect().close()
    except (*TROUBLE, sqlite3.Error) as error:
        raise unusable(error) from error


def _scheme(uri: str) -> str:
    return uri.partition("://")[0].partition("+")[0]


def _check_readable(uri: str) -> None:
    """Refuse what is no address, such as one with a word for its port; it is not shown, as it may have a password."""
    try:
        port = make_url(uri).port if _scheme(uri) in (*SERVERS, "sqlite") else urlsplit(uri).port
    except (ValueError, ArgumentError):
        port = 2**16
    if port is not None and port >= 2**16:
        raise UserError(
            "the address in MLFLOW_TRACKING_URI cannot be read; write SCHEME://HOST:PORT/DATABASE, with a number for "
            "the port, an IPv6 host in brackets, and in front of HOST user, colon, password and @, with a password's "
            "own marks as %40 is for @"
        )
    if _scheme(uri) == "sqlite" and make_url(uri).database in (None, "", ":memory:"):
        raise UserError("the store in MLFLOW_TRACKING_URI ends with this command, as it has no file; name one")


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"cannot use the MLflow store {path}: it is a folder, not a database; {ANEW}")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=PATIENCE)) as store:
            found = store.execute("PRAGMA quick_check(1)").fetchone()[0]
            half = store.execute(
                "SELECT name FROM sqlite_master WHERE name LIKE '~_alembic~_tmp~_%' ESCAPE '~'"
            ).fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            cure = "end that process, such as suite ui, and do it again"
            raise UserError(f"cannot use the MLflow store {path}: another process has locked it; {cure}") from error
        raise
    except sqlite3.DatabaseError as error:
        raise UserError(f"cannot use the MLflow store {path}: it is damaged ({_line(error)}); {ANEW}") from error
    if found != "ok" or half:
        why = "it was never completed" if half else f"it is damaged ({_line(found)})"
        raise UserError(f"cannot use the MLflow store {path}: {why}; {ANEW}")


@contextmanager
def _made(uri: str, artifacts: str) -> Iterator[None]:
    """A file that is made here is complete or, if what is done with it fails, gone: MLflow cannot complete one."""
    made = missing_file(uri)
    try:
        if made:  # else MLflow puts the name of this folder into SQL, which no quote survives
            SqlAlchemyStore(uri, artifacts)  # type: ignore[no-untyped-call]
        yield
    except BaseException:
        for path in (made, made.with_name(f"{made.name}-journal")) if made else ():
            path.unlink(missing_ok=True)
        raise


def experiment_id(uri: str, study: str) -> str:
    """Id of a study's experiment.

    Raises:
        UserError: if the store does not have it or it was deleted there, or the store cannot be used.
    """
    check(uri)
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
        UserError: if the experiment was deleted, or the store cannot be used.
    """
    uri, artifacts = store_uri(folder), (folder.resolve() / "mlartifacts").as_uri()
    check(uri)
    with _made(uri, artifacts):
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(study)
    if experiment is None:
        own = None if os.environ.get("MLFLOW_TRACKING_URI") else artifacts
        experiment = client.get_experiment(client.create_experiment(study, own))
    _check_kept(experiment)
    return client, experiment


def unusable(error: Exception) -> UserError:
    """What to tell of a store that does not answer."""
    if isinstance(error, ImportError):
        return UserError(f"the store at MLFLOW_TRACKING_URI needs a driver: {not_installed(error)}")
    why = re.split(r"\s*(?:\[SQL: |\(Background on this error)", _line(getattr(error, "orig", None) or error))[0]
    own = not os.environ.get("MLFLOW_TRACKING_URI") and re.search("no such|already exists|schema", why)
    cure = f"; {ANEW}" if own else ""
    return UserError(redacted(f"cannot use the MLflow store (MLFLOW_TRACKING_URI, or mlflow.db here): {why}{cure}"))


def _line(said: object) -> str:
    return " ".join(str(said).split())


def _check_kept(experiment: Experiment) -> None:
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"the MLflow experiment {experiment.name!r} is deleted; restore it with: "
            f"mlflow experiments restore -x {experiment.experiment_id}"
        )
