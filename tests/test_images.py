"""Labelled images in every layout: one order of classes, one reading of pixels, one identity, the same draws."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from tiny_study import here, rows_of, write

import suite.torchvision_operators  # noqa: F401  (before torchvision, see there)

# isort: split
from torchvision import datasets

from suite.data import sources
from suite.data.dataset import SPLITS
from suite.data.images import Images
from suite.data.pictures import read
from suite.data.preparation import Prepared, for_evaluation
from suite.data.sources import open_images
from suite.errors import UserError
from suite.tasks.classification.loader import Batches, Reader, batches_in_order, first_images
from suite.tasks.classification.recipe import ClassificationRecipe

COLOURS = np.tile(np.array([250, 120, 10], np.uint8), (20, 20, 1))
NAMES = ("owl", "cat", "dog")
COUNTS = {"train": 4, "val": 2}  # of each class
DRAW = np.random.default_rng(0)
PIXELS = {
    (split, name): [DRAW.integers(0, 256, (20 + number, 24, 3), np.uint8) for number in range(count)]
    for split, count in COUNTS.items()
    for name in NAMES
}


def png(pixels: Any) -> bytes:
    """An encoded image."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def as_folders(root: Path) -> None:
    """A folder for each class."""
    for (split, name), images in PIXELS.items():
        for number, pixels in enumerate(images):
            path = root / split / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(pixels))


def tar(path: Path, files: dict[str, bytes]) -> None:
    """A tar file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def as_tar_of_folders(root: Path) -> None:
    """One tar file for each split, with class folders."""
    for split in COUNTS:
        inside = {
            f"./{name}/{number}.png": png(pixels) for name in NAMES for number, pixels in enumerate(PIXELS[split, name])
        }
        tar(root / f"{split}.tar", inside | {"./README.txt": b"what it is"})


def as_tar_of_each_class(root: Path) -> None:
    """As ImageNet's training set once its outer tar file is unpacked."""
    for (split, name), images in PIXELS.items():
        tar(root / split / f"{name}.tar", {f"{name}_{number}.png": png(one) for number, one in enumerate(images)})


def as_shards(root: Path) -> None:
    """WebDataset: two shards of training, images with the number of the class beside them."""
    for split in COUNTS:
        samples = [(sorted(NAMES).index(name), pixels) for name in NAMES for pixels in PIXELS[split, name]]
        for shard in range(2):
            files = dict[str, bytes]()
            for key, (number, pixels) in enumerate(samples[shard::2]):
                files |= {f"{key:04}.png": png(pixels), f"{key:04}.cls": str(number).encode()}
            tar(root / f"{split}-{shard:04}.tar", files)
    (root / "classes.txt").write_text("\n".join(sorted(NAMES)))


