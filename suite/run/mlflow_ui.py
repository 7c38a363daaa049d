"""What `suite ui` does: MLflow's server on loopback, for as long as a person looks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NoReturn

from rich.console import Console

from suite.errors import UserError
from suite.redaction import redacted
from suite.run.mlflow_store import check, experiment_id, missing_file, store_uri

HOST = "127.0.0.1"
TRAINING = "workflowType=machine_learning"  # else MLflow's page opens on chats and traces
PATIENCE = 120  # seconds for the server to answer, and then to end


def serve(study: str | None, port: int, opening: bool, console: Console) -> None:
    """Show a study's experiment, or all, until a signal comes; prints the address.

    A store that is a server already is only shown.

    Raises:
        UserError: if there is no store, or no such experiment in it, the port is taken, or the server does not start.
    """
    store = store_uri()
    check(store)
    if path := missing_file(store):
        raise UserError(f"there are no runs in {path}; make some with: suite run quickstart")
    place = f"?{TRAINING}"
    if study is not None:
        place = f"/experiments/{experiment_id(store, study)}/runs?{TRAINING}&viewStateShareKey=methods"
    if store.startswith(("http://", "https://")):
        _show(f"{redacted(store)}/#{place}", opening, console)
        return
    _check_port(port)
    with tempfile.TemporaryFile() as log, _ending_on_signals(), _running(store, port, log) as server:
        with console.status("starting MLflow"):
            _wait_until_ready(server, f"http://{HOST}:{port}", log)
        _show(f"http://{HOST}:{port}/#{place}", opening, console)
        console.print("Ctrl-C ends it")
        server.wait()
        raise UserError(f"MLflow's server ended by itself: {_last_words(log)}")


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Ctrl-C, a closed terminal and a polite kill all end what is inside, without a traceback."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _running(store: str, port: int, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server in a process group of its own, all of which ends with this."""
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    where = {"MLFLOW_BACKEND_STORE_URI": store}  # not an argument, which everybody on this machine can read
    server = subprocess.Popen(  # noqa: S603
        [*command, "--host", HOST, "--port", str(port)],
        env=os.environ | quiet | where,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield server
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    for number, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, PATIENCE)):
        try:
            os.killpg(server.pid, number)
            server.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            cure = f"choose another: suite ui --port {port + 1}"
            raise UserError(f"cannot listen on port {port} of {HOST}: {error.strerror}; {cure}") from error


def _wait_until_ready(server: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if server.poll() is not None:
            raise UserError(f"MLflow's server did not start: {_last_words(log)}")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise UserError(f"MLflow's server did not answer at {address} within {PATIENCE} seconds: {_last_words(log)}")


def _last_words(log: IO[bytes]) -> str:
    log.seek(0)
    lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it wrote nothing"


def _show(address: str, opening: bool, console: Console) -> None:
    console.print(f"MLflow: {address}", soft_wrap=True, highlight=False)
    if opening and (sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"} & os.environ.keys()):
        webbrowser.open(address)  # elsewhere it could only be a browser in this terminal
