"""The whole job through the real command line, real Ray and real MLflow, on a tiny study."""

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import psutil
import pytest
import yaml

SUITE = [sys.executable, "-c", "from suite.cli.app import main; main()"]
STUDY: dict[str, Any] = {
    "question": "Does the machinery work?",
    "task": "classification",
    "data": {"recipe": "digit-scenes", "canvas": 16, "digit_size": [8, 12], "train": 96, "validation": 40},
    "backbone": {
        "name": "vit_tiny_patch16_224",
        "options": {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 4, "num_heads": 2, "mlp_ratio": 2},
    },
    "base": {"recipe": {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16, "threads": 2}},
    "finetune": {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16},
    "schedules": [{"removed": [4, 4, 0, 0]}],
    "methods": ["none", "random", "tome", "cropr", {"method": "cropr", "fusion": "last-layer"}],
    "seeds": [0, 1],
    "speed": {"batch_size": 8, "rounds": 5},
}
CELLS = 1 + 5 * 2 + 5
OURS = {"CROPR_SUITE_TESTS": uuid.uuid4().hex}  # tells our Ray from anybody else's on this machine


def write(folder: Path, **changes: Any) -> None:
    """Write the tiny study, with changes, as `trial.yaml`."""
    (folder / "trial.yaml").write_text(yaml.safe_dump(STUDY | changes))


