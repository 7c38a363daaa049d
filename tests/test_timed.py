"""What is timed before a study runs, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_study import write

from suite.data.dataset import data_set
from suite.errors import UserError
from suite.kinds.training import estimate, timed
from suite.kinds.training.cells import expand
from suite.kinds.training.estimate import alike
from suite.kinds.training.identity import Identity
from suite.kinds.training.timed import Timed, _held, _here, _in_time, _of, _paced, _time, _trained, _updates_of
from suite.kinds.training.timed_table import _table
from suite.study.cells import Cell
from suite.study.load import load
from suite.tasks.classification.loader import usual_workers
from suite.tasks.classification.recipe import ClassificationRecipe
from suite.tasks.segmentation.recipe import SegmentationRecipe


def test_why_a_row_is_not_compared_is_said() -> None:
    """With the ratio of updates without a warm-up, where those of both rows are such."""
    none = Timed("accuracy", "none", "", True, 1, "cpu", rate=10.0, updates=1, batch=2)
    tome, warm = replace(none, row="tome", unpruned=False, rate=15.0), replace(none, warm=True)
    base, evit = replace(none, kind="base", row="base", unpruned=False), replace(tome, row="evit", batch=4)
    said = [note.text for note in _table("trial", [base, none, tome, replace(tome, schedule="again"), evit]).notes[1:]]
    without = "Without a warm-up, because updates take too long here; those of a training may be faster: "
    otherwise = "Not compared to none, which was timed otherwise (images in an update, or warm-up): "
    ratio = "Images per second of such updates to none: tome 1.50x."
    assert said == [f"{without}base, none, tome, evit.", ratio, f"{otherwise}evit."]
    assert [note.text for note in _table("trial", [warm, tome]).notes[1:]] == [f"{without}tome.", f"{otherwise}tome."]
    assert not _table("trial", [warm, replace(tome, warm=True), replace(evit, rate=None, batch=0)]).notes[1:]


def test_only_what_is_alike_is_compared_with_the_unpruned_model() -> None:
    """Not batches of other sizes, and no first update."""
    none = Timed("accuracy", "none", "", True, 1, "cpu", rate=10.0, updates=8, batch=16, warm=True)
    tome = replace(none, row="tome", unpruned=False, rate=20.0)
    rows = [none, tome, replace(tome, batch=4), replace(tome, warm=False)]
    (block,) = _table("trial", rows).blocks
    assert [row.values["rate to none"] for row in block.rows] == [1, 2, None, None]
    (block,) = _table("trial", [replace(none, warm=False), tome]).blocks
    assert [row.values["rate to none"] for row in block.rows] == [None, None]


def first_cells(folder: Path, **changes: Any) -> dict[str, Cell]:
    """The first cell of each row of the tiny study, with changes."""
    write(folder, seeds=[0], speed=None, **changes)
    return {cell.row: cell for cell in expand(load(str(folder / "trial.yaml")).study)}


def test_hours_are_of_the_images_of_the_study(tmp_path: Path) -> None:
    """As many as its recipe takes, whatever the batches by which it was timed."""
    one = Timed("accuracy", "", "", False, 1, "cpu", rate=8.0, updates=1, batch=2)
    recipe = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-3}
    for more, images in (({}, 96), ({"images": 40}, 40)):
        found = _of(one, first_cells(tmp_path, finetune=recipe | more)["tome"], 5)
        assert found.hours is not None
        assert found.hours * 3600 == pytest.approx(3 * images / 8)
        assert (found.row, found.left) == ("tome", 5)


def test_only_lengths_share_updates(tmp_path: Path) -> None:
    """Rows do not, nor do a base and what starts from it."""
    write(tmp_path, lengths=[1, 4], speed=None)
    cells = expand(load(str(tmp_path / "trial.yaml")).study)
    rows = {(cell.kind, cell.row) for cell in cells}
    assert len({_updates_of(cell) for cell in cells}) == len(rows) < len({alike(cell) for cell in cells})


def test_what_an_estimate_leaves_out_is_said() -> None:
    """Of processes and of a curriculum."""
    recipe = ClassificationRecipe(epochs=4, learning_rate=1e-3, processes=2, curriculum="linear", warmup_epochs=2)
    changed, (schedule, share) = _here(recipe)
    assert "With the whole schedule" in schedule
    assert share.startswith("The share of one of 2 processes, alone here")
    assert (changed.processes, changed.curriculum, changed.warmup_epochs) == (2, "none", 0)
    assert _here(recipe.model_copy(update={"processes": 1, "curriculum": "none"}))[1] == []


@pytest.mark.parametrize(
    ("rate", "batch", "enough"), [(100.0, 64, True), (1.6, 16, True), (0.41, 4, True), (0.39, 4, False)]
)
def test_batches_on_a_processor_leave_time_for_a_warm_up(
    rate: float, batch: int, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three updates in half a minute, each of at least two images in a part; else the first one must do."""
    asked, first = list[int](), SimpleNamespace(rate=rate)
    monkeypatch.setattr(
        timed, "_paced", lambda _cell, _identity, recipe, _updates: asked.append(recipe.batch_size) or first
    )
    recipe = ClassificationRecipe(epochs=1, learning_rate=1e-3, accumulate=2)
    found, pace = _in_time(None, None, recipe)  # type: ignore[arg-type]
    assert (asked, found.batch_size, pace is None) == ([4], batch, enough)


