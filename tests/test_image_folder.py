"""Folders of images: which class is which output, what is read and left out, and what pixels become."""

from __future__ import annotations

import json
import os
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbones import build
from hand_made_png import png
from PIL import Image
from torch import nn

from suite import api
from suite.cli.app import main
from suite.data import pictures
from suite.data.classes import ordered
from suite.data.labelled import Labelled
from suite.data.pictures import read
from suite.data.sources import open_images
from suite.errors import UserError

# isort: split
from timm.data import ImageNetInfo
from torchvision.datasets.folder import default_loader

pytestmark = pytest.mark.usefixtures("own_cache")
NOISE = np.random.default_rng(0).integers(0, 256, (36, 40, 3), np.uint8)
RAMP = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
NUMBERS = [str(number) for number in range(12)]
IMAGENET = ImageNetInfo()


def picture(path: Path, kind: str = "PNG", **options: Any) -> Path:
    """An image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(NOISE).save(path, kind, **options)
    return path


def class_folders(root: Path, *names: str, each: int = 1) -> Path:
    """A folder with so many images in each of these folders."""
    for name in names:
        for number in range(each):
            picture(root / name / f"{number}.png")
    return root


def opened(root: Path, order: Any = None) -> Labelled:
    """The folder as evaluation reads it, all of it looked at."""
    found = open_images(root, order)
    found.check()
    return found


def saying(number: int, classes: int) -> nn.Module:
    """A model that says this class of every image."""
    model = build("vit", num_classes=classes)
    nn.init.zeros_(model.head.weight)
    model.head.bias.data = torch.eye(classes)[number]
    return model


def test_one_name_beside_numbers_does_not_hide_them() -> None:
    """Two orders are meant by the numbered ones; both are shown as the choices give them."""
    with pytest.raises(
        UserError,
        match=r"x has numbered folders, which are 0, 1, 10, 2, 3, ... in the order of text and background, 0, 1, 2",
    ):
        ordered(["background", "0", "1", "2", "3", "10"], Path("x"), None)


WORDS = ["cat", "dog", "owl", "fox", "yak", "bat", "cow", "pig", "hen", "ape", "ant", "bee"]


@pytest.mark.parametrize(
    "names",
    [
        [f"{number}_{word}" for number, word in enumerate(WORDS)],
        [f"{number} - {word}" for number, word in enumerate(WORDS)],
        [f"{word}{number}" for number in range(1, 12) for word in ("cat", "dog")],
        ["cat", "dog", "fox", "owl", "1", "2", "10"],
        ["-2", "-1", "0", "1", "2"],
        ["DC-3", "DC-10", "A300", "707-320"],
        ["other", "set1_9", "set1_10"],
    ],
)
def test_two_orders_of_some_folders_are_refused(names: list[str]) -> None:
    """Whatever follows the number or lies beside; by a word either order is taken."""
    with pytest.raises(UserError, match=r"has numbered folders, which are .* --classes text, .* or --classes FILE"):
        ordered(names, Path("x"), None)
    assert ordered(names, Path("x"), "text")[0] == tuple(sorted(names))
    assert ordered(names[::-1], Path("x"), "number")[0] == tuple(names)


@pytest.mark.parametrize("name", ["{}", "class_{}", "c{} (new)"])
def test_numbered_folders_have_no_order_of_their_own(tmp_path: Path, name: str) -> None:
    """Text says 10 is the third, numbers the eleventh: whoever evaluates says which the model was trained with."""
    for number in range(12):
        class_folders(tmp_path, name.format(number), each=9 if number == 10 else 1)
    with pytest.raises(
        UserError, match=r"has numbered folders, which are \S*0.*10.* in the order of text and .*--class"
    ):
        api.evaluate(saying(10, 12), tmp_path)
    assert api.evaluate(saying(10, 12), tmp_path, classes="number") == (20, 45.0, pytest.approx(65))
    assert api.evaluate(saying(2, 12), tmp_path, classes="text").top1 == 45
    (tmp_path.parent / "classes.txt").write_text("\n".join(name.format(number) for number in range(12)))
    assert api.evaluate(saying(10, 12), tmp_path, classes=tmp_path.parent / "classes.txt").top1 == 45


@pytest.mark.parametrize(
    "names",
    [
        [f"{number:02}" for number in range(12)],
        NUMBERS[:10],
        [f"{number:02}_{word}" for number, word in enumerate(WORDS)],
        ["DC-3", "DC-9", "707-320", "A300"],
        ["2_dogs", "cats_10", "owl_9"],
        ["n01440764", "n01443537", "n02979186"],
    ],
)
def test_names_that_say_one_order_need_no_word(names: list[str]) -> None:
    """Numbers of one width, and names in which a number is one part of many."""
    assert ordered(names[::-1], Path("x"), None) == (tuple(sorted(names)), "in the order of their names")


def test_capitals_before_small_letters_are_said() -> None:
    """Which timm has otherwise."""
    names = ["cat", "Dog", "owl2", "fox10 "]
    said = "in the order of their names, capitals before small letters"
    assert ordered(names, Path("x"), None) == (("Dog", "cat", "fox10 ", "owl2"), said)
    assert ordered(["Cat", "Dog"], Path("x"), None)[1] == ordered(["cat", "dog"], Path("x"), None)[1]


def test_imagenets_order_is_that_of_its_folders() -> None:
    """A thousand names are compared with the official ones: other folders and words have another order."""
    official = IMAGENET.label_names()
    assert ordered(official[::-1], Path("x"), None) == (tuple(official), "ImageNet's own order")
    for separator in "_- ":
        longer = [f"{name}{separator}word" for name in official]
        assert ordered(longer, Path("x"), None) == (tuple(longer), "ImageNet's own order")
    with pytest.raises(
        UserError, match=r"x has 1000 folders named as in ImageNet, but n99999999 are none .* n01440764"
    ):
        ordered(["n99999999", *official[1:]], Path("x"), None)
    words = [line.split(",")[0].replace(" ", "_") + f"{'_2' * 0}" for line in IMAGENET.label_descriptions()]
    unique = [word if words.index(word) == place else f"other {place}" for place, word in enumerate(words)]
    with pytest.raises(UserError, match="x has ImageNet's classes by their words, whose alphabet is not its order"):
        ordered(unique, Path("x"), None)
    assert ordered(unique, Path("x"), unique)[0] == tuple(unique)
    own = [f"{number:04}" for number in range(1000)]
    assert ordered(own, Path("x"), None) == (tuple(own), "in the order of their names, which is not ImageNet's")


@pytest.mark.parametrize(
    "content",
    [
        "owl\ncat\ndog\n",
        "\ufeffowl\r\ncat\r\ndog\r\n\r\n",
        '["owl", "cat", "dog"]',
        '{"cat": 1, "dog": 2, "owl": 0}',
        '{"2": "dog", "0": "owl", "1": "cat"}',
        '{"cat": "1", "dog": "2", "owl": "0"}',
        '{"2": ["n03", "dog"], "0": ["n01", "owl"], "1": ["n02", "cat"]}',
        '[["owl", "night"], ["cat", "day"], ["dog", "day"]]',
        '{"architectures": ["ViT"], "id2label": {"0": "owl", "1": "cat", "2": "dog"}, "label2id": {"owl": "0"}}',
        '{"hidden_size": 768, "label2id": {"cat": 1, "dog": 2, "owl": 0}}',
        "0,owl\n1,cat\n2,dog\n",
        "2 dog\n0 owl\n\n1 cat\n",
        "0: owl\n1: cat\n2: dog",
        "dog 2\nowl 0\ncat 1",
        "owl\n\ncat\n \ndog",
    ],
)
def test_a_file_says_which_class_is_which_output(tmp_path: Path, content: str) -> None:
    """Names by line, or in JSON in three forms."""
    root, file = class_folders(tmp_path / "data", "cat", "dog", "owl"), tmp_path / "classes"
    file.write_bytes(content.encode())
    found = opened(root, file)
    assert [path.parent.name for path in found.pictures] == ["owl", "cat", "dog"]
    assert found.labels.tolist() == [0, 1, 2]
    assert found.said == [f"3 images of {root} in 3 classes, in the order of {file}: 0 owl, 1 cat, 2 dog"]


@pytest.mark.parametrize(
    ("names", "content"),
    [
        (["n02", "n01"], '{"0": ["n02", "tench"], "1": ["n01", "shark"]}'),
        (["n01443537", "n01440764"], "n01443537 goldfish, Carassius\nn01440764 tench, Tinca tinca"),
        (["n01443537", "n01440764"], "1,n01440764,tench\n0,n01443537,goldfish"),
        (["n01440764_tench", "n01440764_trout"], "n01440764_tench\nn01440764_trout"),
        (["2 dogs", "0 cats", "1 owl"], "2 dogs\n0 cats\n1 owl"),
        (["cafe\u0301 ", "bar"], '["caf\u00e9", "bar"]'),
    ],
)
def test_a_line_names_a_folder_as_a_whole_or_by_its_part(tmp_path: Path, names: list[str], content: str) -> None:
    """Lists of ImageNet have words beside ids; a number may be part of a name."""
    (tmp_path / "list").write_text(content, encoding="utf-8")
    assert ordered(sorted(names), Path("x"), tmp_path / "list")[0] == tuple(names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cat\ndog", "does not name the folders owl of"),
        ("cat\ndog\nowl\ncat", "names the class cat twice"),
        ('{"cat": true, "dog": false, "owl": 2}', "must have each number from 0 to 2 once"),
        ('{"dog": true, "cat": false}', "must have each number from 0 to 1 once"),
        ("1 cat\n2 dog\n3 owl", "must have each number from 0 to 2 once"),
        ("[" * 100_000, "is neither text with a class in each line nor JSON"),
        ("", "must have the name of a class in every line"),
        ('["cat", 3]', "must have the name of a class in every line or entry"),
        ('{"cat": 0, "dog": 1, "owl": 3}', "must have each number from 0 to 2 once"),
        ('{"cat": 1, "dog": 2, "owl": 1}', "must have each number from 0 to 2 once"),
        ('["cat", " "]', "must have the name of a class in every line or entry"),
        ("0 cat\n0 dog\n1 owl", "does not name the folders cat, dog, owl of"),
        (f'{{"{"1" * 5000}": "cat"}}', "must have each number from 0 to 0 once"),
        ('{"cat": "dog"}', "must have each number from 0 to 0 once"),
        ('["cat",', "is neither text with a class in each line nor JSON"),
        ("cat\ndog\nowl\nyak", r"names 4 classes but the model has 3 classes \(found: cat, dog, owl, yak\)"),
        (None, "--classes: there is no file"),
    ],
)
def test_a_file_that_fits_no_folders_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    """By the name or number that is at fault."""
    root, file = class_folders(tmp_path / "data", "cat", "dog", "owl"), tmp_path / "classes"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=message):
        api.evaluate(saying(0, 3), root, classes=file)


def test_a_list_in_python_has_names() -> None:
    """As a file has them."""
    with pytest.raises(UserError, match="classes must have the name of a class in every line or entry"):
        ordered(["cat", "dog"], Path("x"), ["dog", 1])  # type: ignore[list-item]


def test_hidden_and_junk_folders_are_no_classes(tmp_path: Path) -> None:
    """Nor are they looked into, wherever they lie; it is said that they are left out."""
    root = class_folders(tmp_path, "cat", "dog", "owl", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "dog/.thumbs")
    class_folders(tmp_path, "owl/young")
    (root / "lost+found").mkdir()
    found = opened(root)
    assert found.classes == ("cat", "dog", "owl")
    assert found.labels.tolist() == [0, 1, 2, 2]
    assert found.said[1] == "left out: 5 hidden or of the system (.ipynb_checkpoints, @eaDir, __MACOSX, ...)"
    with pytest.warns(UserWarning, match=r"left out: 5 hidden or of the system \(.ipynb_checkpoints, @eaDir"):
        assert api.evaluate(saying(2, 3), root).top1 == 50


def test_folders_that_are_no_classes_are_named(tmp_path: Path) -> None:
    """Empty ones, unless a list names them; parts of a data set; too many; images that lie in none."""
    root = class_folders(tmp_path / "a", "cat", "dog")
    (root / "new folder").mkdir()
    with pytest.raises(UserError, match=r"there are no images in new folder; take such folders away, or name all"):
        opened(root)
    found = opened(root, ["dog", "new folder", "cat"])
    assert found.said[1] == "1 classes have no image"
    assert found.labels.tolist() == [0, 2]
    with pytest.raises(UserError, match=r"it has the parts Test, train of a data set; give one of those folders"):
        opened(class_folders(tmp_path / "b", "train/cat", "Test/cat"))
    with pytest.raises(UserError, match=r"c has 4 folders but the model has 3 classes \(found: cat, dog, owl, yak\)"):
        api.evaluate(saying(0, 3), class_folders(tmp_path / "c", "cat", "dog", "owl", "yak"))
    picture(tmp_path / "d/ILSVRC2012_val_00000001.JPEG", "JPEG")
    with pytest.raises(UserError, match=r"its 1 images lie in no folder; move the images of each class into a folder"):
        opened(tmp_path / "d")


def test_what_is_read_is_found_by_content_and_the_rest_is_said(tmp_path: Path) -> None:
    """Suffixes in any case, other ones and none; files that are no images; links that lead back."""
    root = class_folders(tmp_path, "cat", "dog")
    for name, kind in {
        "a.JPG": "JPEG",
        "b.jfif": "JPEG",
        "c.gif": "GIF",
        "d": "JPEG",
        "e.dat": "PNG",
        "f.mpo": "MPO",
    }.items():
        picture(root / "dog" / name, kind)
    for name in ("notes.txt", "labels.TXT", "README", "._a.JPG", "Thumbs.db"):
        (root / "dog" / name).write_text("no image")
    (root / "dog/all").symlink_to(root)
    os.mknod(root / "dog/README.socket", stat.S_IFSOCK)
    picture(root / "loose.png")
    found = opened(root)
    assert len(found) == 8
    assert found.said[1] == (
        "left out: 1 a link to a folder above it (all); 2 hidden or of the system (._a.JPG, Thumbs.db); "
        "1 in no class folder (loose.png); 1 of .TXT, no images (labels.TXT); "
        "1 of .socket, no images (README.socket); 1 of .txt, no images (notes.txt); "
        "1 of no suffix, no images (README)"
    )


def grey(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same in three channels."""
    return np.repeat(image[:, :, None], 3, axis=2)