def as_parquet(root: Path) -> None:
    """As Hugging Face's hub has data sets, with names of classes in the metadata."""
    features = {"image": {"_type": "Image"}, "label": {"names": sorted(NAMES), "_type": "ClassLabel"}}
    for split, called in (("train", "train"), ("val", "validation")):
        samples = [(sorted(NAMES).index(name), pixels) for name in NAMES for pixels in PIXELS[split, name]]
        table = pa.table(
            {
                "image": [{"bytes": png(pixels), "path": None} for _, pixels in samples],
                "label": [number for number, _ in samples],
            }
        ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        path = root / "data" / f"{called}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pa.parquet.write_table(table, path, row_group_size=3)


LAYOUTS: dict[str, tuple[Callable[[Path], None], dict[str, Any]]] = {
    "folders": (as_folders, {}),
    "tar of folders": (as_tar_of_folders, {}),
    "tar of each class": (as_tar_of_each_class, {}),
    "shards": (as_shards, {"classes": "classes.txt"}),
    "parquet": (as_parquet, {}),
}


@pytest.fixture
def laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Images]:
    """Makes the images in a layout, and the data set of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(layout: str = "folders", **options: Any) -> Images:
        root = tmp_path / layout.replace(" ", "-")
        root.mkdir()
        written, said = LAYOUTS[layout]
        written(root)
        said = {key: root / value for key, value in said.items()}
        return Images(recipe="images", source=root, size=16, **said, **options)

    return make


def content(data: Images, split: Any) -> list[tuple[str, bytes]]:
    """The class and the pixels of every image, sorted."""
    found = data.labelled(split)
    pairs = zip(found.pictures, found.labels, strict=True)
    return sorted((found.classes[label], np.asarray(read(picture)[0]).tobytes()) for picture, label in pairs)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_hold_the_same(laid_out: Callable[..., Images], layout: str) -> None:
    """Classes in the order of their names, all pixels, both splits; evaluation finds the validation images alike."""
    data = laid_out(layout)
    for split, called in (("train", "train"), ("validation", "val")):
        wanted = sorted((name, pixels.tobytes()) for name in NAMES for pixels in PIXELS[called, name])
        assert content(data, split) == wanted
    assert data.targets == {"labels": 3}
    assert data.class_names("labels") == ("cat", "dog", "owl")
    assert data.check()[0].startswith(f"train: 12 images of {data.source}")
    order = data.classes
    assert len(open_images(data.source, order)) == 6


def test_what_lies_in_a_tar_file_besides_is_said(laid_out: Callable[..., Images]) -> None:
    """As in a folder."""
    assert "train: left out: 1 of .txt, no images (README.txt)" in laid_out("tar of folders").check()


def mnist(root: Path, pack: Callable[[bytes], bytes], suffix: str) -> None:
    """The four files: ten training images and five test images of 8 pixels a side."""
    root.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 10), ("t10k", 5)):
        pixels = np.arange(count * 64, dtype=np.uint32).astype(np.uint8).tobytes()
        images = struct.pack(">BBBBIII", 0, 0, 8, 3, count, 8, 8) + pixels
        labels = struct.pack(">BBBBI", 0, 0, 8, 1, count) + bytes(range(count))
        (root / f"{split}-images-idx3-ubyte{suffix}").write_bytes(pack(images))
        (root / f"{split}-labels-idx1-ubyte{suffix}").write_bytes(pack(labels))


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, ".gz"), (bytes, "")])
def test_mnists_files(tmp_path: Path, pack: Callable[[bytes], bytes], suffix: str) -> None:
    """Packed or not; classes are numbers; one that is cut off is refused by name."""
    mnist(tmp_path, pack, suffix)
    data = Images(recipe="images", source=tmp_path, size=8)
    assert data.targets == {"labels": 10}
    image, _ = read(data.open("validation").images[1])
    assert np.array_equal(np.asarray(image)[..., 2], np.arange(64, 128).reshape(8, 8))
    labels = tmp_path / f"t10k-labels-idx1-ubyte{suffix}"
    for content in (labels.read_bytes()[:-1], gzip.compress(b"")[:10] + b"\xff" * 20):
        labels.write_bytes(content)
        with pytest.raises(UserError, match=f"{labels.name} is not an array in MNIST's format"):
            sources.open_split(tmp_path, "validation")


def test_what_torchvision_downloaded(tmp_path: Path) -> None:
    """By timm's name, with torchvision's names of classes; where it is not there, it is said what to do."""
    mnist(tmp_path / "FashionMNIST/raw", bytes, "")
    data = Images(recipe="images", source=tmp_path, torchvision="fashion_mnist", size=8)
    assert data.class_names("labels")[0] == "T-shirt/top"
    assert [len(data.open(split)) for split in SPLITS] == [10, 5]
    with pytest.raises(UserError, match=r"cifar10 is not in .*let torchvision download it there once"):
        Images(recipe="images", source=tmp_path, torchvision="cifar10").labelled("train")
    with pytest.raises(UserError, match=r"has no data set 'cifar11'; did you mean cifar10"):
        Images(recipe="images", source=tmp_path, torchvision="cifar11").labelled("train")


def md5(content: bytes) -> str:
    """The sum that torchvision checks."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six images in each of its two files, whose sums torchvision checks."""
    for split in ("train", "test"):
        path = root / f"{split}_32x32.mat"
        pixels = np.stack([Image.fromarray(COLOURS).resize((32, 32))] * 6, 3)  # height, width, 3, n
        savemat(path, {"X": pixels, "y": np.array([[10], [1], [2], [9], [3], [4]])})
        known = datasets.SVHN.split_list | {split: ["", path.name, md5(path.read_bytes())]}
        monkeypatch.setattr(datasets.SVHN, "split_list", known)


def stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images in each split."""
    (root / "stl10_binary").mkdir()
    one = np.asarray(Image.fromarray(COLOURS).resize((96, 96))).transpose(2, 1, 0).tobytes()  # columns first
    for split, more in (("train", ["unlabeled_X.bin"]), ("test", [])):
        files = {f"{split}_X.bin": one * 3, f"{split}_y.bin": bytes([1, 2, 3])} | dict.fromkeys(more, one)
        for name, content in files.items():
            (root / "stl10_binary" / name).write_bytes(content)
        sums = [[name, md5(content)] for name, content in files.items()]
        monkeypatch.setattr(datasets.STL10, f"{split}_list", sums)
    (root / "stl10_binary" / "class_names.txt").write_text("airplane\nbird\ncar\n")


def textures(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DTD: files that are named in lists, in three splits."""
    (root / "dtd/dtd/labels").mkdir(parents=True)
    for split, count in (("train", 4), ("val", 2), ("test", 1)):
        names = [f"{name}/{split}{number}.png" for name in ("banded", "woven") for number in range(count)]
        (root / f"dtd/dtd/labels/{split}1.txt").write_text("\n".join(names))
        for name in names:
            path = root / "dtd/dtd/images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(COLOURS).save(path)


def imagenette(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in folders with their classes, in two splits."""
    for wnid, split in itertools.product(datasets.Imagenette._WNID_TO_CLASS, ("train", "val")):
        folder = root / "imagenette2" / split / wnid
        folder.mkdir(parents=True)
        Image.fromarray(COLOURS).save(folder / "0.JPEG", quality=100, subsampling=0)


@pytest.mark.parametrize(
    ("name", "made", "counts", "classes"),
    [
        ("svhn", svhn, (6, 6), "0"),
        ("stl10", stl10, (3, 3), "airplane"),
        ("dtd", textures, (8, 4), "banded"),
        ("imagenette", imagenette, (10, 10), "n01440764"),
    ],
)
def test_what_torchvision_keeps_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path, name: str, made: Any, counts: Any, classes: str
) -> None:
    """Colours first or last, in one array or in files: colours stay where they are, and classes are its own."""
    made(tmp_path, monkeypatch)
    data = Images(recipe="images", source=tmp_path, torchvision=name, size=8)
    assert tuple(len(data.open(split)) for split in SPLITS) == counts
    assert data.class_names("labels")[0] == classes
    pixels = np.asarray(read(data.open("validation").images[0])[0])
    assert np.abs(pixels.mean((0, 1)) - COLOURS.mean((0, 1))).max() < 3
    assert data.digest() == data.model_copy().digest()
    assert data.check()


def test_what_torchvision_keeps_in_ways_that_are_not_known(tmp_path: Path) -> None:
    """Named, with what to do instead."""
    with pytest.raises(UserError, match="how torchvision's Omniglot keeps images and classes is not known here"):
        Images(recipe="images", source=tmp_path, torchvision="omniglot").labelled("train")


@pytest.mark.parametrize("layout", ["shards", "parquet"])
def test_an_order_of_numbers_is_refused(laid_out: Callable[..., Images], layout: str) -> None:
    """They are the outputs; in a study it is called as there."""
    data = laid_out(layout)
    for order in ("text", "number"):
        with pytest.raises(UserError, match=f"has a number for the class .* data.order: {order} cannot order them"):
            data.model_copy(update={"order": order, "classes": None}).labelled("train")
        with pytest.raises(UserError, match=f"--classes {order} cannot order them"):
            open_images(data.source, order)


def test_what_is_said_of_classes_names_the_keys_of_a_study(laid_out: Callable[..., Images], tmp_path: Path) -> None:
    """Not options of the command line."""
    data = laid_out()
    with pytest.raises(UserError, match=r"^data\.classes: there is no file") as missing:
        data.model_copy(update={"classes": tmp_path / "none.txt"}).labelled("train")
    for number in range(12):
        for split in ("train", "val"):
            (data.source / split / "owl").rename(data.source / split / f"owl{number}")
            (data.source / split / "owl").mkdir()
            (data.source / split / "owl" / "0.png").write_bytes(png(PIXELS["train", "owl"][0]))
    with pytest.raises(UserError, match=r"data.order: text, as .*, data.order: number, or data.classes FILE") as order:
        data.labelled("train")
    assert "--" not in f"{missing.value} {order.value}"


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_process_cannot_read_is_one_sentence(laid_out: Callable[..., Images], workers: int) -> None:
    """Not the traceback of that process."""
    data = laid_out()
    (path := data.source / "val" / "owl" / "1.png").write_bytes(b"")
    found = data.labelled("validation")
    pictures = Prepared(found.pictures, found.labels, for_evaluation((16, 16), 1.0, "imagenet"))
    batches = iter(Reader(pictures, "cpu", workers, batch_size=5))
    assert next(batches)[0].shape == (5, 3, 16, 16)
    with pytest.raises(UserError) as refused:
        next(batches)
    assert str(refused.value).startswith(f"{path} cannot be read, it is empty")
    assert len(str(refused.value).splitlines()) == 1


def test_the_identity_is_that_of_names_sizes_and_classes(laid_out: Callable[..., Images], tmp_path: Path) -> None:
    """Not of the place; another image, name or order is another data set."""
    data = laid_out()
    assert data.places == {"source": data.source}
    assert "source" not in data.identity()["recipe"]
    digests = {data.digest()}
    moved = tmp_path / "moved"
    data.source.rename(moved)
    again = data.model_copy(update={"source": moved})
    assert again.digest() in digests
    for number, change in enumerate(
        (lambda path: path.write_bytes(b"x"), lambda path: path.rename(path.with_stem("a")))
    ):
        changed = tmp_path / f"changed {number}"
        moved.rename(changed)
        change(changed / "val" / "owl" / "1.png")
        digests.add(data.model_copy(update={"source": changed}).digest())
        moved = changed
    digests.add(data.model_copy(update={"source": moved, "order": "number"}).digest())
    assert len(digests) == 3, "numbers order these names as text does"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: (root / "val").rename(root / "vall"),
            r"has no validation images: none of val, valid,.*but train",
        ),
        (lambda root: (root / "val/owl").rename(root / "val/ant"), r"classes does not name the folders ant of"),
        (lambda root: (root / "train/owl/1.png").write_bytes(b""), r"1.png cannot be read, it is empty"),
        (lambda root: [path.unlink() for path in (root / "train/owl").iterdir()], r"there are no images in owl"),
    ],
)
def test_what_is_not_in_order_is_refused(
    laid_out: Callable[..., Images], spoil: Callable[[Path], object], message: str
) -> None:
    """Before anything is trained."""
    data = laid_out()
    spoil(data.source)
    with pytest.raises(UserError, match=message):
        data.check()


def test_tar_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    """Compressed, nested, with an image that has no class or a class that is no number."""
    image = png(PIXELS["train", "owl"][0])
    tar(tmp_path / "a/train/x.tar", {"n01.tar": b""})
    tar(tmp_path / "b/train/x.tar", {"0.png": image, "0.cls": b"1", "1.png": image})
    tar(tmp_path / "c/train/x.tar", {"0.png": image, "0.cls": b"owl"})
    tar(tmp_path / "f/train/x.tar", {"0.jpg": image, "0.seg.png": image, "0.cls": b"1"})
    tar(tmp_path / "d/train/x.tar", {"notes.txt": b"none"})
    (tmp_path / "e/train").mkdir(parents=True)
    (tmp_path / "e/train/x.tar").write_bytes(gzip.compress(b"x" * 1000))
    for name, message in {
        "a": "holds tar files .n01.tar.; unpack it once",
        "b": "x.tar: 1.png has no class: there is no 1.cls beside it",
        "c": "'owl', which is not the number of a class",
        "f": "x.tar: 0.seg.png is of the same sample as 0.jpg",
        "d": "has no images; give tar files of images",
        "e": "cannot be read as a tar file that is not compressed",
    }.items():
        with pytest.raises(UserError, match=message):
            Images(recipe="images", source=tmp_path / name).labelled("train")


RECIPE = ClassificationRecipe(
    epochs=2, batch_size=5, learning_rate=1e-3, auto_augment="rand-m9-mstd0.5-inc1", random_erasing=0.5
)


def test_draws_are_of_seed_epoch_and_image(laid_out: Callable[..., Images]) -> None:
    """An image is augmented alike wherever it stands in a batch, whatever was drawn before; epochs and seeds differ."""
    data = laid_out()
    batches = Batches(data, RECIPE, seed=3)
    assert len(batches) == 2
    torch.manual_seed(0)
    first = list(batches.epoch(1))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = list(batches.epoch(1, begun=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[1][0], again[0][0])
    assert first[1][1].tolist() == again[0][1].tolist()
    assert first[0][0].shape == (5, 3, 16, 16)
    drawn = {batches.read[epoch, 7][0].sum().item() for epoch in range(3)}
    drawn |= {Batches(data, RECIPE, seed=4).read[0, 7][0].sum().item()}
    assert len(drawn) == 4


def test_processes_that_read_change_nothing(laid_out: Callable[..., Images]) -> None:
    """Whatever batches there are of an epoch, in epochs that are begun in the middle, and after one that was left."""
    data = laid_out()
    alone, together = (Batches(data, RECIPE, seed=3, workers=workers) for workers in (0, 1))
    next(together.epoch(0))
    for epoch, begun in ((0, 0), (1, 1), (2, 0)):
        pairs = list(zip(alone.epoch(epoch, begun), together.epoch(epoch, begun), strict=True))
        assert len(pairs) == 2 - begun
        for ours, theirs in pairs:
            assert torch.equal(ours[0], theirs[0])
            assert torch.equal(ours[1], theirs[1])


def test_evaluation_images_are_cut_alike(laid_out: Callable[..., Images]) -> None:
    """What a table's examples show is what the model was given, before normalisation."""
    data = laid_out(normalisation="inception")
    given = next(iter(batches_in_order(data, "validation", "cpu")))
    shown = torch.from_numpy(np.stack(first_images(data, 3)))
    torch.testing.assert_close(given[:3], shown.float() / 127.5 - 1, atol=1e-2, rtol=0)


def test_a_study_of_images_runs(laid_out: Callable[..., Images], tmp_path: Path) -> None:
    """From the command line, with all that a recipe can say; without the images it can still be planned."""
    data = laid_out()
    full = {"epochs": 2, "batch_size": 6, "learning_rate": 1e-3, "mixup": 0.8, "cutmix": 1.0, "ema": 0.5}
    full |= {"accumulate": 3, "layer_decay": 0.75, "auto_augment": "rand-m9-mstd0.5-inc1", "random_erasing": 0.25}
    images = {"recipe": "images", "source": "folders", "size": 16, "class_count": 3}
    base = {"recipe": {"epochs": 1, "learning_rate": 1e-3, "batch_size": 6}}
    write(tmp_path, data=images, base=base, finetune=full, methods=["none", "cropr"], seeds=[0], speed=None)
    done = here(tmp_path, "run", "trial.yaml", "--in-process")
    assert done.returncode == 0, done.stderr
    assert f"data: train: 12 images of {data.source.name}" in done.stdout + done.stderr
    assert {row["status"] for row in rows_of(tmp_path)} == {"done"}
    data.source.rename(tmp_path / "elsewhere")
    done = here(tmp_path, "plan", "trial.yaml")
    assert done.returncode == 0, done.stderr
    assert "missing input: data.source: there is no folder folders" in done.stderr
