"""Weights that a study keeps: found by row and seed, loaded with all that belongs to them, scored as in the study."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from test_images import as_folders
from tiny_study import here, rows_of, write

import suite as public
from suite.errors import UserError
from suite.kinds.training import execute
from suite.tasks.classification import train
from suite.tasks.classification.recipe import ClassificationRecipe

pytestmark = pytest.mark.usefixtures("own_cache")
IMAGES = {"recipe": "images", "source": "data", "size": 16}
BASE = {"recipe": {"epochs": 1, "learning_rate": 1e-3, "batch_size": 4}}
FINETUNE = {"epochs": 3, "learning_rate": 1e-3, "batch_size": 4, "ema": 0.5}
METHODS = ["none", {"method": "cropr", "fusion": "last-layer", "name": "ours"}]


def ran(folder: Path, **changes: object) -> None:
    """A study of images that keeps weights."""
    as_folders(folder / "data")
    study = {"data": IMAGES, "base": BASE, "finetune": FINETUNE, "methods": METHODS, "seeds": [0, 1], "speed": None}
    write(folder, **study | {"keep": "last"} | changes)
    done = here(folder, "run", "trial.yaml", "--in-process")
    assert done.returncode == 0, done.stderr


def kept(folder: Path, *words: str) -> Path:
    """What `suite weights` prints."""
    done = here(folder, "weights", "trial.yaml", *words)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.strip()


def said(path: Path) -> dict[str, Any]:
    """What stands in a file of weights besides these."""
    with safe_open(path, "pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()["cropr_suite"])
    return found


def accuracy(folder: Path, row: str, seed: str, metric: str = "acc1_last") -> float:
    """What the record says."""
    found = [one for one in rows_of(folder) if (one["row"], one["seed"], one["metric"]) == (row, seed, metric)]
    return float(found[0]["value"])


def test_kept_weights_are_those_that_were_scored(tmp_path: Path) -> None:
    """Evaluated from the command line they have the accuracy of the record, tokens included; the API loads them."""
    ran(tmp_path)
    for row in ("none", "ours"):
        path = kept(tmp_path, row, "1")
        done = here(tmp_path, "evaluate", "--checkpoint", str(path), "--data", "data")
        assert done.returncode == 0, done.stderr
        assert f"{accuracy(tmp_path, row, '1'):.2f} %" in done.stdout
        assert "layout trained" in done.stdout
    model = public.load(path)
    assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 3)
    assert model.deployed
    assert said(path)["classes"] == ["cat", "dog", "owl"]
    assert said(path)["removed"] == [4, 4, 0, 0]
    assert said(path)["epoch"] == FINETUNE["epochs"]


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    """A folder with some of the classes is scored by their numbers in training; one with others is refused."""
    ran(tmp_path, methods=["none"], seeds=[0])
    path = kept(tmp_path, "none", "0")
    model, whole = public.load(path), tmp_path / "data/val"
    right = {"cat": 0.0, "dog": 0.0, "owl": 0.0}
    for name in right:
        shutil.copytree(whole / name, tmp_path / "only" / name / name)
        with pytest.warns(UserWarning, match="2 classes have no image"):
            right[name] = public.evaluate(model, tmp_path / "only" / name, crop=1.0).top1
    assert sum(right.values()) / 3 == pytest.approx(public.evaluate(model, whole, crop=1.0).top1)
    assert max(right.values()) > 0
    (tmp_path / "data/val/owl").rename(tmp_path / "data/val/ant")
    done = here(tmp_path, "evaluate", "--checkpoint", str(path), "--data", "data")
    assert done.returncode == 2
    assert "classes does not name the folders ant" in done.stderr


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    """Whether or not it is the last; which one it is stands in the file, and evaluation says it."""
    ran(tmp_path, keep="best", methods=["none"], seeds=[0])
    path = kept(tmp_path, "none", "0")
    done = here(tmp_path, "evaluate", "--checkpoint", str(path), "--data", "data")
    assert f"{accuracy(tmp_path, 'none', '0', 'acc1_best'):.2f} %" in done.stdout
    with (tmp_path / "results/trial/curves.csv").open() as file:
        lines = [one for one in csv.DictReader(file) if (one["metric"], one["kind"]) == ("acc1", "accuracy")]
    best = max(lines, key=lambda line: (float(line["value"]), int(line["epoch"])))  # the later of two
    assert said(path)["epoch"] == int(best["epoch"]) + 1 - int(lines[0]["epoch"])
    assert f"epoch                {said(path)['epoch']} " in done.stdout


def test_a_method_by_file_is_loaded_while_its_code_is_there(tmp_path: Path) -> None:
    """From another folder too; comments do not count; other code, or none, is named."""
    mine = tmp_path / "mine.py"
    shutil.copy(Path(__file__).parent / "example_package" / "mine.py", mine)
    ran(tmp_path, methods=["none", {"name": "mine", "method": "./mine.py"}], seeds=[0])
    path, code = kept(tmp_path, "mine", "0"), mine.read_text()
    assert said(path)["file"] == "../../mine.py"
    done = here(tmp_path, "evaluate", "--checkpoint", str(path), "--data", "data")
    assert f"{accuracy(tmp_path, 'mine', '0'):.2f} %" in done.stdout, done.stderr
    mine.write_text(f"# mine\n{code}")
    assert public.load(path).method.counts == (4, 4, 0, 0)
    for other in (code.replace("norm(dim=-1)", "sum(-1)"), "def"):
        mine.write_text(other)
        with pytest.raises(UserError, match=r"trained with the method in .*mine.py, whose code is another now"):
            public.load(path)
    mine.unlink()
    with pytest.raises(UserError, match=r"trained with the method in .*mine.py, which is not there"):
        public.load(path)


def test_the_best_epoch_of_a_stopped_training_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was scored before the stop counts."""
    right = [0, 0, 1, 1, 2, 2]
    scores = iter([right, right, None, right[::-1], right[::-1]])  # of the base, then of epochs

    def predicted(*_arguments: object) -> object:
        if (found := next(scores)) is None:
            raise KeyboardInterrupt
        return np.array(found)

    monkeypatch.setattr(train, "predicted", predicted)
    study = {"data": IMAGES, "base": BASE, "methods": ["none"], "seeds": [0], "speed": None, "keep": "best"}
    write(tmp_path, **study, finetune=FINETUNE, checkpoint_minutes=0)
    as_folders(tmp_path / "data")
    assert here(tmp_path, "run", "trial.yaml", "--in-process").returncode == 130
    best = kept(tmp_path, "none", "0").read_bytes()
    assert here(tmp_path, "run", "trial.yaml", "--in-process").returncode == 0
    assert accuracy(tmp_path, "none", "0", "acc1_best") == 100
    assert kept(tmp_path, "none", "0").read_bytes() == best
    assert said(kept(tmp_path, "none", "0"))["epoch"] == 1


