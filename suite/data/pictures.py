"""Which files of a folder are images, and how pixels of every kind become red, green and blue of 8 bits.

What other loaders of the field (torchvision, timm) get right by `convert("RGB")` is read as they do: palettes, CMYK,
grey, one bit; what is under transparent pixels is seen, and an orientation in EXIF is not followed. 16 bits keep their
upper 8. What has no such reading (floating point, 32 bit, LAB, several frames) is refused.
"""

from __future__ import annotations

import io
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from suite.errors import UserError
from suite.host import cores
from suite.signatures import head_of, known

if TYPE_CHECKING:
    from PIL import Image, ImageFile

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
READABLE = "jpg jpeg jpe jfif png apng gif bmp dib tif tiff webp ppm pgm pbm pnm"
OTHERS = "heic heif avif jxl jp2 j2k psd svg exr hdr ico tga dng cr2 cr3 nef arw raw"  # named, rather than left out
SUFFIXES = frozenset(f".{suffix}" for suffix in f"{READABLE} {OTHERS}".split())
JUNK = frozenset(
    {"__macosx", "@eadir", "#recycle", "@recycle", "lost+found", "$recycle.bin", "system volume information"}
    | {"__pycache__", "thumbs.db", "desktop.ini", "icon\r"}
)
TURNED = "turned by EXIF, read as torchvision and timm do"  # PIL turns TIFF alone
ORIENTATION = 0x0112  # the EXIF tag
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # of TIFF
DEEP = "of 16 bits, read as their upper 8"
SCALED = "of more than 8 bits, read as PIL scales them"
PLAIN = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
MODES = {"I": "whole numbers", "F": "floating point numbers"}
CURE = "; replace it, or take it out of the folder"
HIDDEN = "hidden or of the system"
SHOWN = 100  # problems in one message
BATCH = 1000  # files that wait for a thread
Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass
class Listed:
    """Files that are taken for images, and what is left out, by reason; and the folders beside them."""

    images: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def add(self, other: Listed) -> None:
        """Put images and what is left out elsewhere to it."""
        self.images += other.images
        for reason, paths in other.left_out.items():
            self.left_out[reason] += paths

    @property
    def said(self) -> str:
        """How much is left out and why, with a few names; empty if nothing is."""
        parts = []
        for reason, paths in sorted(self.left_out.items()):
            names = ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
            parts.append(f"{len(paths)} {reason} ({names})")
        return f"left out: {'; '.join(parts)}" if parts else ""


def is_junk(path: Path) -> bool:
    """Whether a system or a program, not a person, put it there: hidden, or known by its name."""
    return path.name.startswith(".") or path.name.lower() in JUNK


def listed(folder: Path) -> Listed:
    """The images of a folder in order of their names; its folders are not looked into.

    A suffix of images, in any case, makes a file one, else its content does.
    """
    found = Listed()
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            found.folders.append(path)
        elif is_junk(path):
            found.left_out[HIDDEN].append(path)
        elif path.suffix.lower() in SUFFIXES:
            found.images.append(path)
        elif not path.exists():
            found.left_out["a link to nothing"].append(path)
        elif _is_image(path):
            found.images.append(path)
        else:
            found.left_out[f"of {path.suffix or 'no suffix'}, no images"].append(path)
    return found


def _is_image(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode) and known(head_of(path)) == "an image"
    except OSError:  # it may be one; reading it says why it cannot be
        return True


class Member(NamedTuple):
    """An image that lies in a file of many, at an offset in bytes; read as a file of its own is."""

    archive: Path
    name: str
    offset: int
    size: int

    def open(self, mode: Literal["rb"] = "rb") -> io.BytesIO:
        """The bytes of the image alone."""
        with self.archive.open(mode) as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))

    def __str__(self) -> str:
        return f"{self.archive}: {self.name}"


def read(path: Path | Member | Image.Image, small: bool = False) -> tuple[Image.Image, str]:
    """An image in red, green and blue, 8 bits each, and what had to be done for that; empty for nothing.

    `small`: decode all of it but keep less, where that is faster: only to know whether it can be read.

    Raises:
        UserError: naming the file, what is wrong and the cure.
    """
    if not isinstance(path, Path | Member):  # in memory already
        return path.convert("RGB"), ""
    image = load(path, small)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _eight_bits(path, image), DEEP
    if image.mode not in PLAIN:
        raise UserError(f"{path} has pixels of mode {image.mode}, {_kind(image)}; save it as RGB of 8 bits")
    notes = [f"of {image.mode}, read as PIL converts it"] if image.mode in ("CMYK", "YCbCr") else []
    notes += [image.info[DEEP]] if image.info.get(DEEP) else []
    if "A" in image.getbands() or image.info.pop("transparency", None) is not None:
        notes.append("with transparency, read without it")
    if image.info.get(TURNED):
        notes.append(TURNED)
    plain = image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    return plain, " and ".join(notes)


