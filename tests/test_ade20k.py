"""ADE20k: its folder, the official augmentation and evaluation, and the paper's study at reduced width."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ade20k import ALL, SIZES, make_folder
from backbones import BACKBONES
from hand_made_png import png
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file
from test_segmentation import REMOVED, images_seen
from tiny_study import RUN, here, rows_of
from torch import Tensor, nn
from torch.nn import functional as F

from suite.data import pictures
from suite.data.ade20k import Ade20k
from suite.errors import UserError
from suite.kinds.training import execute
from suite.kinds.training.cells import expand, known_weights
from suite.kinds.training.execute import run_cell
from suite.kinds.training.study import check_inputs
from suite.reduction.backbone import create_backbone, fitted
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel, reduce
from suite.study.cells import Job
from suite.study.load import load
from suite.tasks.segmentation.data import CheckLabels, first_images, open_data
from suite.tasks.segmentation.recipe import SegmentationRecipe
from suite.tasks.segmentation.train import evaluate, train
from suite.tasks.task import task

STUDY = Path(__file__).parents[1] / "studies/ade20k-eva02.yaml"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 5, "num_heads": 2}


@pytest.fixture
def ade20k(tmp_path: Path) -> Ade20k:
    """A small folder of five labels."""
    return Ade20k(recipe="ade20k", folder=make_folder(tmp_path / "ade"), size=32)


def pixels(model: ReducedModel, shown: Tensor, at: list[tuple[int, int]], size: tuple[int, int]) -> np.ndarray:
    """Labels, 1 to 150, of an image of `size`, from the mean of the logits of 32 pixel windows on what is `shown`."""
    total, counted = torch.zeros(1, 150, *shown.shape[2:]), torch.zeros(shown.shape[2:])
    for row, column in at:
        window = shown[:, :, row : row + 32, column : column + 32]
        height, width = window.shape[2:]
        with torch.no_grad():
            features = model.dense(F.pad(window, (0, 32 - width, 0, 32 - height)))
            logits = model.backbone.head(model.backbone.fc_norm(features)).transpose(1, 2).unflatten(2, (8, 8))
        whole = F.interpolate(logits, size=(32, 32), mode="bilinear")[:, :, :height, :width]
        total[:, :, row : row + 32, column : column + 32] += whole
        counted[row : row + 32, column : column + 32] += 1
    upsampled = F.interpolate(total / counted, size=size, mode="bilinear")
    return upsampled.argmax(1)[0].numpy() + 1  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("stride", "sides", "windows"),
    [
        (None, [(32, 24), (16, 32)], [[(0, 0)], [(0, 0)]]),
        (20, [(43, 32), (32, 66)], [[(0, 0), (11, 0)], [(0, 0), (0, 20), (0, 34)]]),
    ],
)
def test_ade20k_trains_and_scores(
    ade20k: Ade20k, stride: int | None, sides: list[tuple[int, int]], windows: list[list[tuple[int, int]]]
) -> None:
    """One epoch of the official augmentation; scores are those of a numpy count at the images' own sizes."""
    torch.manual_seed(0)
    model = reduce(BACKBONES["eva02"](num_classes=150), "random", REMOVED, fusion="last-layer")
    data = open_data(ade20k.model_copy(update={"stride": stride}))
    recipe = SegmentationRecipe(epochs=1, batch_size=2, learning_rate=1e-4, decay="polynomial")
    assert len(train(model, data, recipe, seed=0)) == 1
    model = reduce(model.backbone.eval(), "none")
    right = labelled = 0
    for sample, size, side, at in zip(data.validation, [(48, 36), (31, 64)], sides, windows, strict=True):
        shown = sample["inputs"].flip(0)[None].float().sub(127.5).div(127.5)  # mmcv reads blue first
        assert shown.shape[2:] == side
        mask = np.asarray(Image.open(sample["data_samples"].seg_map_path))
        right += (pixels(model, shown, at, size) == mask)[mask > 0].sum()
        labelled += (mask > 0).sum()
    assert evaluate(model, data).aacc == pytest.approx(100 * right / labelled, rel=1e-12)