RGB = Image.fromarray(NOISE)
CLEAR = Image.fromarray(np.dstack([NOISE, NOISE[:, :, 0]]))
EXIF = Image.Exif()
EXIF[0x0112] = 6
UPRIGHT = Image.Exif()
UPRIGHT[0x0112] = 0  # as some cameras write
CAMERA = {"format": "MPO", "save_all": True, "append_images": [RGB.rotate(90)]}  # two pictures of one moment
READ: list[tuple[str, Image.Image, dict[str, Any], Any, str]] = [
    ("rgb.png", RGB, {}, NOISE, ""),
    ("grey.png", RGB.convert("L"), {}, grey(np.asarray(RGB.convert("L"))), ""),
    ("ramp.png", Image.fromarray(RAMP), {}, grey((RAMP >> 8).astype(np.uint8)), "of 16 bits, read as their upper 8"),
    ("ramp.tif", Image.fromarray(RAMP), {}, grey((RAMP >> 8).astype(np.uint8)), "of 16 bits, read as their upper 8"),
    ("two.png", RGB.convert("1"), {}, grey(np.asarray(RGB.convert("1")) * np.uint8(255)), ""),
    ("palette.png", RGB.quantize(20), {}, np.asarray(RGB.quantize(20).convert("RGB")), ""),
    ("palette.gif", RGB.quantize(20), {}, np.asarray(RGB.quantize(20).convert("RGB")), ""),
    ("hole.png", RGB.quantize(20), {"transparency": b"\0\x80"}, np.asarray(RGB.quantize(20).convert("RGB")), "transp"),
    ("clear.png", CLEAR, {}, NOISE, "with transparency, read without it"),
    ("clear.webp", CLEAR, {"lossless": True, "exact": True}, NOISE, "with transparency, read without it"),
    ("clear-grey.png", CLEAR.convert("LA"), {}, grey(np.asarray(RGB.convert("L"))), "with transparency"),
    ("print.tif", RGB.convert("CMYK"), {}, np.asarray(RGB.convert("CMYK").convert("RGB")), "of CMYK, read as PIL"),
    ("turned.png", RGB, {"exif": EXIF}, NOISE, "turned by EXIF, read as torchvision and timm do"),
    ("turned.jpg", RGB, {"exif": EXIF, "quality": 100}, None, "turned by EXIF, read as torchvision and timm do"),
    ("broken-exif.png", RGB, {"exif": b"no EXIF"}, NOISE, ""),
    ("broken-exif.webp", RGB, {"exif": b"no EXIF", "lossless": True}, NOISE, ""),
    ("upright.jpg", RGB, {"exif": UPRIGHT}, None, ""),
    ("camera.jpg", RGB, CAMERA, None, ""),
    ("turned.tiff", RGB, {"exif": EXIF}, None, "turned by EXIF, read as torchvision and timm do"),
]