def _kind(image: Image.Image) -> str:
    """What the numbers of pixels that are no colours are."""
    if image.mode not in MODES:
        return "colours that are not known here"
    bits = _first(getattr(image, "tag_v2", {}).get(BITS, 32))
    return f"{MODES[image.mode]} of {bits} bits, whose range is not known"


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def _depth(image: ImageFile.ImageFile) -> str:
    """How colours of more than 8 bits become such of 8, which the file's own form shows before it is decoded."""
    tiles: list[tuple[str, Any]] = [(tile.codec_name, tile.args) for tile in image.tile]
    if any(isinstance(_first(args), str) and ";16" in _first(args) for _, args in tiles):
        return DEEP
    largest = [args[1] for codec, args in tiles if codec.startswith("ppm") and isinstance(args, tuple)]
    return SCALED if max(largest, default=0) > 255 else ""


def _is_turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ORIENTATION, 1) not in (0, 1)
    except Exception:  # PIL raises several types for a broken EXIF, by which no loader turns
        return False


def _eight_bits(path: Path | Member, image: Image.Image) -> Image.Image:
    import numpy as np
    from PIL import Image as Pillow

    tags = getattr(image, "tag_v2", {})
    if (bits := _first(tags.get(BITS, 16))) != 16:
        raise UserError(f"{path} is a TIFF of {bits} bits; save it with 8 bits")
    if tags.get(PHOTOMETRIC, 1) == WHITE_IS_ZERO:
        raise UserError(f"{path} is a TIFF of 16 bits with white as 0; save it with black as 0")
    pixels = np.asarray(image).astype(np.uint16) >> 8
    return Pillow.fromarray(pixels.astype(np.uint8)).convert("RGB")


def load(path: Path | Member, small: bool = False) -> Image.Image:
    """An image as it is stored, all of it decoded; `small`: see `read`.

    Raises:
        UserError: if it is broken or something else.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            _refuse_frames(path, image)
            image.info[DEEP] = _depth(image)  # before EXIF, for which a PNG is decoded
            if image.format == "PNG":
                image.load()  # EXIF would, and what is broken would go unnoticed there
            image.info[TURNED] = _is_turned(image)  # before loading, which turns TIFF and forgets it
            if small:
                image.draft(None, (1, 1))  # JPEG at an eighth of each side
            image.load()
    except UserError:
        raise
    except UnidentifiedImageError as error:
        what = known(head_of(path))
        if what == "an image":  # HEIC, or TIFF of several floating point numbers for each pixel
            what = f"none of {', '.join(FORMATS)} whose pixels are known here; replace it by one in RGB of 8 bits"
        what = what or f"none of {', '.join(FORMATS)}"
        raise UserError(f"{path} cannot be read, it is {what}{'' if ';' in what else CURE}") from error
    except Exception as error:  # PIL raises half a dozen types for a broken image
        raise UserError(f"{path} cannot be read ({error}){CURE}") from error
    return image


def _refuse_frames(path: Path | Member, image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # of one camera, at one moment: the first is the picture
        raise UserError(f"{path} has {frames} frames or pages; save the one that is meant as an image")


def conversions(notes: Mapping[str, int]) -> str:
    """How many images were read in which other way than as plain ones, by what `read` notes; empty for none."""
    parts = [f"{count} {note}" for note, count in sorted(notes.items()) if note]
    return f"images that were converted: {'; '.join(parts)}" if parts else ""


def each(look: Callable[[Item], Found], items: Sequence[Item], advanced: Callable[[int, int], None]) -> Iterator[Found]:
    """What `look` finds in each, in order, by several threads; `advanced` is told how many of them are done."""
    batches = (items[start : start + BATCH] for start in range(0, len(items), BATCH))
    with ThreadPoolExecutor(cores()) as pool:
        try:
            for done, found in enumerate((found for batch in batches for found in pool.map(look, batch)), 1):
                advanced(done, len(items))
                yield found
        finally:
            pool.shutdown(cancel_futures=True)


def refuse(problems: Sequence[str]) -> None:
    """Raise a UserError with all problems, or so many of them that a terminal shows them."""
    if problems:
        more = [f"and {len(problems) - SHOWN} more like these"] if len(problems) > SHOWN else []
        raise UserError("\n".join([*problems[:SHOWN], *more]))