def test_the_official_augmentation(ade20k: Ade20k) -> None:
    """Long sides from half the size to twice, crops of the size, half of them flipped, labels 0 to 149 or 255."""
    data = open_data(ade20k)
    np.random.seed(0)  # noqa: NPY002  (the generator that transforms draw from)
    resize = data.train.pipeline.transforms[3]
    sides = [max(resize({"img": np.zeros((40, 90, 3), np.uint8)})["img"].shape[:2]) for _ in range(200)]
    assert min(sides) in {16, 17}
    assert max(sides) in {63, 64}
    items = [data.train[index] for index in range(4) for _ in range(30)]
    flipped = sum(item["data_samples"].flip for item in items)
    assert 40 < flipped < 80
    for item in items:
        labels = item["data_samples"].gt_sem_seg.data[0]
        assert item["inputs"].shape[1:] == labels.shape
        assert max(labels.shape) <= 32
        assert set(labels.unique().tolist()) <= {0, 1, 2, 149, 255}
    distort, grey = data.train.pipeline.transforms[6], np.full((2, 2, 3), 100, np.uint8)
    colours = {tuple(distort({"img": grey.copy()})["img"][0, 0]) for _ in range(50)}
    assert len(colours) > 25


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_pairs_up_across_methods(ade20k: Ade20k, workers: int) -> None:
    """Crops and colours depend on the seed and not on what a method draws, and are new in every epoch."""
    recipe = SegmentationRecipe(epochs=2, batch_size=4, learning_rate=1e-4, workers=workers)
    first, again, other = (
        images_seen(method, seed, recipe, open_data(ade20k))
        for method, seed in (("none", 0), ("random", 0), ("none", 1))
    )
    assert len(first) == 2
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, again, strict=True))
    sums = [set(batch.flatten(1).sum(1).tolist()) for batch in (*first, *other)]
    assert len(set.union(*sums)) == 16


def test_scores_of_labels_that_are_no_class_are_refused(ade20k: Ade20k) -> None:
    """The sentence names the file, the cause and the numbers that would do."""
    save(np.full((48, 36), 200, np.uint8), "validation/ADE_0.png")(ade20k.folder)
    with pytest.raises(UserError, match=r"ADE_0.png: class 199 on 1728 pixels; classes run from 0 to 149"):
        evaluate(reduce(BACKBONES["vit"](num_classes=150), "none"), open_data(ade20k))


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 6)])
def test_a_mask_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """A colour picture, or a mask of another image, is named with both shapes."""
    results = {"gt_seg_map": np.zeros(shape, np.uint8), "ori_shape": (8, 8), "seg_map_path": "there/mask.png"}
    with pytest.raises(UserError, match=r"there/mask.png is a mask of shape .* for an image of 8 x 8; a mask has one"):
        CheckLabels(150).transform(results)


def broken(folder: Path) -> None:
    """Cut an image in half."""
    path = folder / "images/training/ADE_2.jpg"
    path.write_bytes(path.read_bytes()[:700])


def save(labels: np.ndarray[Any, Any], where: str) -> Callable[[Path], None]:
    """Something that writes these labels over a mask."""
    return lambda folder: Image.fromarray(labels).save(folder / "annotations" / where)


def of_depth(depth: int, colour: int) -> Callable[[Path], object]:
    """Something that writes a mask of the labels 0 to 3, or 0 and 1, over another."""
    labels = np.arange(48 * 36).reshape(48, 36) % min(4, 2**depth)
    return lambda folder: (folder / "annotations/validation/ADE_0.png").write_bytes(png(labels, depth, colour))


def other_format(folder: Path) -> None:
    """A mask as PGM, whose largest number PIL makes 255."""
    path = folder / "annotations/validation/ADE_0.png"
    path.with_suffix(".pgm").write_bytes(b"P5 36 48 150\n" + bytes(48 * 36))
    path.unlink()


