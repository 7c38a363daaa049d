"""What Ray does that this process alone does not: scheduling, replaced workers, kills, loopback, clusters."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import mlflow
import psutil
import pytest
from tiny_study import CELLS, OURS, RUN, SUITE, finished, here, rows_of, runs, strange, strangers, suite, write


def start(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start `suite run trial.yaml` in a session of its own."""
    command = [*SUITE, "run", "trial.yaml"]
    with (folder / "output.txt").open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | OURS | environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def content_of(store: Path) -> list[str]:
    """All that a sqlite file says."""
    with sqlite3.connect(store) as connection:
        return list(connection.iterdump())


def wait_for_cells(folder: Path, count: int, running: subprocess.Popen[bytes]) -> None:
    """Wait until so many cells are finished."""
    deadline = time.monotonic() + 300
    while len(finished(folder)) < count:
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


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a base, four accuracy cells and two speed cells ran once."""
    folder = tmp_path_factory.mktemp("ran")
    write(folder, methods=["none", "cropr"])
    before = rays()
    done = suite(folder, "run", "trial.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ray_is_gone(before)
    return folder


def test_a_cell_has_the_same_bits_in_this_process(ran: Path, tmp_path: Path) -> None:
    """All but times: metrics, curves, tokens and examples of the base and of cells that start from it."""
    write(tmp_path, methods=["none", "cropr"], seeds=[1], speed=None)
    done = here(tmp_path, *RUN)
    assert done.returncode == 0, done.stdout
    assert len(finished(tmp_path)) == 3
    for cell_id in finished(tmp_path):
        one, other = (json.loads((home / f".suite/cells/{cell_id}.json").read_text()) for home in (ran, tmp_path))
        differing = {key for key in one if one[key] != other[key]}
        assert differing <= {"seconds", "provenance"}
        assert one["curves"]["loss"]


def test_mlflow_has_a_run_per_cell(ran: Path) -> None:
    """Written while they ran, with parents that tell what was found."""
    assert sorted(run.data.tags["cell_id"] for run in runs(ran)) == sorted(finished(ran))
    assert {run.info.status for run in runs(ran, "'base', 'accuracy', 'speed', 'row', 'study'")} == {"FINISHED"}
    assert all("acc1_last/median" in run.data.metrics for run in runs(ran, "'row'"))


def test_a_second_call_starts_no_ray_and_writes_nothing(ran: Path) -> None:
    """MLflow has all of it already."""
    store, before = content_of(ran / "mlflow.db"), finished(ran)
    done = here(ran, "run", "trial.yaml", RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert "7 finished, 0 to run" in done.stdout
    assert content_of(ran / "mlflow.db") == store
    assert finished(ran) == before


def test_kill_9_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The driver is killed in the middle; the same command then runs only what was not finished."""
    write(tmp_path)
    before = rays()
    driver = start(tmp_path)
    wait_for_cells(tmp_path, 4, driver)
    assert rays() - before, "they are found while they run"
    driver.kill()
    driver.wait()
    assert ray_is_gone(before), "Ray ends with its driver"
    kept = finished(tmp_path)
    assert 4 <= len(kept) < CELLS
    done = suite(tmp_path, "run", "trial.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(kept)} finished, {CELLS - len(kept)} to run" in done.stdout
    after = finished(tmp_path)
    assert len(after) == CELLS
    assert {cell: after[cell] for cell in kept} == kept
    found = [run.data.tags["cell_id"] for run in runs(tmp_path)]
    assert sorted(found) == sorted(after)
    assert {run.info.status for run in runs(tmp_path)} == {"FINISHED"}


def test_ctrl_c_leaves_finished_cells_finished(tmp_path: Path) -> None:
    """SIGINT to the whole group, as a terminal sends it: exit code 130, what is finished stays, Ray is gone."""
    write(tmp_path)
    before = rays()
    driver = start(tmp_path)
    wait_for_cells(tmp_path, 3, driver)
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait(180) == 130, (tmp_path / "output.txt").read_text()
    output = (tmp_path / "output.txt").read_text()
    assert "resume with: suite run trial.yaml" in output
    assert "Traceback" not in output
    assert ray_is_gone(before)
    assert 3 <= len(finished(tmp_path)) < CELLS
    assert sum(line["status"] == "done" for line in rows_of(tmp_path)) > 0


def test_ctrl_c_between_two_rounds_stops_too(tmp_path: Path) -> None:
    """The moment the base is done no round is running; the next one must not start all the same."""
    write(tmp_path)
    driver = start(tmp_path)
    wait_for_cells(tmp_path, 1, driver)
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait(180) == 130, (tmp_path / "output.txt").read_text()
    assert len(finished(tmp_path)) < CELLS
    assert "Traceback" not in (tmp_path / "output.txt").read_text()


def test_ray_listens_on_loopback_only(tmp_path: Path) -> None:
    """No socket of the driver or of anything it started accepts connections from elsewhere."""
    write(tmp_path)
    driver = start(tmp_path)
    try:
        wait_for_cells(tmp_path, 1, driver)
        found = listening(driver.pid)
    finally:
        driver.kill()
        driver.wait()
    assert len(found) > 3
    assert {address for address, _ in found} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_a_ray_address_where_nobody_answers_is_named(tmp_path: Path) -> None:
    """Within seconds, with code 2."""
    write(tmp_path)
    done = suite(tmp_path, "run", "trial.yaml", RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 2, done.stderr
    assert "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1" in done.stderr


def test_a_record_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
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


def test_workers_that_die_are_replaced_and_failing_cells_are_not_repeated(tmp_path: Path) -> None:
    """One method kills its process the first time, one raises; the run's record has its traceback."""
    write(tmp_path, methods=[strange(tmp_path, "SIGKILL"), strange(tmp_path, "raise"), "none"], seeds=[0], speed=None)
    done = suite(tmp_path, "run", "trial.yaml", **strangers(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    status = {row["row"]: row["status"] for row in rows_of(tmp_path)}
    assert status == {"base": "done", "SIGKILL": "done", "none": "done", "raise": "failed"}
    assert len((tmp_path / "SIGKILL").read_text()) > 2, "it began again after its death"
    assert (tmp_path / "raise").read_text() == "x", "it was tried once"
    failed = next(run for run in runs(tmp_path) if run.data.tags["row"] == "raise")
    assert failed.info.status == "FAILED"
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    traceback = Path(client.download_artifacts(failed.info.run_id, "traceback.txt", str(tmp_path))).read_text()
    assert "stumbled over a token" in traceback


def test_two_drivers_do_not_share_a_folder(tmp_path: Path) -> None:
    """The second run says so and ends with code 2."""
    write(tmp_path)
    driver = start(tmp_path)
    try:
        wait_for_cells(tmp_path, 1, driver)
        second = suite(tmp_path, "run", "trial.yaml")
    finally:
        driver.kill()
        driver.wait()
    assert second.returncode == 2
    assert "another run is at work" in second.stderr
