"""Run cells on Ray: ray[tune] takes them from a queue, each cell with its own resources.

On one machine Ray is started here, bound to loopback, and stopped at the end; with RAY_ADDRESS set, a running cluster
is used and left alone. A cell that raises is reported and not repeated; a worker process that dies is replaced.
"""

from __future__ import annotations

import functools
import os
import pickle
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from suite.measure import allocator

# Read by Ray when it is imported. The first is how a single machine stays off the network: by default Ray's services
# listen on all interfaces.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints even when asked to be silent
os.environ.update(allocator.ENVIRONMENT | dict(os.environ))  # workers inherit it
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "16")  # with one, as is usual, workers are started anew
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it ends one round only, and without a word
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")

import ray
import torch
from ray import tune
from ray.tune.error import TuneError
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from suite.errors import UserError, describe
from suite.host import cores
from suite.run import over_nodes
from suite.run.in_process import Queue, attempt
from suite.run.over_nodes import QUIET
from suite.study.cells import Cell, How, Job, Work
from suite.terminal import warn

CRASHES_FORGIVEN = 2
OBJECT_STORE_BYTES = 256 * 2**20
ADDRESS = re.compile(r"(?:ray://)?(?P<host>\[[\w:.%]+\]|[\w.-]+):(?P<port>\d+)")
SOCKET = len("/ray/session_2026-01-31_23-59-59_123456_1234567/sockets/plasma_store")  # what Ray adds to its folder
LONGEST_SOCKET = 103  # bytes that macOS allows; Linux has four more
FULL = re.compile(r"\[Errno \d+\] (No space left on device|Disk quota exceeded|File too large)")
SHORT = "/tmp"  # noqa: S108  (Ray's own choice where no variable names another)


@contextmanager
def running_ray(cells: Sequence[Cell], environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Have Ray run, with room for each of these cells.

    Its workers have `environment` when they start, whatever stands around this process.

    Raises:
        UserError: if the cluster at RAY_ADDRESS does not answer or cannot run every cell, or Ray cannot start here.
    """
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if environment:
        quiet["runtime_env"] = {"env_vars": dict(environment)}
    address = os.environ.get("RAY_ADDRESS", "").strip()
    if address in ("", "local"):
        _start(cells, quiet)
    else:
        _connect(address, cells, quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _start(cells: Sequence[Cell], quiet: dict[str, Any]) -> None:
    folder, wanted = _temporary(), os.environ.get("RAY_TMPDIR")
    if wanted and folder != wanted:
        most = LONGEST_SOCKET - SOCKET
        warn(f"RAY_TMPDIR={wanted} has a path of more than {most} bytes, too long for Ray's sockets; {folder} is used")
    try:
        ray.init(
            address="local",
            num_cpus=max([cores(), *(cell.cores for cell in cells)]),
            num_gpus=torch.cuda.device_count() if any(cell.gpus for cell in cells) else 0,
            resources={QUIET: 1},
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(Path(folder).absolute() / "ray"),
            **quiet,
        )
    except Exception as error:  # its own, or of the system: no room, no permission
        ray.shutdown()
        raise _no_room(error) from error


def _temporary() -> str:
    """The folder in which Ray's own shall be: a short one where its sockets would have longer paths than systems allow.

    Raises:
        UserError: if there is none.
    """
    wanted = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or SHORT
    if len(os.fsencode(wanted)) + SOCKET <= LONGEST_SOCKET:
        return wanted
    if os.access(SHORT, os.W_OK | os.X_OK):
        return SHORT
    most = LONGEST_SOCKET - SOCKET
    raise UserError(
        f"Ray's sockets cannot be in {wanted}; name a folder with a path of at most {most} bytes: RAY_TMPDIR"
    )


def _no_room(error: Exception) -> UserError:
    """What to tell of Ray's temporary files that cannot be written."""
    named = getattr(error, "filename", None) or Path(_temporary()) / "ray"
    why = getattr(error, "strerror", None) or describe(error)
    return UserError(
        f"Ray cannot work here: {why}, with {named}; see that there is room, or name another folder: RAY_TMPDIR; "
        "finished cells are kept, and --in-process runs without Ray"
    )


def _connect(address: str, cells: Sequence[Cell], quiet: dict[str, Any]) -> None:
    found = ADDRESS.fullmatch(address)
    if address != "auto" and (found is None or int(found["port"]) > 65_535):
        raise UserError(
            f"RAY_ADDRESS={address} is no address of a Ray cluster; write HOST:PORT, such as 127.0.0.1:6379, or unset "
            "it to run here"
        )
    try:
        if found:  # Ray itself would wait for minutes
            socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout=10).close()
        os.environ["RAY_ADDRESS"] = address
        ray.init(address, **quiet)
    except OSError as error:
        raise UserError(f"no Ray cluster answers at RAY_ADDRESS={address}: {error}; unset it to run here") from error
    except Exception as error:  # whatever Ray raises there, such as another version
        ray.shutdown()
        raise UserError(
            f"the Ray cluster at RAY_ADDRESS={address} cannot be used ({describe(error)}); start its nodes with this "
            "environment, or unset RAY_ADDRESS to run here"
        ) from error
    lacking = over_nodes.without_room(cells, _nodes())
    if not all(QUIET in node for node in _nodes()):
        lacking = (
            "every node of the Ray cluster needs the resource 'quiet', which keeps a machine free while speed is "
            "measured; start nodes with: ray start ... --resources='{\"quiet\": 1}'"
        )
    if lacking:
        ray.shutdown()
        raise UserError(lacking)