def test_what_was_timed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory, whether there was a warm-up, and batches that were ready."""
    cell = first_cells(tmp_path)["tome"]
    identity = Identity.model_validate(cell.identity)
    recipe = identity.training.model_copy(update={"device": "cuda"})
    for ended, held, said in ((2, 0, 0), (3, 2, 1), (10, 8, 0)):
        pace = SimpleNamespace(rate=5.0, memory=7, ended=ended, warm_up=2, counted=[(16, 1.0)] * max(1, ended - 2))
        monkeypatch.setattr(timed, "_paced", lambda *_, pace=pace: pace)
        monkeypatch.setattr(timed, "_held", lambda *_, held=held: held)
        found = _trained(Timed("accuracy", "tome", "", False, 1, "a GPU"), cell, identity, recipe)
        assert (found.rate, found.memory, found.updates, found.batch) == (5, 7, max(1, ended - 2), 16)
        assert found.warm is (ended > 2)
        assert [note.startswith("Batches that were ready") for note in found.notes] == [True] * said


def test_what_stops_a_row_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that a GPU has not; but data that are not in order are nobody's row. Each has the threads of its cell."""
    recipe, threads = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "threads": 3}, list[int]()
    cell = first_cells(tmp_path, finetune=recipe)["tome"]
    monkeypatch.setattr(timed, "seed_everything", lambda _: None)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)

    def stopping(error: Exception) -> Any:
        def trained(*_: object) -> None:
            raise error

        return trained

    monkeypatch.setattr(timed, "_trained", stopping(torch.OutOfMemoryError("CUDA")))
    assert _time(cell).problem == "updates by 16 images need more memory than this GPU has"
    monkeypatch.setattr(timed, "_trained", stopping(UserError("broken.png cannot be read")))
    with pytest.raises(UserError, match=r"broken\.png"):
        _time(cell)
    assert threads == [3, 3]


def test_updates_go_on_behind_the_batches_that_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """For four times as many; whatever an epoch has, after which two images are scored."""
    data, told = data_set({"recipe": "digit-scenes", "canvas": 32, "train": 30, "validation": 20}), list[Any]()
    goal = SimpleNamespace(target="labels", train=lambda _model, training: told.append(training))
    identity: Any = SimpleNamespace(data_set=lambda _: data, goal=goal, seed=0)
    cell: Any = SimpleNamespace(identity={}, places={})
    monkeypatch.setattr(timed, "reduced", lambda *_: None)
    for held, warm_up, updates in ((0, 2, 10), (8, 8, 40)):
        monkeypatch.setattr(timed, "_held", lambda *_, held=held: held)
        pace = _paced(cell, identity, ClassificationRecipe(epochs=1, learning_rate=1e-3))
        training = told.pop()
        assert (pace.warm_up, pace.updates, training.recipe.epochs) == (warm_up, updates, updates)
        assert training.saved.pace is pace
        assert (len(training.data.open("train")), len(training.data.open("validation"))) == (30, 2)


def test_trainings_on_a_gpu_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cores there are, on which others stand side by side."""
    monkeypatch.setattr(estimate, "_seconds", lambda *_: {})
    recipe = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    for device, said in (("cuda", "about 6 min one after another"), ("cpu", "about 90 s on 4 idle cores")):
        cells = [*first_cells(tmp_path, finetune=recipe | {"device": device}).values()]
        assert said in estimate.duration("trial", cells, cells, 4, {alike(cell): 60.0 for cell in cells})


def test_loading_processes_hold_batches() -> None:
    """Beside a GPU by their number; images in memory, and those that a processor trains on, have none."""
    wanted = {"recipe": "images", "source": "nowhere", "class_count": 3}
    recipe = ClassificationRecipe(epochs=1, learning_rate=1e-3)
    on_gpu = recipe.model_copy(update={"device": "cuda"})
    assert _held(data_set(wanted), on_gpu) == 2 * usual_workers("cuda") > 0
    assert _held(data_set(wanted), recipe) == 0
    assert _held(data_set({"recipe": "digit-scenes"}), on_gpu) == 0
    assert _held(data_set(wanted), SegmentationRecipe(epochs=1, learning_rate=1e-3, workers=3)) == 6
