"""A training that is stopped at any update goes on to the same weights, losses and scores, to the bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbones import BACKBONES
from test_images import as_folders
from tiny_study import OURS, RUN, SUITE, here, repeatable, rows_of, write

from suite.data.dataset import DataSet, data_set
from suite.kinds.training import execute
from suite.reduction.model import ReducedModel, reduce
from suite.tasks import resume
from suite.tasks.resume import Saved
from suite.tasks.task import Epoch, Training, task

pytestmark = pytest.mark.usefixtures("own_cache")
SCENES = {"recipe": "digit-scenes", "canvas": 32, "train": 40, "validation": 20}
PLAIN = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3, "warmup_epochs": 1, "clip_gradient": 1.0}
FULL = {"accumulate": 2, "ema": 0.9, "mixup": 0.8, "cutmix": 1.0, "layer_decay": 0.75, "curriculum": "linear"}
AUGMENTED = {"auto_augment": "rand-m9-mstd0.5-inc1", "random_erasing": 0.5}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {  # task, method, additions to the recipe
    "random": ("classification", {"name": "random"}, {}),
    "cropr with everything": ("classification", {"name": "cropr"}, FULL),
    "teacher": ("classification", {"name": "idlevit", "settings": {"distillation_weight": 1.0}}, {"ema": 0.5}),
    "images": ("classification", {"name": "evit"}, FULL | AUGMENTED),
    "segmentation": (
        "segmentation",
        {"name": "cropr", "settings": {"queries": 64}, "fusion": "last-layer"},
        {"curriculum": "linear"},
    ),
    "random segmentation": ("segmentation", {"name": "random", "fusion": "last-layer"}, {"drop_path": 0.2}),
}


class Stopped(BaseException):
    """What stops a training here."""


class Stopping(Saved):
    """Saves after every update, and stops the training after so many."""

    def __init__(self, folder: Path, after: int) -> None:
        super().__init__(folder, 0)
        self.left = after

    def save(self, state: resume.State, done: int) -> None:
        super().save(state, done)
        self.left -= 1
        if self.left == 0:
            raise Stopped


def data_of(name: str, folder: Path) -> DataSet:
    """Digit scenes, or images in folders that are augmented."""
    if name != "images":
        return data_set(SCENES)
    if not folder.is_dir():
        as_folders(folder)
    return data_set({"recipe": "images", "source": folder, "size": 32})


def run(name: str, data: DataSet, saved: Saved) -> tuple[list[Epoch], dict[str, torch.Tensor]]:
    """Train a case from its beginning, or from where it stood; epochs and weights."""
    goal, method, added = CASES[name]
    torch.manual_seed(0)
    backbone = BACKBONES["vit stochastic"](num_classes=task(goal).outputs(task(goal), data))
    model: ReducedModel = reduce(backbone, removed=(9, 8, 0, 0), **method)
    recipe = task(goal).recipe(**PLAIN | added)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    epochs = list(task(goal).train(model, Training(data, recipe, 0, saved=saved)))
    return epochs, model.state_dict()


def same(found: tuple[list[Epoch], Any], wanted: tuple[list[Epoch], Any]) -> bool:
    """Whether epochs and weights are equal to the bit."""
    return found[0] == wanted[0] and all(torch.equal(found[1][key], value) for key, value in wanted[1].items())


def stopped_twice(name: str, draw: random.Random, folder: Path) -> bool:
    """Whether a training that is stopped at two random updates ends as one that is not."""
    data = data_of(name, folder / "images")
    wanted = run(name, data, Saved(None, 0))
    updates = len(wanted[0]) * (2 if name == "images" else 5)
    first = draw.randrange(1, updates + 1)
    for after in (first, draw.randrange(1, updates - first + 2)):
        try:
            return same(run(name, data, Stopping(folder / "saved", after)), wanted)
        except Stopped:
            torch.rand(draw.randrange(100))
    return same(run(name, data, Saved(folder / "saved", 0)), wanted)


@pytest.mark.parametrize("name", CASES)
def test_a_stopped_training_ends_as_one_that_is_not(name: str, tmp_path: Path) -> None:
    """Whatever it draws, averages, adds up or learns from."""
    assert stopped_twice(name, draws(name), tmp_path)


@pytest.mark.parametrize("name", ["random", "random segmentation"])
def test_only_the_last_epoch_says_something_of_images(name: str, tmp_path: Path) -> None:
    """In the result, and in every state, which would grow with each epoch."""
    data, saved = data_of(name, tmp_path / "images"), Saved(tmp_path / "saved", 0)
    epochs, _ = run(name, data, saved)
    assert [bool(epoch.images) for epoch in epochs] == [False, False, True]
    state = Saved(tmp_path / "saved", 0).load()
    found = state["place"]["epochs"]
    assert [bool(epoch.images) for epoch in found] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("name", CASES)
def test_wherever_it_is_stopped(name: str, number: int, tmp_path: Path) -> None:
    """At other updates."""
    assert stopped_twice(name, draws(f"{name} {number}"), tmp_path)


def draws(name: str) -> random.Random:
    """Draws that are the same every time."""
    return random.Random(name)  # noqa: S311


def spoiled(path: Path) -> None:
    """A bit is another."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [spoiled, lambda path: path.write_bytes(path.read_bytes()[:-9]), Path.touch])
