"""digit-scenes: deterministic, exactly labelled, and never the same digit in both splits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from suite.data.dataset import Examples
from suite.data.digit_scenes import BACKGROUND, GENERATOR_VERSION, DigitScenes, _digits, make_scenes

PINNED = "94f55e792585fe16"
SMALL = DigitScenes(recipe="digit-scenes", train=40, validation=20)


def test_the_same_recipe_makes_the_same_pixels() -> None:
    """Pinned: whoever changes the generator must raise its version, because it is part of a cell's identity."""
    assert GENERATOR_VERSION == 1
    assert make_scenes(SMALL, "train").digest() == PINNED
    make_scenes.cache_clear()
    assert make_scenes(SMALL, "train").digest() == PINNED


def test_another_seed_makes_other_pixels_and_another_identity() -> None:
    """The seed is part of the recipe, so of its digest."""
    other = SMALL.model_copy(update={"seed": 1})
    assert make_scenes(other, "train").digest() != make_scenes(SMALL, "train").digest()
    assert other.digest() != SMALL.digest()


def test_a_scene_depends_on_its_number_alone() -> None:
    """The first scenes of a larger data set are those of a smaller one."""
    more = make_scenes(SMALL.model_copy(update={"train": 60}), "train")
    assert np.array_equal(more.images[:40], make_scenes(SMALL, "train").images)


def test_no_digit_image_is_in_both_splits() -> None:
    """Train and validation share no digit, and together they have all 1,797."""
    train, validation = _digits(0, "train")[0], _digits(0, "validation")[0]
    assert len(train) + len(validation) == len(load_digits().target) == 1797
    assert not {digit.tobytes() for digit in train} & {digit.tobytes() for digit in validation}
    assert len(validation) / 1797 == pytest.approx(0.2, abs=0.001)


def background_free(scenes: Examples) -> list[set[int]]:
    """Digits that the label map of each scene has."""
    return [set(np.unique(label_map).tolist()) - {BACKGROUND} for label_map in scenes.targets["maps"]]


def test_labels_and_label_maps_agree() -> None:
    """With one digit, the only digit in the label map is the label, and its pixels are the brightest."""
    scenes = make_scenes(SMALL, "train")
    assert scenes.images.shape == (40, 3, 32, 32)
    assert background_free(scenes) == [{label} for label in scenes.targets["labels"].tolist()]
    for image, label_map in zip(scenes.images, scenes.targets["maps"], strict=True):
        assert image[:, label_map != BACKGROUND].mean() > image[:, label_map == BACKGROUND].mean() + 40


def test_every_class_occurs() -> None:
    """Labels run over all ten digits."""
    labels = make_scenes(SMALL.model_copy(update={"train": 400}), "train").targets["labels"]
    assert set(labels.tolist()) == set(range(10))


def test_several_digits_do_not_cover_each_other() -> None:
    """Canvas, number of digits and clutter are settings; the label is one of the digits in the scene."""
    recipe = DigitScenes(recipe="digit-scenes", canvas=64, digits=4, digit_size=(12, 18), clutter=6, train=30)
    scenes = make_scenes(recipe, "train")
    present = background_free(scenes)
    assert scenes.images.shape == (30, 3, 64, 64)
    assert all(label in digits for label, digits in zip(scenes.targets["labels"].tolist(), present, strict=True))
    assert max(len(digits) for digits in present) == 4
    plain = make_scenes(recipe.model_copy(update={"clutter": 0}), "train")
    assert not np.array_equal(plain.images, scenes.images)


def test_brightness_dims_the_photographs() -> None:
    """With brightness 0 only ink is left."""
    dark = make_scenes(SMALL.model_copy(update={"brightness": 0.0}), "train")
    assert dark.images[0][:, 0, 0].max() < make_scenes(SMALL, "train").images.max()
    assert np.median(dark.images) == 0