def lossy(folder: Path) -> None:
    """A mask as JPEG."""
    path = folder / "annotations/validation/ADE_0.png"
    Image.open(path).save(path.with_suffix(".jpeg"))
    path.unlink()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda at: (at / "annotations/training/ADE_1.png").unlink(), r"training image ADE_1.jpg has no mask in .*add"),
        (lambda at: (at / "images/validation/ADE_0.jpg").unlink(), r"validation mask ADE_0.png has no image in .*add"),
        (lambda at: (at / "images").rename(at / "pictures"), r"there are no images in .*training; folder must"),
        (broken, r"^\S*ADE_2.jpg cannot be read \(image file is truncated.*\); replace it, or take"),
        (lambda at: (at / "annotations/validation/ADE_1.png").write_text("no image"), r"^\S*ADE_1.png cannot be read"),
        (save(np.full((48, 36), 200, np.uint8), "validation/ADE_0.png"), r"^\S*ADE_0.png: label 200 on 1728 pixels"),
        (save(np.ones((48, 37), np.uint8), "validation/ADE_0.png"), r"ADE_0.png is a mask of shape \(48, 37\)"),
        (save(np.ones((48, 36), np.uint16), "validation/ADE_0.png"), r"ADE_0.png has uint16 pixels"),
        (of_depth(4, 0), r"ADE_0.png is grey of 4 bits, which PIL stretches to 8 \(labels 0, 1 become 0, 17\); a mask"),
        (of_depth(2, 0), r"ADE_0.png is grey of 2 bits, which .* 0, 85\); a mask is a PNG of 8 bits, save its labels"),
        (of_depth(1, 0), r"ADE_0.png is grey of 1 bits, which .* 0, 255\)"),
        (other_format, r"ADE_0.pgm is a PPM; a mask is a PNG of 8 bits, save it as one"),
        (lossy, r"ADE_0.jpeg is a JPEG, which changes numbers near edges; a mask is a PNG"),
        (save(np.ones((48, 36, 3), np.uint8), "validation/ADE_0.png"), r"mask of shape \(48, 36, 3\) for an im"),
        (lambda at: None, r"^146 labels \(4, 5, 6, .*, 13, ...\) have no pixel in the masks of \S*training, so the"),
    ],
)
def test_every_file_is_read_before_training(ade20k: Ade20k, break_it: Callable[[Path], object], message: str) -> None:
    """The sentence names the file or the class, the cause and the cure."""
    break_it(ade20k.folder)
    with pytest.raises(UserError, match=message):
        ade20k.check()


@pytest.mark.parametrize("depth", [2, 4, 8])
def test_a_palette_of_any_depth_has_labels(ade20k: Ade20k, depth: int) -> None:
    """Its indices, for what is checked and for what mmsegmentation reads."""
    from mmseg.datasets.transforms import LoadAnnotations

    of_depth(depth, 3)(ade20k.folder)
    ade20k.model_copy(update={"allow_empty_classes": True}).check()
    at = str(ade20k.folder / "annotations/validation/ADE_0.png")
    read = {"seg_map_path": at, "label_map": None, "reduce_zero_label": False, "seg_fields": list[str]()}
    assert LoadAnnotations()(read)["gt_seg_map"][0].tolist() == [0, 1, 2, 3] * 9


def test_the_digest_names_what_cannot_be_read(ade20k: Ade20k) -> None:
    """A link to nothing among the images."""
    (ade20k.folder / "images/training/more.jpg").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"more.jpg cannot be read \(No such file or directory\); replace it"):
        ade20k.digest()


def test_an_empty_class_is_named_or_allowed(tmp_path: Path) -> None:
    """One class without a pixel, in one split; a folder in order is read to its end."""
    folder, seen = make_folder(tmp_path, ALL), list[tuple[int, int]]()
    recipe = Ade20k(recipe="ade20k", folder=folder)
    recipe.check(lambda *done: seen.append(done))
    assert seen == [(number, 6) for number in range(1, 7)]
    for path in (folder / "annotations/validation").iterdir():
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask == 18, 0, mask)).save(path)
    with pytest.raises(UserError, match=r"^label 18 has no pixel in the masks of \S*validation, .*_classes: true$"):
        recipe.check()
    recipe.model_copy(update={"allow_empty_classes": True}).check()


