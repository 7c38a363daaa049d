"""Two processes train as one that computes the same parts: gradients, predictions, whole studies."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbones import BACKBONES
from test_images import as_folders
from tiny_study import here, suite, write

from suite.data.dataset import data_set
from suite.reduction.model import reduce
from suite.run import several
from suite.study.cells import Job, Result
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
    torch.manual_seed(torch.distributed.get_rank() if torch.distributed.is_initialized() else 7)
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


@pytest.mark.parametrize("method", ["cropr", "random"])
@pytest.mark.parametrize("images", [False, True])
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


def waiting(_job: Job) -> Result:
    """Never ends."""
    time.sleep(600)
    return {}


def test_what_fails_in_one_process_ends_all(tmp_path: Path) -> None:
    """With its own reason, not that of those who waited for it."""
    with pytest.raises(Exception, match=r"TrainingFailed: the loss became nan\n*$"):
        several.run(failing, Job({}, None, lambda _: time.sleep(1)), 2, "cpu")
    assert not multiprocessing.active_children()


def test_an_interrupt_of_this_process_alone_ends_all() -> None:
    """As from a supervisor: nothing is left behind that trains on."""
    threading.Timer(3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        several.run(waiting, Job({}, None), 2, "cpu")
    assert not multiprocessing.active_children()


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