def suite(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    return subprocess.run(
        [*SUITE, *arguments],
        cwd=folder,
        env=os.environ | OURS | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


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


def finished(folder: Path) -> dict[str, float]:
    """Ids of the finished cells, with the time they were written."""
    return {path.stem: path.stat().st_mtime for path in (folder / ".suite" / "cells").glob("*.json")}


def wait_for_cells(folder: Path, count: int, running: subprocess.Popen[bytes]) -> None:
    """Wait until so many cells are finished."""
    deadline = time.monotonic() + 300
    while len(finished(folder)) < count:
        assert running.poll() is None, (folder / "output.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(folder: Path, kinds: str = "'base', 'accuracy', 'speed'") -> list[Any]:
    """All MLflow runs of the tiny study's cells, or those of other kinds."""
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("trial")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    return [run for run in found if f"'{run.data.tags['kind']}'" in kinds]


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
    """A folder in which the tiny study ran once."""
    folder = tmp_path_factory.mktemp("ran")
    write(folder)
    before = rays()
    done = suite(folder, "run", "trial.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ray_is_gone(before)
    return folder


def test_every_cell_is_recorded_and_shown(ran: Path) -> None:
    """One file per cell, a tidy record, a table with a line per row, a picture, provenance."""
    results = ran / "results" / "trial"
    assert len(finished(ran)) == CELLS
    with (results / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {"done"}
    assert {row["cell_id"] for row in rows} == set(finished(ran))
    table = (results / "table.md").read_text()
    for name in ("none", "random", "tome", "cropr", "cropr + last-layer"):
        assert f"| {name}" in table
    assert (results / "pareto.png").read_bytes().startswith(b"\x89PNG")
    origin = json.loads((results / "provenance.json").read_text())["runs"][0]
    assert origin["device"] == origin["processor"], "workers here run on the driver's machine"
    assert origin["versions"]["torch"]
    assert "suite" in origin["command"] or "-c" in origin["command"]
    assert sorted(
        cell for run in json.loads((results / "provenance.json").read_text())["runs"] for cell in run["cells"]
    ) == sorted(finished(ran))


def test_measured_tokens_are_those_of_the_schedule(ran: Path) -> None:
    """16 patches and a class token: 17, 13, 9, 9 after the blocks; all are back before the last with fusion."""
    with (ran / "results/trial/cells.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "tokens_leaving" and row["seed"] == "0"]
    leaving: dict[str, list[int]] = {}
    for row in sorted(rows, key=lambda row: row["repetition"]):
        leaving.setdefault(row["row"], []).append(int(row["value"]))
    assert leaving["none"] == [17, 17, 17, 17]
    assert leaving["random"] == leaving["tome"] == leaving["cropr"] == [13, 9, 9, 9]
    assert leaving["cropr + last-layer"] == [13, 9, 9, 17]


def test_mlflow_has_a_run_per_cell(ran: Path) -> None:
    """With the tags, parameters, curves, finals and the token ledger that a comparison needs."""
    found = runs(ran)
    assert len(found) == CELLS
    assert {run.data.tags["cell_id"] for run in found} == set(finished(ran))
    assert {run.info.status for run in found} == {"FINISHED"}
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{ran / 'mlflow.db'}")
    tome = next(run for run in found if run.data.tags["row"] == "tome" and run.data.tags["kind"] == "accuracy")
    for tag in ("cell_id", "study", "method", "seed", "task", "git_commit", "protocol"):
        assert tag in tome.data.tags
    assert tome.data.params["method"] == "tome"
    row, study = (client.get_run(run_id) for run_id in _ancestors(client, tome))
    assert row.info.run_name == "tome"
    assert row.data.params == {name: value for name, value in tome.data.params.items() if name != "seed"}
    scores = [
        run.data.metrics["acc1_last"] for run in found if run.data.tags["row"] == "tome" and "seed" in run.data.params
    ]
    assert row.data.metrics["acc1_last/median"] == pytest.approx(sum(scores) / 2, rel=1e-4)
    assert study.data.params["recipe/epochs"] == "2"
    assert {"table.md", "pareto.png", "cells.csv"} <= {file.path for file in client.list_artifacts(study.info.run_id)}
    assert {run.info.status for run in runs(ran, "'study', 'row'")} == {"FINISHED"}
    assert tome.data.params["settings/proportional_attention"] == "True"
    assert {"acc1_last", "acc1_best", "macs_full"} <= tome.data.metrics.keys()
    curve = client.get_metric_history(tome.info.run_id, "epoch/acc1")
    assert [point.step for point in curve] == [0, 1]
    assert curve[-1].value == tome.data.metrics["acc1_last"]
    ledger = client.get_metric_history(tome.info.run_id, "block/tokens_leaving")
    assert [point.value for point in sorted(ledger, key=lambda point: point.step)] == [13, 9, 9, 9]


def _content(store: Path) -> list[str]:
    with sqlite3.connect(store) as connection:
        return list(connection.iterdump())


def _ancestors(client: mlflow.MlflowClient, run: Any) -> list[str]:
    """Ids of the run's parent and of that one's parent."""
    parent = run.data.tags["mlflow.parentRunId"]
    return [parent, client.get_run(parent).data.tags["mlflow.parentRunId"]]


def test_a_second_call_runs_nothing(ran: Path) -> None:
    """It rebuilds the table, to the byte, from what is there, without starting Ray."""
    before, table = finished(ran), (ran / "results/trial/table.md").read_bytes()
    record = (ran / "results/trial/cells.csv").read_bytes()
    (ran / "results/trial/table.md").unlink()
    store = _content(ran / "mlflow.db")
    done = suite(ran, "run", "trial.yaml", RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert f"{CELLS} finished, 0 to run" in done.stdout
    assert _content(ran / "mlflow.db") == store, "MLflow has all of it already"
    assert finished(ran) == before
    assert (ran / "results/trial/table.md").read_bytes() == table
    assert (ran / "results/trial/cells.csv").read_bytes() == record
    assert len(runs(ran)) == CELLS


def test_committed_results_never_count_as_done(ran: Path, tmp_path: Path) -> None:
    """Without .suite/ the plan says that everything is to run."""
    write(tmp_path)
    subprocess.run(["cp", "-r", ran / "results", tmp_path], check=True)
    done = suite(tmp_path, "plan", "trial.yaml")
    assert done.stdout.count("to run") == CELLS
    assert suite(ran, "plan", "trial.yaml").stdout.count("to run") == 0


def test_a_lost_mlflow_store_is_rebuilt(ran: Path, tmp_path: Path) -> None:
    """MLflow is derived from the record: a new store gets every cell, and MLFLOW_TRACKING_URI says which."""
    done = suite(ran, "run", "trial.yaml", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert done.returncode == 0, done.stderr
    assert len(runs(tmp_path)) == CELLS


def test_alone_or_beside_others_a_cell_gives_the_same_bits(ran: Path) -> None:
    """The same cells in a fresh process, one after another in reverse order, end in the same numbers."""
    program = f"""
import json, sys
from pathlib import Path
from suite.kinds.training.execute import run_cell
from suite.study.cells import Job
home = Path({str(ran)!r}) / ".suite"
entries = [json.loads(path.read_text()) for path in sorted((home / "cells").glob("*.json"), reverse=True)]
for entry in [entry for entry in entries if entry["identity"]["kind"] != "speed"]:
    identity = entry["identity"]
    start = (home / "weights" / (identity["start"] + ".pt")).read_bytes() if "start" in identity else None
    again = run_cell(Job(identity, start))
    assert again["metrics"] == entry["metrics"], (identity, again["metrics"], entry["metrics"])
    assert again["curves"] == entry["curves"], identity
    print("same")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("same") == CELLS - 5


def test_seeds_differ(ran: Path) -> None:
    """Another seed is another run: its training loss differs."""
    entries = [json.loads(path.read_text()) for path in (ran / ".suite/cells").glob("*.json")]
    losses = [tuple(entry["curves"]["loss"]) for entry in entries if "curves" in entry]
    assert len(set(losses)) == len(losses)


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
    assert sum(line["status"] == "done" for line in _rows(tmp_path)) > 0


def test_ctrl_c_between_two_rounds_stops_too(tmp_path: Path) -> None:
    """The moment the base is done no round is running; the next one must not start all the same."""
    write(tmp_path)
    driver = start(tmp_path)
    wait_for_cells(tmp_path, 1, driver)
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait(180) == 130, (tmp_path / "output.txt").read_text()
    assert len(finished(tmp_path)) < CELLS
    assert "Traceback" not in (tmp_path / "output.txt").read_text()


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results/trial/cells.csv").open() as file:
        return list(csv.DictReader(file))


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


@pytest.fixture
def strangers(tmp_path: Path) -> dict[str, str]:
    """Two methods of another package, found by entry points: one dies the first time, one raises."""
    package = tmp_path / "package"
    (package / "strangers-1.dist-info").mkdir(parents=True)
    (package / "strangers-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1\n")
    (package / "strangers-1.dist-info" / "entry_points.txt").write_text(
        "[cropr_suite.methods]\nmortal = strangers_mortal\nclumsy = strangers_clumsy\n"
    )
    method = """
from suite.reduction.settings import MethodSettings
from suite.reduction.method import Method
from pathlib import Path
import os, signal

class Settings(MethodSettings):
    reduces = "nothing"
    diary: str

class Stranger(Method):
    Settings = Settings

    def forward_block(self, block, tokens, layer):
        with Path(self.settings.diary).open("a") as diary:
            diary.write("x") if layer == 0 else None
        if ACT:
            ACTION
        return super().forward_block(block, tokens, layer)
"""
    mortal = method.replace("ACT:", "Path(self.settings.diary).read_text() == 'x':")
    (package / "strangers_mortal.py").write_text(mortal.replace("ACTION", "os.kill(os.getpid(), signal.SIGKILL)"))
    clumsy = method.replace("ACT:", "layer == 0:").replace("ACTION", "raise RuntimeError('stumbled over a token')")
    (package / "strangers_clumsy.py").write_text(clumsy)
    return {"PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])}


def test_crashed_workers_are_retried_and_failing_cells_are_not(tmp_path: Path, strangers: dict[str, str]) -> None:
    """A worker that dies is replaced; a cell that raises is tried once, stays visible, and spares the others."""
    methods = [
        {"method": "mortal", "settings": {"diary": str(tmp_path / "mortal")}},
        {"method": "clumsy", "settings": {"diary": str(tmp_path / "clumsy")}},
        "none",
    ]
    write(tmp_path, methods=methods, seeds=[0], speed=None)
    done = suite(tmp_path, "run", "trial.yaml", **strangers)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "RuntimeError: stumbled over a token" in done.stdout
    status = {row["row"]: row["status"] for row in _rows(tmp_path)}
    assert status == {"base": "done", "mortal": "done", "none": "done", "clumsy": "failed"}
    assert len((tmp_path / "mortal").read_text()) > 2, "it began again after its death"
    assert (tmp_path / "clumsy").read_text() == "x", "it was tried once"
    failed = next(run for run in runs(tmp_path) if run.data.tags["row"] == "clumsy")
    assert failed.info.status == "FAILED"
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    traceback = Path(client.download_artifacts(failed.info.run_id, "traceback.txt", str(tmp_path))).read_text()
    assert "stumbled over a token" in traceback
    assert (
        "left out of every number: RuntimeError: stumbled over a token"
        in (tmp_path / "results/trial/table.md").read_text()
    )
    again = suite(tmp_path, "run", "trial.yaml", **strangers)
    assert "3 finished, 1 to run" in again.stdout, "a failed cell is tried again on the next run"
    assert (tmp_path / "clumsy").read_text() == "xx"


def test_a_diverging_cell_fails_with_a_sentence(tmp_path: Path) -> None:
    """A learning rate far too high: the reason says what happened and what to try."""
    recipe = STUDY["finetune"] | {"learning_rate": 1e30}
    write(tmp_path, methods=["none"], seeds=[0], finetune=recipe, speed=None)
    done = suite(tmp_path, "run", "trial.yaml")
    assert done.returncode == 1
    assert "TrainingFailed: " in done.stdout
    assert "lower learning_rate" in done.stdout
    assert "| 0/1, 1 diverged |" in " ".join((tmp_path / "results/trial/table.md").read_text().split())


def test_a_diverging_base_stops_what_starts_from_it(tmp_path: Path) -> None:
    """Exit code 1 and the reason, not a complaint about a missing table; speed does not need the base."""
    write(tmp_path, methods=["none"], seeds=[0], base={"recipe": STUDY["base"]["recipe"] | {"learning_rate": 1e30}})
    done = suite(tmp_path, "run", "trial.yaml")
    assert done.returncode == 1, done.stdout + done.stderr
    assert (
        "1 cells failed and 1 were not run, 1 are finished and kept; resume with: suite run trial.yaml" in done.stderr
    )


def test_a_ray_address_where_nobody_answers_is_named(tmp_path: Path) -> None:
    """Within seconds, with code 2."""
    write(tmp_path)
    done = suite(tmp_path, "run", "trial.yaml", RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 2, done.stderr
    assert "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1" in done.stderr


def test_results_that_cannot_be_written_are_named(ran: Path, tmp_path: Path) -> None:
    """What is finished stays finished; the message names the file."""
    subprocess.run(["cp", "-r", f"{ran}/.", tmp_path], check=True)
    shutil.rmtree(tmp_path / "results")
    (tmp_path / "results").write_text("a file where a folder should be")
    done = suite(tmp_path, "run", "trial.yaml")
    assert done.returncode == 2, done.stderr
    assert "error: cannot use results/trial" in done.stderr
    assert len(finished(tmp_path)) == CELLS


def test_a_row_that_changed_is_one_run_still(ran: Path, tmp_path: Path) -> None:
    """Renaming a row or replacing a record rewrites its run instead of adding one."""
    subprocess.run(["cp", "-r", f"{ran}/.", tmp_path], check=True)
    write(tmp_path, methods=["none", {"method": "random", "name": "dice"}, *STUDY["methods"][2:]])
    done = suite(tmp_path, "run", "trial.yaml", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert done.returncode == 0, done.stderr
    assert "0 to run" in done.stdout
    found = runs(tmp_path)
    assert len(found) == CELLS
    assert {run.data.tags["row"] for run in found} == {"base", "none", "dice", "tome", "cropr", "cropr + last-layer"}


def test_a_method_that_lacks_what_it_needs_is_skipped(tmp_path: Path) -> None:
    """EViT on a backbone without class token: recorded as skipped, with the reason, and not tried again."""
    options = STUDY["backbone"]["options"] | {"class_token": False, "global_pool": "avg"}
    backbone = STUDY["backbone"] | {"options": options}
    write(tmp_path, methods=["none", "evit"], seeds=[0], backbone=backbone)
    done = suite(tmp_path, "run", "trial.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [row for row in _rows(tmp_path) if row["status"] == "skipped"]
    assert {row["row"] for row in skipped} == {"evit"}
    assert skipped[0]["reason"] == "EViT needs a class token and the backbone has none"
    assert "0 to run" in suite(tmp_path, "run", "trial.yaml").stdout


def test_a_record_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    """One sentence and code 2, no traceback, and no Ray left behind."""
    write(tmp_path)
    (tmp_path / ".suite").mkdir()
    (tmp_path / ".suite/cells").write_text("a file where a folder should be")
    before = rays()
    done = suite(tmp_path, "run", "trial.yaml")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: cannot write .suite/cells/")
    assert "Traceback" not in done.stderr
    assert ray_is_gone(before)


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