def test_a_damaged_state_is_passed_over(
    spoil: Callable[[Path], Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With a word, for the one before; the end is the same. A whole one is taken without."""
    data = data_of("random", tmp_path)
    with pytest.raises(Stopped):
        run("random", data, Stopping(tmp_path / "saved", 4))
    states = sorted((tmp_path / "saved").iterdir())
    assert list(map(_updates, states)) == [3, 4]
    spoil(states[-1])
    begun = Saved(tmp_path / "saved", 60)
    assert same(run("random", data, begun), run("random", data, Saved(None, 0)))
    assert ("is cut off or damaged" in capfd.readouterr().err) == (spoil is not Path.touch)


def test_a_state_of_other_code_is_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training begins anew, and says why."""
    data = data_of("random", tmp_path)
    with pytest.raises(Stopped):
        run("random", data, Stopping(tmp_path / "saved", 4))
    monkeypatch.setattr(resume, "training_code", lambda: "other")
    assert Saved(tmp_path / "saved", 60).load() is None
    assert capfd.readouterr().err.count("is of other code; the training goes on from what is before it") == 2


def test_a_state_of_other_weights_is_passed_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Those of a base that was trained anew: the record would say that the row started from them."""
    Saved(tmp_path, 0, start="a" * 64).save({"known": 1}, 1)
    assert Saved(tmp_path, 0, start="b" * 64).load() is None
    assert "started from other weights" in capfd.readouterr().err
    assert Saved(tmp_path, 0, start="a" * 64).load() == {"known": 1}


class Gone:
    """What other code knows."""


def test_states_of_other_code_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not opened, may be further on, and do not push out those of the training that begins anew."""
    for done in (7, 8):
        Saved(tmp_path, 0).save({"known": Gone()}, done)
    monkeypatch.delattr(sys.modules[__name__], "Gone")
    monkeypatch.setattr(resume, "training_code", lambda: "other")
    begun = Saved(tmp_path, 0)
    assert begun.load() is None
    begun.save({"known": 1}, 1)
    assert Saved(tmp_path, 0).load() == {"known": 1}


def test_the_time_before_a_stop_counts(tmp_path: Path) -> None:
    """In the seconds that a cell took."""
    now = [5.0]
    for wanted in (0, 100, 200):
        saved = Saved(tmp_path, 0, lambda: now[0])
        saved.load()
        assert saved.spent == wanted
        now[0] += 100
        saved.save({}, int(now[0]))


def test_states_stay_until_the_record_has_the_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails behind the training does not cost it."""
    write(tmp_path, methods=["none"], seeds=[0], speed=None, checkpoint_minutes=0)
    with monkeypatch.context() as broken:
        broken.setattr(execute, "_add_costs", None)
        assert here(tmp_path, *RUN).returncode == 1
    unfinished = tmp_path / ".suite" / "unfinished"
    assert len(list(unfinished.glob("*/*.state"))) == 2, "of the row; the base is finished"
    assert here(tmp_path, *RUN).returncode == 0
    assert not list(unfinished.iterdir())


def test_states_are_saved_when_it_is_time(tmp_path: Path) -> None:
    """Not before so many minutes; never without a folder."""
    now = [0.0]
    saved = Saved(tmp_path, 15, lambda: now[0])
    now[0] = 899.0
    assert not saved.due()
    now[0] = 900.0
    assert saved.due()
    saved.save({}, 1)
    assert not saved.due()
    assert not Saved(None, 0, lambda: now[0]).due()


@pytest.mark.parametrize(
    ("goal", "kills"),
    [
        ("classification", 1),
        *(pytest.param(goal, 4, marks=pytest.mark.slow) for goal in ("classification", "segmentation")),
    ],
)
def test_killed_cells_go_on(goal: str, kills: int, tmp_path: Path) -> None:
    """From the command line, by SIGKILL wherever it happens to be; the record is that of a run without it."""
    finetune = {"epochs": 12, "learning_rate": 1e-3, "batch_size": 16}
    changes = {"task": goal, "methods": ["none"], "seeds": [0], "speed": None, "checkpoint_minutes": 0}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        folder.mkdir()
        write(folder, **changes, finetune=finetune)
    goes_on = [0]
    for _ in range(kills):
        process = subprocess.Popen([*SUITE, *RUN], cwd=killed, env=os.environ | OURS, stdout=-3, stderr=-3)
        unfinished = killed / ".suite" / "unfinished"
        while process.poll() is None and max(map(_updates, unfinished.rglob("*.state")), default=0) <= goes_on[-1]:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        goes_on.append(max(map(_updates, unfinished.rglob("*.state")), default=0))
    for folder in (killed, whole):
        subprocess.run([*SUITE, *RUN], cwd=folder, env=os.environ | OURS, check=True, capture_output=True)
    assert repeatable(rows_of(killed)) == repeatable(rows_of(whole))
    assert not list((killed / ".suite" / "unfinished").iterdir())


def _updates(path: Path) -> int:
    return int(path.stem.split("-")[0])
