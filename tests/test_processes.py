"""Two processes train as one that computes the same parts: gradients, predictions, whole studies."""

from __future__ import annotations

import csv
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbones import BACKBONES
from test_images import as_folders
from tiny_study import OURS, RUN, SUITE, here, repeatable, rows_of, strange, strangers, suite, write
from torch.testing._internal.distributed.fake_pg import FakeStore

from suite import api as public
from suite.data.dataset import data_set
from suite.kinds.training import execute
from suite.kinds.training.cells import expand
from suite.reduction.model import reduce
from suite.run import several
from suite.study.cells import How, Job, Result, id_of
from suite.study.load import load
from suite.study.store import kept_file
from suite.tasks import processes
from suite.tasks.classification.recipe import ClassificationRecipe
from suite.tasks.classification.train import _Run, predicted
from suite.tasks.loop import TrainingFailed
from suite.tasks.task import Training

RECIPE = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "mixup": 0.8, "cutmix": 1.0}
AUGMENTED = {"auto_augment": "rand-m9-mstd0.5-inc1", "random_erasing": 0.5}


def first_update(job: Job) -> Result:
    """Gradients of the first update, loss, and predictions of an odd number of images, of a job made by `job_of`."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = data_set(job.identity["data"])
    backbone = BACKBONES["vit stochastic"](num_classes=data.targets["labels"])
    model = reduce(backbone, job.identity["method"], removed=(9, 8, 0, 0))
    recipe = ClassificationRecipe.model_validate(job.identity["recipe"])
    before = predicted(model, data, recipe)
    torch.manual_seed(processes.rank() if processes.count() > 1 else 7)
    run = _Run(model.train(), Training(data, recipe, 0))
    run._update(*next(iter(run.batches.epoch(0))))
    gradients = {name: x.grad.numpy() for name, x in model.named_parameters() if x.grad is not None}
    return {"gradients": gradients, "predicted": before, "loss": run.total / run.seen}


def job_of(tmp_path: Path, images: bool, method: str, processes: int) -> Job:
    """Of two parts a batch, by one process or two; 21 digit scenes or 5 images to predict."""
    recipe, data = RECIPE, dict[str, Any](recipe="digit-scenes", canvas=32, train=40, validation=21)
    if images:
        recipe, data = RECIPE | AUGMENTED, {"recipe": "images", "source": str(tmp_path), "size": 32}
        as_folders(tmp_path)
        (tmp_path / "val/owl/1.png").unlink()
    shared = {"processes": processes, "accumulate": 2 // processes}
    return Job({"data": data, "method": method, "recipe": recipe | shared}, None)


@pytest.mark.parametrize("method", ["cropr", pytest.param("random", marks=pytest.mark.slow)])
@pytest.mark.parametrize("images", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_processes_are_two_parts_of_one(tmp_path: Path, images: bool, method: str) -> None:
    """Augmentation, mixing, drop path and random tokens included; every example is predicted once, in its place."""
    alone = first_update(job_of(tmp_path, images, method, 1))
    both = several.run(first_update, job_of(tmp_path, images, method, 2), 2, "cpu")
    assert both["predicted"].tolist() == alone["predicted"].tolist()
    assert len(both["predicted"]) == (5 if images else 21)
    assert both["loss"] == pytest.approx(alone["loss"], rel=1e-6)
    assert both["gradients"].keys() == alone["gradients"].keys()
    for name, gradient in alone["gradients"].items():
        np.testing.assert_allclose(both["gradients"][name], gradient, atol=1e-6, err_msg=name)


def failing(job: Job) -> Result:
    """Fails in the second process, while the first waits for it; this one looks away meanwhile."""
    job.progress(1)
    if torch.distributed.get_rank() == 1:
        raise TrainingFailed("the loss became nan")
    torch.distributed.barrier()
    return {}


def waiting(job: Job) -> Result:
    """Ends long after the interrupt, if nobody ends it, and then says so."""
    job.progress(1)
    time.sleep(20)
    Path(job.places["scratch"], "ended by itself").touch()
    return {}


@pytest.mark.slow
def test_what_fails_in_one_process_ends_all(tmp_path: Path) -> None:
    """With its own reason, not that of those who waited for it."""
    with pytest.raises(Exception, match=r"TrainingFailed: the loss became nan\n*$"):
        several.run(failing, Job({}, None, lambda _: time.sleep(1)), 2, "cpu")
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_an_interrupt_of_this_process_alone_ends_all(tmp_path: Path) -> None:
    """As from a supervisor: nothing is left behind that trains on, and nothing is waited for."""
    job = Job({}, None, lambda _: os.kill(os.getpid(), signal.SIGINT), {"scratch": str(tmp_path)})
    with pytest.raises(KeyboardInterrupt):
        several.run(waiting, job, 2, "cpu")
    assert not multiprocessing.active_children()
    assert not list(tmp_path.iterdir())


def test_a_process_group_of_somebody_else_is_none_of_ours(tmp_path: Path) -> None:
    """In the second of two processes of his, a training computes whole batches and predicts every image."""
    alone = first_update(job_of(tmp_path, False, "cropr", 1))
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
    try:
        assert (processes.rank(), processes.count()) == (0, 1)
        found = first_update(job_of(tmp_path, False, "cropr", 1))
    finally:
        torch.distributed.destroy_process_group()
    assert found["predicted"].tolist() == alone["predicted"].tolist()
    for name, gradient in alone["gradients"].items():
        np.testing.assert_array_equal(found["gradients"][name], gradient, err_msg=name)


def keeping(job: Job) -> Result:
    """A cell, and how often weights were kept: by this process, and by all."""
    kept = []
    keep = execute.keep
    execute.keep = lambda *arguments: kept.append(keep(*arguments))
    try:
        result = execute.run_cell(job)
    finally:
        execute.keep = keep
    return result | {"kept": (len(kept), processes.total(len(kept)))}


def row_of(folder: Path, **finetune: Any) -> Job:
    """The one row of a tiny study, from weights of the seed, that keeps the best epoch of averaged weights."""
    recipe = {"epochs": 3, "learning_rate": 1e-3, "batch_size": 16, "ema": 0.5} | finetune
    write(folder, methods=["cropr"], seeds=[0], speed=None, finetune=recipe)
    cell = next(cell for cell in expand(load(str(folder / "trial.yaml")).study) if cell.kind == "accuracy")
    return Job(cell.identity, None, places={"scratch": str(folder / ".suite/scratch")}, how=How(keep="best"))


@pytest.mark.slow
def test_averaged_and_best_weights_of_two_processes(tmp_path: Path) -> None:
    """Those of one with two parts; the first process alone writes them, once for each epoch that is the best so far."""
    found = {}
    for name, finetune in {"one": {"accumulate": 2}, "two": {"processes": 2}}.items():
        (tmp_path / name).mkdir()
        job = row_of(tmp_path / name, **finetune)
        result = several.run(keeping, job, 2, "cpu") if name == "two" else keeping(job)
        scores = result["curves"]["acc1"]
        best = [score for number, score in enumerate(scores) if score == max(scores[: number + 1])]
        assert result["kept"] == (len(best), len(best))
        model = public.load(kept_file(tmp_path / name / ".suite", id_of(job.identity)))
        data, recipe = data_set(job.identity["data"]["recipe"]), ClassificationRecipe(epochs=1, learning_rate=1)
        right = predicted(model, data, recipe) == data.open("validation").targets["labels"]
        assert 100 * right.mean() == pytest.approx(result["metrics"]["acc1_best"])
        found[name] = result["curves"]["loss"], model.state_dict()
    assert found["two"][0] == pytest.approx(found["one"][0], rel=1e-3)
    for name, weight in found["one"][1].items():
        torch.testing.assert_close(found["two"][1][name], weight, atol=1e-3, rtol=1e-3, msg=name)


@pytest.mark.slow
def test_killed_processes_go_on(tmp_path: Path) -> None:
    """All of them, by SIGKILL while they train together: to the record and weights of a run that was not stopped."""
    method, over = strange(tmp_path, "wait late"), tmp_path / "wait late.over"
    finetune = {"epochs": 4, "learning_rate": 1e-3, "batch_size": 16, "processes": 2}
    changes = {"methods": [method], "seeds": [0], "speed": None, "checkpoint_minutes": 0, "keep": "last"}
    write(tmp_path, **changes, finetune=finetune)
    environment = os.environ | OURS | strangers(tmp_path)
    running = subprocess.Popen(
        [*SUITE, *RUN], cwd=tmp_path, env=environment, stdout=-3, stderr=-3, start_new_session=True
    )
    diary = tmp_path / "wait late"
    while not (diary.exists() and len(diary.read_text()) >= 20):
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    over.touch()
    found = []
    for left in (1, 0):
        states = list((tmp_path / ".suite/unfinished").glob("*/*.state"))
        assert bool(states) == bool(left)
        subprocess.run([*SUITE, *RUN], cwd=tmp_path, env=environment, check=True, capture_output=True)
        (weights,) = (tmp_path / ".suite/kept").iterdir()
        found.append((repeatable(rows_of(tmp_path)), weights.read_bytes()))
        shutil.rmtree(tmp_path / ".suite")
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--in-process"], []])
def test_a_study_in_two_processes(tmp_path: Path, how: list[str]) -> None:
    """In this process or on Ray: the scores of one process with two parts, under ids of their own; weights are kept."""
    found = {}
    for name, added in {"one": {"accumulate": 2}, "two": {"processes": 2}}.items():
        finetune = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16} | added
        write(tmp_path, methods=["random", "cropr"], seeds=[0], speed=None, finetune=finetune, keep="last")
        (tmp_path / "trial.yaml").rename(tmp_path / f"{name}.yaml")
        done = suite(tmp_path, "run", f"{name}.yaml", *how)
        assert done.returncode == 0, done.stdout + done.stderr
        with (tmp_path / f"results/{name}/curves.csv").open() as file:
            found[name] = {
                (row["row"], row["epoch"]): float(row["value"])
                for row in csv.DictReader(file)
                if row["metric"] == "loss" and row["row"] != "base"
            }
        assert len(list((tmp_path / ".suite/kept").iterdir())) == (2 if name == "one" else 4)
    assert found["two"] == pytest.approx(found["one"], rel=1e-3)


def test_what_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    """A batch that does not divide, a pair that is torn, in the last batch too."""
    for changes, message in (
        ({"batch_size": 9, "processes": 2}, "processes times accumulate must divide the batch size 9, found 2"),
        (
            {"batch_size": 6, "processes": 2, "mixup": 0.8},
            "a batch of 6 images needs an even number in each part, and it has 2",
        ),
        ({"batch_size": 50, "accumulate": 5, "mixup": 0.8}, "a batch of 46 images needs"),
        ({"batch_size": 19, "accumulate": 19}, "a batch of 1 images has no 19 parts"),
        ({"processes": 0}, "finetune.processes: must be at least 1, found 0"),
    ):
        write(tmp_path, finetune={"epochs": 2, "learning_rate": 1e-3} | changes)
        done = here(tmp_path, "plan", "trial.yaml")
        assert done.returncode == 2, done.stdout
        assert message in " ".join((done.stdout + done.stderr).split())