def test_what_mmsegmentation_reads_otherwise_is_refused(ade20k: Ade20k) -> None:
    """Folders inside folders, and images that are stored turned."""
    path = ade20k.folder / "images/training/ADE_0.jpg"
    turned = Image.Exif()
    turned[0x0112] = 3
    Image.open(path).save(path, exif=turned)
    with pytest.raises(UserError, match=r"ADE_0.jpg is stored turned \(EXIF orientation\)"):
        ade20k.check()
    (ade20k.folder / "annotations/validation/more").mkdir()
    with pytest.raises(UserError, match=r"validation/more is a folder among the files of .*; move its files up"):
        ade20k.check()


def test_all_problems_are_named(ade20k: Ade20k, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together; of very many the first are named and the others counted."""
    for split, sizes in SIZES.items():
        for number in range(len(sizes)):
            (ade20k.folder / "images" / split / f"ADE_{number}.jpg").write_text("")
    with pytest.raises(UserError) as raised:
        ade20k.check()
    lines = str(raised.value).splitlines()
    assert [Path(line.split()[0]).name for line in lines] == [f"ADE_{number}.jpg" for number in (0, 1, 2, 3, 0, 1)]
    monkeypatch.setattr(pictures, "SHOWN", 4)
    with pytest.raises(UserError, match=r"\nand 2 more like these$"):
        ade20k.check()


def test_images_are_found_by_content_and_the_rest_is_said(tmp_path: Path) -> None:
    """Suffixes in any case, other ones and none; what is left out and what is converted."""
    folder = make_folder(tmp_path, ALL)
    recipe = Ade20k(recipe="ade20k", folder=folder)
    assert recipe.check() == ["images with masks: 4 of training, 2 of validation"]
    images = folder / "images/training"
    for number, name in enumerate(["ADE_0.JPG", "ADE_1.jpeg", "ADE_2"]):
        (images / f"ADE_{number}.jpg").rename(images / name)
    Image.fromarray(np.full((33, 31), 40_000, np.uint16)).save(images / "ADE_3.png")
    (images / "ADE_3.jpg").unlink()
    (folder / "annotations/training/ADE_0.png").rename(folder / "annotations/training/ADE_0.PNG")
    digest = recipe.digest()
    for name in (".DS_Store", "notes.txt", "._ADE_0.jpg"):
        (images / name).write_text("no image")
    (images / ".ipynb_checkpoints").mkdir()
    assert recipe.check() == [
        "images with masks: 4 of training, 2 of validation",
        "images/training: left out: 3 hidden or of the system (.DS_Store, ._ADE_0.jpg, .ipynb_checkpoints); "
        "1 of .txt, no images (notes.txt)",
        "images that were converted: 1 of 16 bits, read as their upper 8",
    ]
    assert recipe.digest() == digest
    opened = open_data(recipe)
    assert len(opened.train) == 4
    assert {path.name for path in recipe.open("train").images} == {"ADE_0.JPG", "ADE_1.jpeg", "ADE_2", "ADE_3.png"}
    (images / "ADE_1.jpeg").write_bytes((images / "ADE_0.JPG").read_bytes())
    assert recipe.digest() != digest
    (images / "ADE_3.bmp").touch()
    with pytest.raises(UserError, match=r"ADE_3.bmp and ADE_3.png have one name but for the suffix; take one away"):
        recipe.check()


def test_mmsegmentation_sees_what_is_checked(tmp_path: Path) -> None:
    """Pixels of every kind that is let through are those that were looked at."""
    from mmcv.transforms import LoadImageFromFile

    draw = np.random.default_rng(0)
    colours = Image.fromarray(draw.integers(0, 256, (16, 24, 3), np.uint8))
    clear = Image.fromarray(draw.integers(0, 256, (16, 24, 4), np.uint8))
    deep = Image.fromarray(draw.integers(0, 65536, (16, 24), np.uint16))
    for number, image in enumerate([*map(colours.convert, ("RGB", "L", "1", "P")), clear, clear.convert("LA"), deep]):
        image.save(tmp_path / f"{number}.png")
        loaded = LoadImageFromFile().transform({"img_path": str(tmp_path / f"{number}.png")})["img"]
        assert np.array_equal(loaded[:, :, ::-1], np.asarray(pictures.read(tmp_path / f"{number}.png")[0])), number


def test_the_digest_is_that_of_the_files(tmp_path: Path) -> None:
    """Not of where they lie; another size, name or number of files is another data set."""
    first = Ade20k(recipe="ade20k", folder=make_folder(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    second = first.model_copy(update={"folder": tmp_path / "b"})
    assert first.digest() == second.digest() != "missing"
    mask = tmp_path / "b/annotations/validation/ADE_0.png"
    mask.write_bytes(mask.read_bytes() + b" ")
    changed = second.digest()
    mask.write_bytes(mask.read_bytes()[:-1] + b"x")  # of the same size
    other = second.digest()
    mask.rename(mask.with_stem("ADE_7"))
    assert len({first.digest(), changed, other, second.digest()}) == 4
    assert first.model_copy(update={"folder": tmp_path / "c"}).digest() == "missing"


@pytest.mark.parametrize("stride", [None, 20])
def test_pictures_show_what_the_model_sees(ade20k: Ade20k, stride: int | None) -> None:
    """Red first, labels on the pixels of the resized image, a larger image cut to one window."""
    data = open_data(ade20k.model_copy(update={"stride": stride}))
    found = first_images(data, 5)
    shapes = [(32, 24), (16, 32)] if stride is None else [(32, 32), (32, 32)]
    assert [image.shape[1:] for image, _ in found] == [labels.shape for _, labels in found] == shapes
    for (image, labels), number in zip(found, range(2), strict=True):
        opened = Image.open(ade20k.folder / f"images/validation/ADE_{number}.jpg")
        mask = np.asarray(Image.open(ade20k.folder / f"annotations/validation/ADE_{number}.png"))
        scale = 32 / (max if stride is None else min)(opened.size)
        size = tuple(int(side * scale + 0.5) for side in opened.size)
        assert image.mean((1, 2)) == pytest.approx(np.asarray(opened).mean((0, 1)), abs=16)
        assert set(np.unique(labels)) <= {0, 1, 2, 149, 255}
        rows, columns = (np.arange(new) * old // new for new, old in zip(size[::-1], mask.shape, strict=True))
        assert np.array_equal(labels + np.uint8(1), mask[rows][:, columns][:32, :32])


def write_weights(path: Path) -> nn.Module:
    """Weights of an EVA-02 of the same width, for patches of 14 pixels and without a head, as timm's hub has them."""
    torch.manual_seed(1)
    model: nn.Module = create_backbone("eva02_large_patch14_224", SMALL | {"img_size": 56, "patch_size": 14}, 0)
    path.parent.mkdir()
    save_file(model.state_dict(), path)
    return model


def test_weights_for_other_patches_fit(tmp_path: Path) -> None:
    """Timm resizes what depends on the size; all the rest is as in the file, and the new head stays."""
    source = write_weights(tmp_path / "weights/eva.safetensors").state_dict()
    model = create_backbone("eva02_large_patch14_224", SMALL, 150)
    head = model.head.weight.clone()
    fitted(model, Checkpoint.read(tmp_path / "weights/eva.safetensors")).load_into(model)
    resized = {
        name for name, value in model.state_dict().items() if not torch.equal(value, source.get(name, value + 1))
    }
    assert resized == {"patch_embed.proj.weight", "head.weight", "head.bias"}
    assert torch.equal(model.head.weight, head)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    save_file(own, tmp_path / "own.safetensors")
    other = create_backbone("eva02_large_patch14_224", SMALL, 150)
    fitted(other, Checkpoint.read(tmp_path / "own.safetensors")).load_into(other)
    assert torch.equal(other.head.weight, head)
    wide = create_backbone("eva02_large_patch14_224", SMALL | {"embed_dim": 48}, 150)
    with pytest.raises(UserError, match=r"own.safetensors does not fit Eva: it has .* of shape .* instead of"):
        fitted(wide, Checkpoint.read(tmp_path / "own.safetensors")).load_into(wide)


def reduced_study(**changes: Any) -> dict[str, Any]:
    """The committed study for a small folder and a narrow backbone: every row, one seed, two updates."""
    study: dict[str, Any] = yaml.safe_load(STUDY.read_text())
    for row in study["methods"]:
        if isinstance(row, dict) and "settings" in row:
            row["settings"]["queries"] = 16
    study["data"] |= {"folder": "ade", "size": 32}
    study["backbone"]["options"] = SMALL
    study["start"] = "weights/eva.safetensors"
    study["schedules"] = [{"constant": 3, "blocks": [0, 1, 2], "extra_first": 1}]
    study["finetune"] |= {"epochs": 2, "device": "cpu", "precision": "bfloat16", "workers": 1, "threads": 1}
    return study | {"seeds": [0]} | changes


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the reduced study ran once."""
    home = tmp_path_factory.mktemp("ade20k")
    make_folder(home / "ade", ALL)
    write_weights(home / "weights/eva.safetensors")
    (home / "trial.yaml").write_text(json.dumps(reduced_study()))
    done = here(home, *RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    return home


@pytest.mark.slow
def test_the_papers_study_runs_at_reduced_width(ran: Path) -> None:
    """All of its rows, through every stage: data, weights, training, scores of 150 classes, costs, table."""
    rows = rows_of(ran)
    study = reduced_study()
    assert len({row["row"] for row in rows}) == len(study["methods"]) == 12
    assert {row["status"] for row in rows} == {"done"}
    classes = {row["metric"] for row in rows if row["metric"].startswith("iou_")}
    assert len(classes) == 150
    assert {"iou_bed", "iou_chest of drawers"} < classes
    values = {
        (row["row"], row["metric"]): float(row["value"]) for row in rows if row["value"] and not row["repetition"]
    }
    assert values["none", "tokens_fewest"] == 17
    assert values["cropr + last-layer", "tokens_fewest"] == 7
    cells = [json.loads(path.read_text()) for path in (ran / ".suite/cells").iterdir()]
    found = {(*cell["curves"]["loss"], cell["metrics"]["aacc_last"], cell["metrics"]["miou_last"]) for cell in cells}
    assert len(found) == 12, "no two rows are the same model"
    assert "cropr + concatenation" in (ran / "results/trial/table.md").read_text()


@pytest.mark.slow
def test_it_starts_from_the_file(ran: Path) -> None:
    """Cells know the file by its bytes and the data by its digest, and neither by a path."""
    cells = [json.loads(path.read_text()) for path in (ran / ".suite/cells").iterdir()]
    identity = cells[0]["identity"]
    assert identity["start"].startswith("weights ")
    assert str(ran) not in json.dumps([cell["identity"] for cell in cells])
    assert (identity["precision"], identity["device"]) == ("bfloat16", "cpu")
    assert len(identity["data"]["digest"]) == 16
    assert "folder" not in identity["data"]["recipe"]


@pytest.mark.slow
def test_a_cell_starts_from_the_file(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its backbone has the file's weights when training begins; another file under that name is refused."""
    monkeypatch.chdir(ran)
    cell = next(cell for cell in expand(load("trial.yaml").study) if cell.row == "cropr + last-layer")
    seen: dict[str, Tensor] = {}

    def spy(model: ReducedModel, *_: object) -> dict[str, Any]:
        seen.update({name: value.clone() for name, value in model.backbone.state_dict().items()})
        paths = [type(block.drop_path1).__name__ for block in model.backbone.blocks]
        assert paths == ["Identity", *["DropPath"] * 3, "Identity"]
        raise UnmetNeed("seen enough")

    monkeypatch.setattr(execute, "_train", spy)
    monkeypatch.setattr(execute, "seed_everything", lambda _identity: None)
    job = Job(cell.identity, None, places=cell.places)
    assert run_cell(job)["reason"] == "seen enough"
    for name, value in Checkpoint.read("weights/eva.safetensors").weights.items():
        assert name == "patch_embed.proj.weight" or torch.equal(seen[name], value), name
    other = ran / "weights/other.safetensors"
    save_file({"pos_embed": torch.zeros(1)}, other)
    with pytest.raises(UserError, match=r"other.safetensors is not the file that this study was planned with"):
        run_cell(Job(cell.identity, None, places=cell.places | {"start": str(other)}))


@pytest.mark.slow
def test_a_study_says_which_weights_of_a_file(
    ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Raw ones if it does not, as before; others make other cells, which begin with them."""
    monkeypatch.chdir(ran)
    raw = Checkpoint.read("weights/eva.safetensors").weights
    averaged = {name: value + 1 for name, value in raw.items()}
    torch.save({"model": raw, "model_ema": averaged}, tmp_path / "both.pth")
    cells = {}
    for name, chosen in (("plain", {}), ("chosen", {"start_weights": "model_ema"})):
        (tmp_path / f"{name}.yaml").write_text(json.dumps(reduced_study(start=str(tmp_path / "both.pth"), **chosen)))
        study = load(str(tmp_path / f"{name}.yaml")).study
        cells[name] = next(cell for cell in expand(study) if cell.row == "cropr + last-layer")
        check_inputs(study, Console(markup=False, width=500))
    assert cells["chosen"].identity["start"] == f"{cells['plain'].identity['start']} model_ema"
    said = capsys.readouterr().out
    assert "start: model (the file has model_ema too; choose with" in said
    assert "start: model_ema (the file has model too" in said
    assert "data: images with masks: 4 of training, 2 of validation" in said
    monkeypatch.setattr(execute, "seed_everything", lambda _identity: None)
    for name, weights in (("plain", raw), ("chosen", averaged)):
        seen: list[Tensor] = []

        def spy(model: ReducedModel, *_: object, seen: list[Tensor] = seen) -> dict[str, Any]:
            seen.append(model.backbone.state_dict()["cls_token"])
            raise UnmetNeed("seen enough")

        monkeypatch.setattr(execute, "_train", spy)
        assert run_cell(Job(cells[name].identity, None, places=cells[name].places))["reason"] == "seen enough"
        assert torch.equal(seen[0], weights["cls_token"])
    base = {"recipe": {"epochs": 1, "learning_rate": 1e-3, "batch_size": 2}}
    (tmp_path / "none.yaml").write_text(json.dumps(reduced_study(start=None, base=base, start_weights="model")))
    with pytest.raises(UserError, match="start_weights names weights in the file `start`, and there is none"):
        load(str(tmp_path / "none.yaml"))


@pytest.mark.slow
def test_maps_of_ade20k(ran: Path) -> None:
    """A line for every row, from the folder's images."""
    done = here(ran, "figures", "trial.yaml", "--only", "maps")
    assert done.returncode == 0, done.stderr
    image = np.asarray(Image.open(ran / "results/trial/maps.png"))
    assert image.shape[0] > 13 * 100


@pytest.mark.slow
def test_what_is_missing_is_named(ran: Path, tmp_path: Path) -> None:
    """Planning works without data and weights, and says so; running does not."""
    for name in ("ade", "weights"):
        (tmp_path / name).mkdir()
    (tmp_path / "trial.yaml").write_text(
        json.dumps(reduced_study(start="weights/none.pt", data={"recipe": "ade20k", "folder": "here", "size": 32}))
    )
    planned = here(tmp_path, "plan", "trial.yaml")
    assert planned.returncode == 0
    assert len(planned.stdout.splitlines()) == 12 + 1, "the cells, and what they will take"
    for done in (planned, here(tmp_path, *RUN)):
        assert "data.folder: there is no here in" in done.stderr
        assert "start: there is no weights/none.pt in" in done.stderr
    assert done.returncode == 2
    assert not (tmp_path / ".suite/cells").exists()


@pytest.mark.slow
def test_a_broken_folder_stops_before_training(ran: Path, tmp_path: Path) -> None:
    """With the file's name, and nothing recorded."""
    shutil.copytree(ran / "weights", tmp_path / "weights")
    broken(make_folder(tmp_path / "ade", ALL))
    (tmp_path / "trial.yaml").write_text(json.dumps(reduced_study()))
    done = here(tmp_path, *RUN)
    assert done.returncode == 2
    assert "ADE_2.jpg cannot be read (image file is truncated" in done.stderr
    assert not (tmp_path / ".suite/cells").exists()


def test_paths_are_dropped_as_officially() -> None:
    """Linearly over the blocks up to the rate, and none in the last."""
    backbone = create_backbone("eva02_large_patch14_224", SMALL, 5, drop_path=0.2)
    task("segmentation").prepare(backbone)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in backbone.blocks]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0])
    assert rates == [getattr(block.drop_path2, "drop_prob", 0.0) for block in backbone.blocks]