def test_the_best_epoch_has_the_whole_schedule() -> None:
    """An epoch in which a curriculum removes less is not kept, however good it is."""
    recipe = ClassificationRecipe(epochs=5, learning_rate=1, curriculum="linear")
    scores = [9.0, 8.0, 5.0, 7.0, 6.0]
    found = [execute._is_kept("best", scores[:count], recipe) for count in range(1, 6)]
    assert found == [False, False, True, True, False]


def test_segmentation_is_kept_too(tmp_path: Path) -> None:
    """The model that is loaded gives a label for each pixel."""
    write(tmp_path, task="segmentation", keep="last", methods=["none"], seeds=[0], speed=None)
    assert here(tmp_path, "run", "trial.yaml", "--in-process").returncode == 0
    assert public.load(kept(tmp_path, "none", "0"))(torch.zeros(2, 3, 16, 16)).shape == (2, 11, 16, 16)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nome", "0"), "unknown row 'nome'; did you mean tome or none"),
        (("none", "7"), "unknown seed '7'"),
        (("none", "0", "--schedule", "x"), "unknown schedule 'x'"),
        (("none", "0"), "were not kept: .* say `keep: last` or `keep: best`"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    """A row, a seed, a schedule, or weights that were not kept."""
    write(tmp_path)
    done = here(tmp_path, "weights", "trial.yaml", *words)
    assert done.returncode == 2
    with pytest.raises(UserError, match=message):
        raise UserError(" ".join(done.stderr.split()))
