"""Pictures of what methods keep: what is recorded, and what is drawn from the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbones import PATCHES, build, draw_images
from PIL import Image

from suite.data.recipe import DigitScenes
from suite.data.scenes import make_scenes
from suite.errors import UserError
from suite.measure.pictures import decode, encode, picture
from suite.measure.presence import left_after, presence
from suite.reduction.model import reduce
from suite.report.maps import Pictured, draw_maps, pictured
from suite.study.cells import expand
from suite.study.record import Record
from suite.study.schema import Study
from suite.tasks.segmentation.pixels import PixelModel


@pytest.mark.parametrize("method", ["random", "variance"])
@pytest.mark.parametrize("task", ["classification", "segmentation"])
@torch.no_grad()
def test_a_picture_says_what_the_model_does(task: str, method: str) -> None:
    """Classes or label maps, and when each patch left; what is drawn at random is the same in both."""
    model = reduce(build("vit", global_pool="avg"), method, (9, 8, 8, 0)).train()
    images = draw_images(model.backbone, 3)
    found = picture(model, images, task)
    assert (found["grid"], found["depth"]) == ([8, 8], 4)
    torch.manual_seed(0)
    assert found["left_after"] == left_after(presence(model, images)).tolist()
    assert [sum(block == layer for block in found["left_after"][0]) for layer in range(5)] == [9, 8, 8, 0, PATCHES - 25]
    torch.manual_seed(0)
    if task == "segmentation":
        expected = PixelModel(model)(images).argmax(1).numpy()
        assert np.array_equal(np.stack([decode(text) for text in found["said"]]), expected)
    else:
        assert found["said"] == model(images).argmax(1).tolist()


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


def test_columns_are_the_cells_with_the_lowest_seed(tmp_path: Path) -> None:
    """In the study's order; rows without a finished cell are left out, and a study without any is refused."""
    study, record = study_of("classification"), Record(tmp_path)
    with pytest.raises(UserError, match="no cell of this study has finished with a picture; go on with suite run"):
        pictured(study, record)
    for cell in expand(study):
        if cell.kind == "accuracy" and cell.row != "none":
            details = {"picture": {"said": [cell.identity["seed"]]}}
            record.add(cell, {"status": "done", "reason": "", "details": details}, None)
    columns = pictured(study, record)
    assert [column.label for column in columns] == ["variance", "random"]
    assert [column.picture["said"] for column in columns] == [[1], [1]]


@pytest.mark.parametrize(("task", "lines"), [("classification", 1), ("segmentation", 2)])
@torch.no_grad()
def test_the_drawing_shows_the_maps(tmp_path: Path, task: str, lines: int) -> None:
    """Two columns and the images; what left at once and what stayed have other colours."""
    scenes = make_scenes(DigitScenes(recipe="digit-scenes", canvas=32, train=1, validation=2), "validation")
    said = [encode(labels) for labels in scenes.label_maps] if lines == 2 else [3, 7]

    def column(label: str, block: int) -> Pictured:
        return Pictured(label, {"grid": [8, 8], "depth": 4, "left_after": [[block] * 64] * 2, "said": said})

    paths = [tmp_path / "stays.png", tmp_path / "leaves.png"]
    for path, block in zip(paths, (4, 0), strict=True):
        draw_maps([column("none", 4), column("cropr", block)], scenes, task, path)
    stays, leaves = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in paths)
    assert stays.shape == leaves.shape
    height, width = stays.shape[:2]
    assert height > width / 3 * lines / 2
    changed = (stays != leaves).any(-1)
    assert 0.05 < changed.mean() < 0.5
    assert not changed[:, : width // 4].any()
    yellow = (stays[changed] > [200, 180, 0]).all(-1)
    assert yellow.mean() > 0.9