def test_the_study_is_the_published_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens after every module as the official log has them; 20,210 images in 64 epochs are its 161,728 updates."""
    monkeypatch.chdir(STUDY.parents[1])
    study = load("ade20k-eva02").study
    cells = expand(study)
    cell = next(cell for cell in cells if cell.row == "cropr + last-layer")
    assert len(cells) == 12 * 5
    left = 1024 - np.cumsum(cell.identity["removed"])
    assert (left[:22] + 1).tolist() == list(range(984, 143, -40))
    assert left[22:].tolist() == [143, 143]
    assert -(-20210 // study.finetune.batch_size) * study.finetune.epochs == 161728
    assert (study.finetune.learning_rate, study.finetune.drop_path, study.finetune.min_learning_rate) == (2e-5, 0.2, 0)


def test_a_file_that_changes_has_another_digest(tmp_path: Path) -> None:
    """In one process, and none is remembered as missing."""
    path = tmp_path / "weights.pt"
    assert known_weights(path) == "weights missing"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    first = known_weights(path)
    path.write_bytes(b"two")
    os.utime(path, (2, 2))  # a file system's clock may tick every hundredth of a second, or every second one
    assert len({"weights missing", first, known_weights(path)}) == 3


def test_scores_are_computed_in_the_precision(ade20k: Ade20k) -> None:
    """Validation too."""
    model = reduce(BACKBONES["eva02"](num_classes=150), "none")
    found: set[torch.dtype] = set()
    model.backbone.head.register_forward_hook(lambda _module, _inputs, output: found.add(output.dtype))
    evaluate(model, open_data(ade20k), "bfloat16")
    assert found == {torch.bfloat16}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_and_scores(ade20k: Ade20k, precision: str) -> None:
    """Near float32, but not equal to it; gradients of float16 are scaled and unscaled again."""
    losses = {}
    for kind in ("float32", precision):
        torch.manual_seed(0)
        model = reduce(BACKBONES["eva02"](num_classes=150), "cropr", REMOVED, {"queries": 64}, "last-layer")
        recipe = SegmentationRecipe(epochs=2, batch_size=2, learning_rate=1e-3, precision=kind, clip_gradient=1.0)
        losses[kind] = [epoch.loss for epoch in train(model, open_data(ade20k), recipe, seed=0)]
    assert losses[precision] != losses["float32"]
    assert losses[precision] == pytest.approx(losses["float32"], rel=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task": "classification", "finetune": {"epochs": 1, "learning_rate": 1e-3}},
            "data.recipe: classification needs labels, ade20k offers maps",
        ),
        ({"base": {"recipe": {"epochs": 1, "learning_rate": 1e-3}}}, "a file of weights, `start`; found both"),
        ({"start": None}, "a file of weights, `start`; found neither"),
        ({"data": {"recipe": "ade20k", "folder": "ade", "size": 40}}, "32 x 32 pixels, data.size is 40 x 40"),
        ({"data": {"recipe": "ade20k", "folder": "ade", "size": 24}}, "32 x 32 pixels, data.size is 24 x 24"),
        ({"data": {"recipe": "ade20k"}}, "data.folder: this key is required"),
        ({"data": {"recipe": "ade20k", "folder": "ade", "scale": [2.0, 0.5]}}, "data: scale must rise"),
        ({"data": {"recipe": "ade20k", "folder": "ade", "stride": 513}}, "data: stride must be at most the size of a"),
        (
            {"track_scores": True},
            "track_scores: scores are looked at on images in memory, and those of ade20k are files",
        ),
        ({"data": {"recipe": "coco"}}, "data.recipe: unknown data set 'coco'"),
    ],
)
def test_impossible_studies_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    """By place and cause."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trial.yaml").write_text(json.dumps(reduced_study(**changes)))
    with pytest.raises(UserError, match=message):
        load("trial.yaml")