def _nodes() -> list[dict[str, float]]:
    """What each node of the cluster has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def run_cells(work: Work, queue: Queue, scratch: Path) -> None:
    """As `in_process.run_cells`, several at once, in the order in which they become ready.

    The queue is used in this process. All nodes of a cluster must share `scratch`, and see its files of weights.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    listener = _Listener(queue)
    try:
        _tuner(work, queue, listener, scratch.resolve()).fit()
    except TuneError as error:
        if listener.trouble:
            raise listener.trouble from None
        if full := FULL.search(str(error)):
            raise _no_room(OSError(None, full[1])) from error
        raise
    except OSError as error:
        raise _no_room(error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _tuner(work: Work, queue: Queue, listener: _Listener, scratch: Path) -> tune.Tuner:
    """Tune runs what the queue hands out, with each cell's resources, and tells the listener."""
    return tune.Tuner(
        tune.with_resources(tune.with_parameters(_work, work=work), _resources),
        tune_config=tune.TuneConfig(
            search_alg=_InOrder(queue, scratch),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=_cell_id,
            trial_name_creator=_cell_id,
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            callbacks=[listener],
            failure_config=tune.FailureConfig(max_failures=CRASHES_FORGIVEN),
            verbose=0,
        ),
    )


class _InOrder(Searcher):
    """Suggests the cells of a queue as they become ready."""

    def __init__(self, queue: Queue, scratch: Path) -> None:
        super().__init__()
        self.queue, self.scratch = queue, scratch

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles it into a file that is not read here; the queue stays in this process."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        cell = self.queue.take()
        if cell:
            return {"cell": _config(cell, self.queue.weights(cell), self.scratch)}
        return None if self.queue.may_grow() else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The listener has told the queue."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what is done is in the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called."""


def _config(cell: Cell, weights: Path | None, scratch: Path) -> dict[str, Any]:
    needs = over_nodes.bundles(cell, _nodes() if cell.processes > 1 else ())
    places = cell.places | {"scratch": str(scratch)}
    start = str(weights.resolve()) if weights else None
    known = {"identity": cell.identity, "start": start, "places": places, "how": tuple(cell.how)}
    return known | {"id": cell.cell_id, "needs": needs}


def _resources(config: dict[str, Any]) -> PlacementGroupFactory:
    return PlacementGroupFactory(config["cell"]["needs"])


def _work(config: dict[str, Any], work: Work) -> None:
    """Run in a worker; a cell that raises ends normally with its traceback, so that only dead processes crash."""
    cell, (_, *others) = config["cell"], config["cell"]["needs"]
    start = Path(cell["start"]) if cell["start"] else None
    places, how = cell["places"], How(*cell["how"])
    job = Job(cell["identity"], start, lambda steps: tune.report({"steps": steps}), places, how)
    work = functools.partial(over_nodes.run, work, others) if others else work
    tune.report({"result": pickle.dumps(attempt(work, job))})


class _Listener(tune.Callback):
    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.trouble: UserError | None = None  # what stopped the queue; Tune wraps it beyond recognition

    def __getstate__(self) -> dict[str, Any]:
        """As that of `_InOrder`."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.queue.started(_cell_id(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if "result" in result:
            self._end(trial, pickle.loads(result["result"]))  # noqa: S301  (our own worker's)
        elif "steps" in result:
            self.queue.advanced(_cell_id(trial), result["steps"])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        reason = f"the worker process died {CRASHES_FORGIVEN + 1} times (out of memory, or killed)"
        self._end(trial, {"status": "failed", "reason": reason})

    def _end(self, trial: Trial, result: dict[str, Any]) -> None:
        try:
            self.queue.ended(_cell_id(trial), result)
        except UserError as trouble:
            self.trouble = trouble
            raise


def _cell_id(trial: Trial) -> str:
    return str(trial.config["cell"]["id"])
