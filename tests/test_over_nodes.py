"""Several processes on nodes of a Ray cluster: where they are, their result, and how they end."""

from __future__ import annotations

import csv
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_on_ray import start
from tiny_study import rows_of, strange, strangers, suite, write

from suite.run import on_ray
from suite.run.over_nodes import QUIET, bundles, without_room
from suite.study.cells import Cell

EIGHT = {"CPU": 64.0, "GPU": 8.0, QUIET: 1.0}
FINETUNE = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16}


def cell_of(device: str, processes: int, threads: int = 8) -> Cell:
    """One of so many processes."""
    return Cell({"threads": threads, "device": device, "recipe": {"processes": processes}}, "a", "b")


def test_processes_stay_on_one_node_that_has_room_for_all() -> None:
    """Else each has a bundle of its own, behind an empty one for what starts them."""
    together = {"CPU": 64, "GPU": 8, QUIET: 0.001}
    assert bundles(cell_of("cuda", 8), [{"CPU": 4.0}, EIGHT]) == [together]
    apart = {"CPU": 8, "GPU": 1, QUIET: 0.001}
    assert bundles(cell_of("cuda", 16), [EIGHT, EIGHT]) == [{}, *[apart] * 16]
    assert bundles(cell_of("cuda", 8, threads=9), [EIGHT, EIGHT]) == [{}, *[apart | {"CPU": 9}] * 8]
    assert bundles(cell_of("cpu", 16), [EIGHT, EIGHT]) == [{}, *[{"CPU": 8, QUIET: 0.001}] * 16]


@pytest.mark.parametrize(
    ("cell", "nodes", "room"),
    [
        (cell_of("cuda", 16), [EIGHT, EIGHT], None),
        (cell_of("cuda", 16), [EIGHT, EIGHT | {"GPU": 7.0}], 15),
        (cell_of("cuda", 1), [{"CPU": 64.0}], 0),
        (cell_of("cuda", 16), [EIGHT, EIGHT | {"CPU": 63.0}], 15),
        (cell_of("cpu", 1, threads=9), [{"CPU": 8.0}, {"CPU": 8.0}], 0),
    ],
)
def test_a_cluster_without_room_is_refused(cell: Cell, nodes: list[dict[str, float]], room: int | None) -> None:
    """With what is there; a process is on one node."""
    said = without_room([cell_of("cpu", 1, threads=1), cell], nodes)
    assert said == "" if room is None else f"have room for {room}: add nodes" in said


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of one processor each, with strange methods: two processes cannot be on one of them."""
    from ray.cluster_utils import Cluster

    options: dict[str, Any] = {"num_cpus": 1, "resources": {QUIET: 1}, "node_ip_address": "127.0.0.1"}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_TMPDIR", on_ray.SHORT)
        environment.setenv("PYTHONPATH", strangers(tmp_path_factory.mktemp("methods"))["PYTHONPATH"])
        found = Cluster(initialize_head=True, head_node_args=options | {"include_dashboard": False})
        found.add_node(**options)
        yield found
        found.shutdown()


def on_nodes() -> list[int]:
    """How many processes of a training are on each node of ours that has any."""
    alive = [one.info for one in psutil.process_iter(["pid", "ppid", "name", "cmdline"])]
    ours = {one["pid"] for one in alive if one["name"] == "raylet" and one["ppid"] == os.getpid()}
    of_trainings = [one["ppid"] for one in alive if "Member" in " ".join(one["cmdline"] or ())]
    return [of_trainings.count(node) for node in ours if node in of_trainings]


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it holds within so long."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def losses(folder: Path) -> dict[tuple[str, str], float]:
    """Of every row and epoch."""
    with (folder / "results/trial/curves.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "loss" and row["row"] != "base"]
    return {(row["row"], row["epoch"]): float(row["value"]) for row in rows}


@pytest.mark.slow
def test_two_nodes_are_one_process_and_one_that_fails_ends_both(cluster: Any, tmp_path: Path) -> None:
    """The losses are those of one process with two parts; a row whose second process raises or dies says so at once."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    good = ["random", "cropr"]
    write(one, methods=good, seeds=[0], speed=None, finetune=FINETUNE | {"accumulate": 2})
    assert suite(one, "run", "trial.yaml", "--in-process").returncode == 0
    bad = [strange(two, "second raises"), strange(two, "second dies")]
    write(two, methods=[*bad, *good], seeds=[0], speed=None, keep="last", finetune=FINETUNE | {"processes": 2})
    done = suite(two, "run", "trial.yaml", RAY_ADDRESS=cluster.address)
    assert done.returncode == 1, done.stdout + done.stderr
    reasons = {row["row"]: row["reason"].splitlines()[-1] for row in rows_of(two) if row["status"] == "failed"}
    assert reasons["second raises"].endswith("RuntimeError: stumbled over a token")
    assert reasons["second dies"].endswith("process 2 of 2 of this training died (out of memory, or killed)")
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    assert len(losses(two)) == 4
    assert len(list((two / ".suite/kept").iterdir())) == 2
    assert wait_for(lambda: not on_nodes(), 60)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_what_ends_the_run_ends_processes_on_all_nodes(cluster: Any, tmp_path: Path, ending: signal.Signals) -> None:
    """One is on each node while they train; the cluster stays and has none of them afterwards."""
    method = strange(tmp_path, "wait late")
    write(tmp_path, methods=[method], seeds=[0], speed=None, finetune=FINETUNE | {"processes": 2})
    driver = start(tmp_path, RAY_ADDRESS=cluster.address)
    try:
        diary = tmp_path / "wait late"
        assert wait_for(lambda: diary.exists() and len(diary.read_text()) >= 20, 600)
        assert on_nodes() == [1, 1]
    finally:
        os.killpg(driver.pid, ending)
        code = driver.wait(180)
    assert wait_for(lambda: not on_nodes(), 120)
    assert code == (130 if ending == signal.SIGINT else -signal.SIGKILL), (tmp_path / "output.txt").read_text()
