"""Pictures of what methods keep: what is recorded, and what is drawn from the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbones import PATCHES, build
from PIL import Image

from suite.data.labels import decode, encode
from suite.errors import UserError
from suite.kinds.training.cells import expand
from suite.kinds.training.figures.maps import Shown, draw_maps, example_rows, shown
from suite.kinds.training.line import Line
from suite.kinds.training.results import Results
from suite.kinds.training.runner import export
from suite.kinds.training.schema import Study
from suite.measure.examples import example
from suite.measure.watched import left_after, presence
from suite.reduction.model import reduce
from suite.report.style import DPI
from suite.study.store import Record
from suite.tasks.segmentation.pixels import PixelModel
from suite.tasks.task import task as task_of


@pytest.mark.parametrize("method", ["random", "variance"])
@pytest.mark.parametrize(
    ("task", "size"), [("classification", (32, 32)), ("segmentation", (32, 32)), ("segmentation", (20, 30))]
)
@torch.no_grad()
def test_a_picture_says_what_the_model_does(task: str, size: tuple[int, int], method: str) -> None:
    """Classes or label maps of images, and when each patch left; what is drawn at random is the same in both."""
    model = reduce(build("vit", global_pool="avg"), method, (9, 8, 8, 0)).train()
    draw, (height, width) = np.random.default_rng(0), size
    images = [draw.integers(0, 256, (3, height, width), np.uint8) for _ in range(3)]
    found = example(model, images, task_of(task))
    assert (found["grid"], found["depth"]) == ([8, 8], 4)
    assert found["patches"] == [[size[0] // 4, -(-size[1] // 4)]] * 3
    for index, image in enumerate(images):
        shown = torch.zeros(1, 3, 32, 32)
        shown[0, :, :height, :width] = torch.from_numpy(image) / 127.5 - 1
        torch.manual_seed(index)
        left = left_after(presence(model, shown))[0].tolist()
        assert found["left_after"][index] == left
        assert [left.count(layer) for layer in range(5)] == [9, 8, 8, 0, PATCHES - 25]
        torch.manual_seed(index)
        if task == "segmentation":
            expected = PixelModel(model)(shown).argmax(1)[0, :height, :width].numpy()
            assert np.array_equal(decode(found["prediction"][index]), expected)
        else:
            assert found["prediction"][index] == model(shown).argmax(1).item()
    assert found["left_after"][0] != found["left_after"][1]


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@torch.no_grad()
def test_only_a_picture_of_idling_patches_says_what_each_block_computed(task: str) -> None:
    """It is what `presence` says of each image; patches return in it."""
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (3, 32, 32), np.uint8) for _ in range(3)]
    model = reduce(build("vit"), "idlevit", (30, 10, 0, 0))
    found = example(model, images, task_of(task))
    present = presence(model, torch.from_numpy(np.stack(images)) / 127.5 - 1)
    assert [[[int(mark) for mark in block] for block in image] for image in found["computed"]] == present.int().tolist()
    assert [[block.count("1") for block in image] for image in found["computed"]] == [[64, 34, 24, 24]] * 3
    assert any(image[1][patch] < image[2][patch] for image in found["computed"] for patch in range(PATCHES))
    assert found["left_after"] == left_after(present).tolist()
    assert "computed" not in example(reduce(build("vit"), "cropr", (30, 10, 0, 0)), images, task_of(task))


def test_label_maps_survive_as_text() -> None:
    """Every byte."""
    labels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    assert np.array_equal(decode(encode(labels)), labels)


def study_of(task: str) -> Study:
    """A study of three rows and two seeds."""
    text: dict[str, Any] = {
        "question": "Is it drawn?",
        "task": task,
        "data": {"recipe": "digit-scenes", "canvas": 32, "train": 4, "validation": 4},
        "backbone": {"name": "vit_tiny_patch16_224", "options": {"img_size": 32, "patch_size": 4, "depth": 4}},
        "base": {"recipe": {"epochs": 1, "learning_rate": 1e-3}},
        "finetune": {"epochs": 1, "learning_rate": 1e-3},
        "schedules": [{"removed": [9, 8, 8, 0]}],
        "methods": ["none", "variance", "random"],
        "seeds": [3, 1],
    }
    return Study.model_validate(text)


def test_rows_are_the_cells_with_the_lowest_seed(tmp_path: Path) -> None:
    """Of the exported examples, in the study's order; rows without a finished cell are left out."""
    study, record, folder = study_of("classification"), Record(tmp_path), tmp_path / "results/trial"
    with pytest.raises(UserError, match=r"examples.json does not exist; make it with: suite run trial"):
        example_rows(study, Results(folder, []))
    export(folder, expand(study), record)
    with pytest.raises(UserError, match=r"examples.json has no example"):
        example_rows(study, Results(folder, []))
    for cell in expand(study):
        if cell.kind == "accuracy" and cell.row != "none":
            example = {"grid": [8, 8], "depth": 4, "left_after": [[4] * 64], "prediction": [cell.identity["seed"]]}
            record.add(cell, {"status": "done", "reason": "", "provenance": {"started": ""}} | details(example), None)
    export(folder, expand(study), record)
    lines = [
        Line(row, row, cell.schedule, row, study.task, None, 2, None, None)
        for row, cell in {cell.row: cell for cell in expand(study)}.items()
    ]
    rows = example_rows(study, Results(folder, lines))
    assert list(rows) == ["variance", "random"]
    assert [example["prediction"] for example in rows.values()] == [[1], [1]]


def details(example: dict[str, Any]) -> dict[str, Any]:
    """Where an entry keeps its example."""
    return {"details": {"example": example}}


@pytest.mark.parametrize(("task", "lines"), [("classification", 1), ("segmentation", 2)])
@torch.no_grad()
def test_the_drawing_shows_the_maps(tmp_path: Path, task: str, lines: int) -> None:
    """The images and two rows; where a patch of the second row left or stayed has another colour, and nothing else."""
    study = study_of(task)
    images = shown(study)
    images = Shown(images.images[:2], images.labels[:2] if images.labels else None, images.colours)
    said = [encode(labels) for labels in images.labels] if images.labels else [3, 7]

    def row(block: int) -> dict[str, Any]:
        return {"grid": [8, 8], "depth": 4, "left_after": [[block] * 64] * 2, "prediction": said}

    paths = [tmp_path / "stays.png", tmp_path / "leaves.png"]
    for path, block in zip(paths, (4, 0), strict=True):
        draw_maps({"none": row(4), "cropr": row(block)}, images, path)
    stays, leaves = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in paths)
    assert stays.shape == leaves.shape
    height, width = stays.shape[:2]
    changed = (stays != leaves).any(-1)
    side = 0.5 * DPI  # of a map, pixels, at least
    assert 2 * side**2 < changed.sum() < 0.3 * height * width
    assert not changed[: height // 2].any(), "the images and the first row are above"
    assert 2 * lines * side < width
    yellow = (stays[changed] > [200, 180, 0]).all(-1)
    assert yellow.mean() > 0.9