@pytest.mark.parametrize(("name", "image", "options", "expected", "note"), READ, ids=[case[0] for case in READ])
def test_every_kind_of_pixels_becomes_8_bit_colours(
    tmp_path: Path, name: str, image: Image.Image, options: dict[str, Any], expected: Any, note: str
) -> None:
    """As torchvision and timm have them; 16 bits keep the upper 8. What is not plain is said."""
    image.save(tmp_path / name, **options)
    found, said = read(tmp_path / name)
    assert np.array_equal(np.asarray(found), default_loader(str(tmp_path / name)) if expected is None else expected)
    assert note in said
    assert bool(note) == bool(said)


DEEP = np.arange(0, 65536, 683, dtype=np.uint16).reshape(8, 12)  # numbers of 12 pixels or of 3 x 4


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("rgb.png", png(DEEP, 16, 2), "of 16 bits, read as their upper 8"),
        ("rgba.png", png(DEEP, 16, 6), "of 16 bits, read as their upper 8 and with transparency, read without it"),
        ("la.png", png(DEEP, 16, 4), "of 16 bits, read as their upper 8 and with transparency, read without it"),
        ("grey.png", png(DEEP, 16, 0), "of 16 bits, read as their upper 8"),
        ("four.png", png(DEEP % 16, 4, 0), ""),
        ("rgb.ppm", b"P6 4 8 65535\n" + DEEP.astype(">u2").tobytes(), "of more than 8 bits, read as PIL scales them"),
        ("plain.ppm", b"P3 1 1 1000 1 500 1000", "of more than 8 bits, read as PIL scales them"),
        ("grey.pgm", b"P5 8 12 1000\n" + (DEEP % 1000).astype(">u2").tobytes(), "of 16 bits, read as their upper 8"),
        ("plain.pbm", b"P1 2 2 0 1 1 0", ""),
        ("rgb.pnm", b"P6 4 8 255\n" + (DEEP >> 8).astype(np.uint8).tobytes(), ""),
    ],
)
def test_more_than_8_bits_are_counted(tmp_path: Path, name: str, content: bytes, note: str) -> None:
    """In colours and with transparency as in grey; the pixels are those of other loaders."""
    (tmp_path / name).write_bytes(content)
    found, said = read(tmp_path / name)
    assert said == note
    if not name.startswith("grey"):
        assert np.array_equal(np.asarray(found), default_loader(str(tmp_path / name)))


