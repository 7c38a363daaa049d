"""What Ray does that this process alone does not: scheduling, replaced workers, kills, loopback, clusters."""

import errno
import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow
import psutil
import pytest
from ray.tune.error import TuneError
from rich.console import Console
from tiny_study import OURS, RUN, SUITE, finished, here, rows_of, runs, strange, strangers, suite, write

from suite.errors import UserError
from suite.kinds.training.checks import MEASURED
from suite.kinds.training.runner import CellQueue
from suite.run import on_ray
from suite.run.progress import Progress
from suite.study.store import Record


def start(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start `suite run trial.yaml` in a session of its own."""
    command, variables = [*SUITE, "run", "trial.yaml"], os.environ | OURS | environment
    with (folder / "output.txt").open("wb") as output:
        return subprocess.Popen(
            command, cwd=folder, env=variables, stdout=output, stderr=output, start_new_session=True
        )


def content_of(store: Path) -> list[str]:
    """All that a sqlite file says."""
    with sqlite3.connect(store) as connection:
        return list(connection.iterdump())


def wait_for_cells(folder: Path, count: int, running: subprocess.Popen[bytes], what: str = "cells") -> None:
    """Wait until so many cells are finished, or `failed`."""
    deadline = time.monotonic() + 300
    while len(list((folder / ".suite" / what).glob("*.json"))) < count:
        assert running.poll() is None, (folder / "output.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def rays() -> set[int]:
    """Ids of those of Ray's own processes that the command line started here; of one that has ended none is left."""
    alive = psutil.process_iter(["pid", "name", "environ"])
    ours = [process.info for process in alive if OURS.items() <= (process.info["environ"] or {}).items()]
    return {info["pid"] for info in ours if info["name"] in ("raylet", "gcs_server")}


def ray_is_gone(before: set[int]) -> bool:
    """Whether every Ray process that was not there before has ended, within a minute."""
    end = time.monotonic() + 60
    while rays() - before:
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses at which a process and all that it started accept connections."""
    found = set()
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with suppress(psutil.Error):  # some end before they are asked
            connections = process.net_connections("inet")
            found |= {tuple(one.laddr) for one in connections if one.status == psutil.CONN_LISTEN}
    return found


def waiting(folder: Path, *methods: object) -> dict[str, str]:
    """Write a study whose last row ends only when `release` lets it; returns the environment that has its method."""
    write(folder, methods=["none", *methods, strange(folder, "wait")], seeds=[0], speed=None)
    return strangers(folder)


def release(folder: Path) -> None:
    """Let that row end."""
    (folder / "wait.over").touch()


@dataclass(frozen=True)
class Resumed:
    """A study that was killed with three of four cells finished, and finished by a second run.

    Attributes:
        folder: where it ran.
        environment: what has its methods.
        sockets: addresses at which anything of the first run accepted connections.
        refused: what a second run said meanwhile.
        kept: cells that were finished when it was killed.
        said: what the run said that finished the others.
    """

    folder: Path
    environment: dict[str, str]
    sockets: set[tuple[str, int]]
    refused: subprocess.CompletedProcess[str]
    kept: dict[str, float]
    said: str


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    """Kill a run while one of its rows cannot end; then run it again."""
    folder, before = tmp_path_factory.mktemp("resumed"), rays()
    environment = waiting(folder, "cropr")
    driver = start(folder, **environment)
    try:
        wait_for_cells(folder, 3, driver)
        assert rays() - before, "they are found while they run"
        sockets = listening(driver.pid)
        refused = suite(folder, "run", "trial.yaml", **environment)
    finally:
        driver.kill()
        driver.wait()
        release(folder)
    assert ray_is_gone(before), "Ray ends with its driver"
    kept = finished(folder)
    done = suite(folder, "run", "trial.yaml", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ray_is_gone(before)
    return Resumed(folder, environment, sockets, refused, kept, done.stdout)


@pytest.mark.slow
def test_kill_9_and_resume(resumed: Resumed) -> None:
    """Nothing finished is lost or done twice, in the record and in MLflow."""
    assert len(resumed.kept) == 3
    assert "3 finished, 1 to run" in resumed.said
    after = finished(resumed.folder)
    assert len(after) == 4
    assert {cell: after[cell] for cell in resumed.kept} == resumed.kept
    assert sorted(run.data.tags["cell_id"] for run in runs(resumed.folder)) == sorted(after)
    found = runs(resumed.folder, "'base', 'accuracy', 'row', 'study'")
    assert {run.info.status for run in found} == {"FINISHED"}
    assert all("acc1_last/median" in run.data.metrics for run in runs(resumed.folder, "'row'"))


@pytest.mark.slow
def test_sockets_are_on_loopback_only(resumed: Resumed) -> None:
    """Of the driver and of all that it started."""
    assert len(resumed.sockets) > 3
    assert {address for address, _ in resumed.sockets} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.slow
def test_two_drivers_do_not_share_a_folder(resumed: Resumed) -> None:
    """The second run says so and ends with code 2."""
    assert resumed.refused.returncode == 2
    assert "another run is at work" in resumed.refused.stderr


@pytest.mark.slow
def test_a_cell_has_the_same_bits_in_this_process(resumed: Resumed, tmp_path: Path) -> None:
    """All but times: metrics, curves, tokens and examples of the base and of cells that start from it."""
    write(tmp_path, methods=["none", "cropr"], seeds=[0], speed=None)
    done = here(tmp_path, *RUN)
    assert done.returncode == 0, done.stdout
    assert len(finished(tmp_path)) == 3
    for cell_id in finished(tmp_path):
        homes = (resumed.folder, tmp_path)
        one, other = (json.loads((home / f".suite/cells/{cell_id}.json").read_text()) for home in homes)
        for entry in (one, other):
            entry["metrics"] = {key: value for key, value in entry["metrics"].items() if key not in MEASURED}
        differing = {key for key in one if one[key] != other[key]}
        assert differing <= {"seconds", "provenance", "sha256"}
        assert one["curves"]["loss"]


@pytest.mark.slow
def test_a_second_run_starts_no_ray_and_writes_nothing(resumed: Resumed) -> None:
    """MLflow has all of it already."""
    folder = resumed.folder
    store, before = content_of(folder / "mlflow.db"), finished(folder)
    done = suite(folder, "run", "trial.yaml", **resumed.environment, RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert "4 finished, 0 to run" in done.stdout
    assert content_of(folder / "mlflow.db") == store
    assert finished(folder) == before


@pytest.mark.slow
def test_ctrl_c_and_dead_workers(tmp_path: Path) -> None:
    """SIGINT to the whole group, as a terminal sends it: exit code 130, what is finished stays, Ray is gone.

    Before that, one row kills its process the first time and begins again; one raises, and is not repeated.
    """
    environment = waiting(tmp_path, strange(tmp_path, "SIGKILL"), strange(tmp_path, "raise"))
    before = rays()
    driver = start(tmp_path, **environment)
    wait_for_cells(tmp_path, 3, driver)
    wait_for_cells(tmp_path, 1, driver, "failed")
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait(180) == 130, (tmp_path / "output.txt").read_text()
    release(tmp_path)
    output = (tmp_path / "output.txt").read_text()
    assert "resume with: suite run trial.yaml" in output
    assert "KeyboardInterrupt" not in output  # Ray itself tells of the dead worker with a traceback
    assert ray_is_gone(before)
    assert len(finished(tmp_path)) == 3
    status = {row["row"]: row["status"] for row in rows_of(tmp_path)}
    assert status.items() >= {"base": "done", "SIGKILL": "done", "none": "done", "raise": "failed"}.items()
    assert len((tmp_path / "SIGKILL").read_text()) > 2, "it began again after its death"
    assert (tmp_path / "raise").read_text() == "x", "it was tried once"
    failed = next(run for run in runs(tmp_path) if run.data.tags["row"] == "raise")
    assert failed.info.status == "FAILED"
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    traceback = Path(client.download_artifacts(failed.info.run_id, "traceback.txt", str(tmp_path))).read_text()
    assert "stumbled over a token" in traceback


@pytest.mark.slow
def test_speed_cells_run_alone(tmp_path: Path) -> None:
    """And end as all others."""
    write(tmp_path, methods=["none", "cropr"], seeds=[1])
    done = suite(tmp_path, "run", "trial.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = [(run.data.tags["kind"], run.info.status) for run in runs(tmp_path)]
    assert sorted(kinds) == [(kind, "FINISHED") for kind in ("accuracy", "accuracy", "base", "speed", "speed")]


@pytest.mark.slow
def test_ctrl_c_between_two_rounds(tmp_path: Path) -> None:
    """The moment the base is done no round is running; the next one must not start all the same."""
    environment = waiting(tmp_path)
    driver = start(tmp_path, **environment)
    wait_for_cells(tmp_path, 1, driver)
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait(180) == 130, (tmp_path / "output.txt").read_text()
    release(tmp_path)
    assert len(finished(tmp_path)) < 4
    assert "Traceback" not in (tmp_path / "output.txt").read_text()


def test_a_ray_address_without_a_cluster(tmp_path: Path) -> None:
    """Within seconds, with code 2."""
    write(tmp_path)
    done = here(tmp_path, "run", "trial.yaml", RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 2, done.stderr
    assert "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1" in done.stderr


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1:6379",
        "127.0.0.1 6379",
        "a b:6379",
        "http://127.0.0.1:8265",
        "host:",
        "host:x",
        "h:99999",
        ":1",
    ],
)
def test_what_is_no_address_of_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """With one that would be."""
    monkeypatch.setenv("RAY_ADDRESS", address)
    message = f"RAY_ADDRESS={address} is no address of a Ray cluster; write HOST:PORT, such as 127.0.0.1:6379, or unset"
    with pytest.raises(UserError, match=re.escape(message)), on_ray.running_ray([]):
        pass


@pytest.mark.parametrize("address", ["[::1]:1", " 127.0.0.1:1\n", "ray://127.0.0.1:1"])
def test_an_address_where_nothing_answers(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """It is said which; space around it does not matter."""
    monkeypatch.setenv("RAY_ADDRESS", address)
    message = f"no Ray cluster answers at RAY_ADDRESS={address.strip()}: "
    with pytest.raises(UserError, match=re.escape(message)), on_ray.running_ray([]):
        pass


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            ConnectionError("Could not find any running Ray instance."),
            "no Ray cluster answers at RAY_ADDRESS=auto: Co",
        ),
        (
            RuntimeError("Version mismatch: the cluster\nhas Ray: 2.1"),
            "cannot be used (RuntimeError: Version mismatch: ",
        ),
        (ValueError("what"), "cannot be used (ValueError: what); start its nodes with this environment"),
    ],
)
def test_whatever_ray_raises_at_a_cluster_is_one_line(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, message: str
) -> None:
    """Another version of Ray or Python, no cluster to be found."""

    def init(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(on_ray.ray, "init", init)
    with pytest.raises(UserError) as error, on_ray.running_ray([]):
        pass
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("address", ["", " ", "local"])
def test_ray_starts_here_in_a_folder_with_a_short_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    """Whatever TMPDIR is: the path of a socket has 107 bytes at most. RAY_TMPDIR is used if it is short."""
    asked: list[str] = []
    monkeypatch.setattr(on_ray.ray, "init", lambda **options: asked.append(options["_temp_dir"]))
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    for variable, folder in (("TMPDIR", "/" + "x" * 119), ("TMPDIR", "/" + "ü" * 30), ("RAY_TMPDIR", "/r")):
        monkeypatch.setenv(variable, folder)
        with on_ray.running_ray([]):
            pass
    assert asked == ["/tmp/ray", "/tmp/ray", "/r/ray"]  # noqa: S108
    assert capsys.readouterr().err == ""
    session = "/session_2026-01-31_23-59-59_123456_1234567/sockets/plasma_store"
    longest = on_ray.LONGEST_SOCKET - len("/ray" + session)
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * (longest - 1))
    assert on_ray._temporary() == "/" + "x" * (longest - 1)
    capsys.readouterr()
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * longest)
    with on_ray.running_ray([]):
        pass
    assert asked.pop() == "/tmp/ray"  # noqa: S108
    said = f"has a path of more than {longest} bytes, too long for Ray's sockets; /tmp is used"
    assert said in capsys.readouterr().err
    monkeypatch.setattr(on_ray, "SHORT", str(tmp_path / "missing"))
    with pytest.raises(UserError, match=f"name a folder with a path of at most {longest} bytes: RAY_TMPDIR"):
        on_ray._temporary()


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "No space left on device, with /r/ray; see that there is room",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/r/ray/x"), "Permission denied, with /r/ray/x; see that"),
        (RuntimeError("a raylet\ndied"), "RuntimeError: a raylet died, with /r/ray; see that there is room"),
    ],
)
def test_ray_that_cannot_start_here_says_where(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, message: str
) -> None:
    """A full disk, a folder of somebody else."""

    def init(**_: object) -> None:
        raise raised

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", "/r")
    monkeypatch.setattr(on_ray.ray, "init", init)
    with pytest.raises(UserError, match=re.escape(f"Ray cannot work here: {message}")), on_ray.running_ray([]):
        pass


def _no_queue(folder: Path) -> CellQueue:
    return CellQueue([], Record(folder), Progress([], set(), 1, Console()), lambda *_: None)


@pytest.mark.parametrize(
    "wrapped",
    [OSError(errno.ENOSPC, "No space left on device"), TuneError("[Errno 28] No space left on device: y")],
    ids=["as it is", "by Tune"],
)
def test_a_full_disk_under_ray_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrapped: Exception) -> None:
    """While cells run, whether Tune wraps it or not; other errors of Tune stay as they are."""

    class Full:
        def fit(self) -> None:
            raise wrapped

    monkeypatch.setattr(on_ray, "_tuner", lambda *_: Full())
    with pytest.raises(UserError, match=r"Ray cannot work here: No space left on device, .*finished cells are kept"):
        on_ray.run_cells(lambda _: {}, _no_queue(tmp_path), tmp_path)
    wrapped = TuneError("another")
    with pytest.raises(TuneError, match="another"):
        on_ray.run_cells(lambda _: {}, _no_queue(tmp_path), tmp_path)


@pytest.mark.slow
def test_a_record_that_cannot_be_written(tmp_path: Path) -> None:
    """One sentence and code 2, no traceback, and no Ray left behind."""
    write(tmp_path)
    (tmp_path / ".suite").mkdir()
    (tmp_path / ".suite/format").write_text("2\n")
    (tmp_path / ".suite/cells").write_text("a file where a folder should be")
    before = rays()
    done = suite(tmp_path, "run", "trial.yaml")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: cannot write .suite/cells/")
    assert "Traceback" not in done.stderr
    assert ray_is_gone(before)
