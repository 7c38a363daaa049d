"""Our loader beside timm's: the same evaluation images to the bit; what is faster is not decided here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loader_race import RECIPE, evaluation, timed, training
from PIL import Image
from sklearn.datasets import load_sample_images

pytestmark = pytest.mark.filterwarnings(  # timm's loader leaves files open, which Python closes with a warning
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
COUNT = 12  # images of each class


@pytest.fixture
def photographs(tmp_path: Path, own_cache: Path) -> Path:
    """Parts of two photographs as JPEG, in two classes."""
    for split in ("train", "val"):
        for name, pixels in zip(("china", "flower"), load_sample_images().images, strict=True):
            (folder := tmp_path / split / name).mkdir(parents=True)
            for number in range(COUNT):
                corner = (10 * number, 2 * number)
                part = Image.fromarray(pixels).crop((*corner, corner[0] + 500, corner[1] + 400 - number))
                part.save(folder / f"{number:02}.jpg")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_images_are_those_of_timm(photographs: Path, workers: int) -> None:
    """All pixels and classes, in one order."""
    ours, theirs = (
        [torch.cat(part) for part in zip(*loader(), strict=True)]
        for loader in evaluation(photographs, workers).values()
    )
    assert ours[0].shape == (2 * COUNT, 3, 224, 224)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


@pytest.mark.slow
def test_both_are_timed_in_turn(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ratio for each round, of training and of evaluation."""
    monkeypatch.setattr("loader_race.BATCH", COUNT)
    monkeypatch.setattr("loader_race.RECIPE", RECIPE.model_copy(update={"batch_size": COUNT}))
    for part in (training, evaluation):
        assert len(timed(part(photographs, 0), 0, 2).ratios("ours", "timm")) == 2