def test_links_to_nothing_are_left_out(tmp_path: Path) -> None:
    """Without a suffix of images; with one they are named as broken."""
    root = class_folders(tmp_path, "cat", "dog")
    for name, target in {"gone": "nowhere", "itself": "itself", "gone.txt": "nowhere"}.items():
        (root / "dog" / name).symlink_to(target)
    found = opened(root)
    assert found.said[1] == "left out: 3 a link to nothing (gone, gone.txt, itself)"
    (root / "dog/gone.png").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"dog/gone.png cannot be read \(.*No such file"):
        opened(root)


def test_each_waits_for_no_more_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """All items, in order, counted; those of later batches are not looked at before they are asked for."""
    monkeypatch.setattr(pictures, "BATCH", 4)
    seen, told = list[int](), list[int]()
    found = pictures.each(lambda item: seen.append(item) or -item, range(10), lambda done, _: told.append(done))
    assert next(found) == 0
    assert set(seen) <= set(range(4))
    assert list(found) == [-item for item in range(1, 10)]
    assert told == [*range(1, 11)]
    assert sorted(seen) == [*range(10)]


def test_links_do_not_lead_round(tmp_path: Path) -> None:
    """Of class folders to each other, to all of them or to what is above: images are read once for each link."""
    root = class_folders(tmp_path / "data", "cat", "dog")
    for link, target in {"all": ".", "above": "..", "cat/dogs": "dog", "dog/cats": "cat", "dog/own": "dog"}.items():
        (root / link).symlink_to((root / target).resolve())
    found = opened(root)
    assert found.classes == ("cat", "dog")
    pairs = zip(found.pictures, found.labels.tolist(), strict=True)
    assert [(path.relative_to(root).as_posix(), label) for path, label in pairs] == [
        *(("cat/0.png", 0), ("cat/dogs/0.png", 0), ("dog/0.png", 1), ("dog/cats/0.png", 1))
    ]
    assert "6 a link to a folder above it" in found.said[1]


