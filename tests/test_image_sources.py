"""Labelled images and recipes for them that are refused, rather than read in a way that would be a guess."""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from test_images import LAYOUTS, PIXELS, RECIPE, png, tar

from suite.data import folder, sources
from suite.data.dataset import data_set
from suite.data.images import Images
from suite.data.preparation import for_training
from suite.data.sources import open_images
from suite.errors import UserError
from suite.tasks.classification.loader import Batches, augmentation
from suite.tasks.classification.recipe import ClassificationRecipe
from suite.tasks.loop import TrainingFailed
from suite.tasks.task import task


@pytest.fixture
def laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Images]:
    """Makes the images in a layout, and the data set of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(layout: str = "folders") -> Images:
        (root := tmp_path / layout).mkdir()
        LAYOUTS[layout][0](root)
        return Images(recipe="images", source=root, size=16)

    return make


def test_what_lies_elsewhere_in_a_tar_file(tmp_path: Path) -> None:
    """Class folders in several folders are refused; links and what systems put there are left out, with a word."""
    image = png(PIXELS["train", "owl"][0])
    for name, inside in (("a", ("train/owl/0.png", "val/owl/0.png")), ("b", ("owl/0.png", "0.png"))):
        tar(tmp_path / f"{name}.tar", dict.fromkeys(inside, image))
        with pytest.raises(UserError, match="do not lie in class folders beside each other"):
            open_images(tmp_path / f"{name}.tar")
    tar(tmp_path / "c.tar", {"owl/0.png": image, "cat/0.png": image, "cat/@eaDir/0.png": image})
    with tarfile.open(tmp_path / "c.tar", "a") as archive:
        link = tarfile.TarInfo("owl/1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "0.png"
        archive.addfile(link)
    found = open_images(tmp_path / "c.tar")
    assert (len(found), found.classes) == (2, ("cat", "owl"))
    assert "1 a link or a device (1.png); 1 hidden or of the system (0.png)" in found.listed.said


def test_several_layouts_in_one_place_are_refused(laid_out: Callable[..., Images]) -> None:
    """None is left out without a word."""
    data = laid_out()
    tar(data.source / "train" / "x.tar", {"owl/0.png": png(PIXELS["train", "owl"][0])})
    with pytest.raises(UserError, match=r"train has images in several layouts \(x.tar, cat\)"):
        data.labelled("train")


def test_numbers_follow_the_names_that_a_source_has(laid_out: Callable[..., Images]) -> None:
    """Where another order is wanted, such as that of trained weights; names that are others are refused."""
    data = laid_out("parquet")
    found = open_images(data.source, ["owl", "dog", "cat", "ant"])
    assert found.labels.tolist() == [0, 0, 2, 2, 1, 1]
    assert found.classes == ("owl", "dog", "cat", "ant")
    with pytest.raises(UserError, match="does not name the folders owl"):
        open_images(data.source, ["ant", "dog", "cat"])


def test_parquet_that_cannot_be_used_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pointer in its place, classes that are no numbers, files of different data sets."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image = [{"bytes": png(PIXELS["train", "owl"][0])}]
    for name, columns in {"a": {"image": image, "label": ["owl"]}, "b": {"image": image, "label": [0]}}.items():
        (tmp_path / name).mkdir()
        pa.parquet.write_table(pa.table(columns), tmp_path / name / "train-0.parquet")
    pa.parquet.write_table(pa.table({"img": image, "label": [0]}), tmp_path / "b" / "train-1.parquet")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "train-0.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    for name, message in {
        "a": "has classes of type string",
        "b": "train-1.parquet has other columns than .*train-0.parquet",
        "c": "cannot be read as a parquet file .a pointer of Git LFS",
    }.items():
        with pytest.raises(UserError, match=message):
            sources.open_split(tmp_path / name, "train")


def test_paths_lie_in_one_piece_of_memory(laid_out: Callable[..., Images]) -> None:
    """So that a million of them are not copied into each process that reads images."""
    data = laid_out()
    found = data.labelled("train")
    wanted = [data.source / "train" / name / f"{number}.png" for name in ("cat", "dog", "owl") for number in range(4)]
    assert [*found.pictures] == wanted
    assert found.pictures[-1] == wanted[-1]
    assert found.pictures[3:5] == wanted[3:5]
    with pytest.raises(IndexError):
        found.pictures[12]
    assert [path for path in vars(found.pictures).values() if isinstance(path, Path | list)] == [data.source / "train"]
    assert not found.listed.images


def test_the_digest_is_computed_once(laid_out: Callable[..., Images], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command asks for it several times, and it looks at every file."""
    data, looked = laid_out(), list[Path]()
    monkeypatch.setattr(folder, "_fingerprint", lambda path, _root: (looked.append(path) or path.name, 0))
    assert data.digest() == data.digest()
    assert len(looked) == 18


def test_what_is_only_checked_is_no_part_of_the_identity(laid_out: Callable[..., Images]) -> None:
    """The number of classes that there must be, that is: the digest has the classes."""
    data = laid_out()
    assert data.model_copy(update={"class_count": 3}).identity() == data.identity()


@pytest.mark.parametrize("words", ["rand-m9-mstd0.5-inc1", "rand-m7-n3-p0.5-tweights", "augmix-m5-w4-d2", "3a", "v0r"])
def test_augmentation_is_in_timms_words(words: str) -> None:
    """What is taken, timm builds."""
    recipe = ClassificationRecipe(epochs=2, learning_rate=1e-3, auto_augment=words)
    assert for_training(16, "imagenet", augmentation(recipe))(Image.new("RGB", (20, 20))).shape == (3, 16, 16)


@pytest.mark.parametrize("words", ["", "rand-x9", "rand-m", "randm9", "v1", "original-m9"])
def test_other_words_are_refused(words: str) -> None:
    """Before anything is trained."""
    with pytest.raises(ValueError, match="is none of timm's"):
        ClassificationRecipe(epochs=2, learning_rate=1e-3, auto_augment=words)


def test_images_that_cannot_be_paired_are_refused() -> None:
    """The last batch of images that are used as they are may be odd."""
    data = data_set({"recipe": "digit-scenes", "train": 43})
    for images, fits in ((None, False), (42, True), (41, False)):
        recipe = ClassificationRecipe(epochs=2, learning_rate=1e-3, batch_size=4, mixup=0.2, images=images)
        with (
            contextlib.nullcontext()
            if fits
            else pytest.raises(
                ValueError, match=r"a batch of [13] images needs an even number in each part, and it has 1"
            )
        ):
            task("classification").check_recipe(recipe, data)


def test_the_first_images_must_be_of_all_classes(laid_out: Callable[..., Images]) -> None:
    """In folders they are of the first ones."""
    data = laid_out()
    for images, fits in ((8, False), (9, True)):
        recipe = RECIPE.model_copy(update={"images": images})
        with contextlib.nullcontext() if fits else pytest.raises(TrainingFailed, match="of 2 of the 3 classes"):
            Batches(data, recipe, seed=0)