def test_each_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On network drives that is what costs."""
    root, asked = class_folders(tmp_path, "cat/a/b", "dog"), list[Path]()
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: asked.append(self) or iterdir(self))
    open_images(root)
    assert asked == [root, root / "cat", root / "cat/a", root / "cat/a/b", root / "dog"]


def inverted(path: Path) -> None:
    """16 bit grey whose 0 is white."""
    Image.fromarray(RAMP).save(path, tiffinfo={262: 0})


def spoiled(path: Path) -> None:
    """A PNG whose second half is zeros."""
    content = picture(path).read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))


def signed(path: Path) -> None:
    """16 bit numbers that may be below 0."""
    path.write_bytes(tiff(16, 2))


def tiff(bits: int, kind: int) -> bytes:
    """Four numbers of so many bits; `kind` 2 is signed."""
    tags = {256: 2, 257: 2, 258: bits, 259: 1, 262: 1, 273: 200, 277: 1, 278: 2, 279: bits // 2, 339: kind}
    entries = b"".join(struct.pack("<HHIHxx", tag, 3, 1, value) for tag, value in tags.items())
    return (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries).ljust(200, b"\0") + bytes(bits // 2)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("f.tif", lambda at: Image.fromarray(RAMP / np.float32(65535)).save(at), r"mode F, floating point.* RGB of 8"),
        ("i.tiff", lambda at: Image.fromarray(RAMP.astype(np.int32)).save(at), r"mode I, whole numbers of 32 bits"),
        ("lab.tif", lambda at: Image.new("LAB", (9, 9)).save(at), r"mode LAB, colours that are not known"),
        ("inverted.tif", inverted, r"is a TIFF of 16 bits with white as 0; save it with black as 0"),
        ("signed.tif", signed, r"mode I, whole numbers of 16 bits, whose range"),
        ("twelve.tif", lambda at: at.write_bytes(tiff(12, 1)), r"is a TIFF of 12 bits; save it with 8"),
        ("a.gif", lambda at: RGB.save(at, save_all=True, append_images=[CLEAR]), r"has 2 frames or pages; save the"),
        ("a.png", lambda at: RGB.save(at, save_all=True, append_images=[CLEAR]), r"has 2 frames or pages"),
        ("a.tif", lambda at: RGB.save(at, save_all=True, append_images=[RGB]), r"has 2 frames or pages"),
        ("a.webp", lambda at: RGB.save(at, save_all=True, append_images=[CLEAR]), r"has 2 frames or pages"),
        (
            "a.heic",
            lambda at: at.write_bytes(b"\0\0\0\x18ftypheic" + bytes(99)),
            r"cannot be read, it is none of JPEG, .* whose pixels are known here; replace it by one in RGB of 8 bits",
        ),
        ("half.tif", lambda at: at.write_bytes(tiff(16, 3)), r"cannot be read, it is none .* in RGB of 8 bits"),
        ("none.jpg", lambda at: at.write_bytes(b"\x90" * 99), r"cannot be read, it is none of .*PPM; replace it, or"),
        ("a.JPG", lambda at: at.write_text("404"), r"cannot be read, it is a text that begins '404'"),
        (
            "a.jpg",
            lambda at: at.write_text("version https://git-lfs.github.com/spec/v1"),
            r"cannot be read, it is a pointer of Git LFS",
        ),
        ("a.jpeg", lambda at: at.write_text("<html>Log in</html>"), r"cannot be read, it is an HTML page; download"),
        ("a.ico", RGB.save, r"cannot be read, it is none of JPEG"),
        ("spoiled.png", spoiled, r"cannot be read \(broken data stream"),
        ("a.bmp", lambda at: at.touch(), r"cannot be read, it is empty \(0 bytes\)"),
    ],
)
def test_pixels_without_8_bit_colours_are_refused(
    tmp_path: Path, name: str, write: Callable[[Path], object], message: str
) -> None:
    """With file, mode and cure, before anything is computed."""
    root = class_folders(tmp_path, "cat", "dog")
    write(root / "dog" / name)
    with pytest.raises(UserError, match=f"dog/{name} {message}|dog/{name} has pixels of {message}"):
        opened(root)


def test_all_broken_images_are_named_before_the_model_computes(tmp_path: Path) -> None:
    """Cut off anywhere, in any format; the largest is last."""
    root = class_folders(tmp_path, "cat", "owl")
    for number, (kind, suffix) in enumerate([("JPEG", "jpg"), ("PNG", "png"), ("BMP", "BMP"), ("TIFF", "tif")]):
        path = picture(root / "owl" / f"{number}-cut.{suffix}", kind)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    model = saying(0, 2)
    model.register_forward_pre_hook(lambda *_: pytest.fail("the model computed"))
    with pytest.raises(UserError) as raised:
        api.evaluate(model, root)
    named = [Path(line.split(" cannot be read")[0]).name for line in str(raised.value).splitlines()]
    assert named == ["0-cut.jpg", "1-cut.png", "2-cut.BMP", "3-cut.tif"]


def test_so_many_broken_images_are_shown_as_a_terminal_has_room_for() -> None:
    """And the number of the others."""
    with pytest.raises(UserError) as raised:
        pictures.refuse([f"image {number}" for number in range(pictures.SHOWN + 7)])
    lines = str(raised.value).splitlines()
    assert lines[-2:] == [f"image {pictures.SHOWN - 1}", "and 7 more like these"]
    pictures.refuse([])


def test_evaluate_says_what_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes in their order, what is left out, what is converted, and the accuracy over the rest."""
    root, weights = class_folders(tmp_path / "data", "0", "2", "10", ".git", each=2), tmp_path / "weights.pth"
    Image.fromarray(RAMP).save(root / "10/ramp.png")
    torch.save({"model": saying(2, 3).state_dict()}, weights)
    command = ["--layout", "tome", "--option", "r=0", "--option", "heads=4", "--checkpoint", weights, "--data", root]
    monkeypatch.setattr(sys, "argv", ["suite", "evaluate", *map(str, command), "--classes", "number"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"7 images of {root} in 3 classes, in the order of the numbers in their names: 0 0, 1 2, 2 10\n" in said
    assert "left out: 1 hidden or of the system (.git)\n" in said
    assert "images that were converted: 1 of 16 bits, read as their upper 8\n" in said
    assert f"{300 / 7:.2f} %" in said


def test_a_list_of_a_thousand_classes_is_shown_by_its_ends(tmp_path: Path) -> None:
    """The first eleven and the last."""
    names = [f"class {number:04}" for number in range(1000)]
    (tmp_path / "classes.json").write_text(json.dumps(names))
    found = opened(class_folders(tmp_path / "data", *names[:2]), tmp_path / "classes.json")
    assert found.said[0].endswith("9 class 0009, 10 class 0010, ..., 999 class 0999")
    assert found.said[1] == "998 classes have no image"
