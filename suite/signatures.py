"""What a file is, as its first bytes show, whatever its name says."""

from __future__ import annotations

import re
from typing import Any, Protocol

HEAD = 1024  # bytes that are looked at
DOWNLOAD = "download the file itself"
SIGNATURES = [
    (rb"\s*version https://git-lfs", "a pointer of Git LFS in place of the file; run git lfs pull where it came from"),
    (rb"(?i)(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)", f"an HTML page; {DOWNLOAD}"),
    (rb"(\xef\xbb\xbf)?\s*<\?xml", f"an XML text; {DOWNLOAD}"),
    (rb"\s*\{.*\"weight_map\"", "the index of weights that lie in several files; join them with torch.save"),
    (rb"\s*\{\s*\"|\s*\[\s*[\[{\"\d]", f"a JSON text; {DOWNLOAD}"),
    (rb"\x1f\x8b", "packed by gzip; unpack it with gunzip"),
    (rb"BZh\d", "packed by bzip2; unpack it with bunzip2"),
    (rb"\xfd7zXZ\0", "packed by xz; unpack it with unxz"),
    (rb"\x28\xb5\x2f\xfd", "packed by zstd; unpack it with unzstd"),
    (rb"7z\xbc\xaf|Rar!", "an archive; unpack it and give the file that was in it"),
    (rb".{257}ustar", "a tar archive; unpack it and give the file that was in it"),
    (rb"PK\x03\x04", "a zip archive; unpack it and give the file that was in it"),
    (rb"\x93NUMPY", "an array of numpy"),
    (rb"GGUF", "a GGUF file, whose weights are quantised"),
    (rb"\x89HDF\r\n", "an HDF5 file, as Keras writes them"),
    (rb"[\x1c\x20]\0\0\0TFL3|.{4}TFL3", "a TensorFlow Lite model"),
    (rb"\x08[\x01-\x20][\x12\x1a\x22\x3a\x42]", "an ONNX model"),
    (rb"%PDF", "a PDF document"),
    (
        rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP|BM.{4}\0{4}|P[4-6]\s"
        rb"|.{4}ftyp(hei|mif|avif)|\0{3}\x0c(jP  |JXL )",
        "an image",
    ),
    (rb"\x80[\x02-\x05]", "a pickle of Python"),
    (rb"\0{16}", "empty at its beginning (zeros), as where a download stopped; download or copy it again"),
]


class Readable(Protocol):
    """A path, or what opens as one does."""

    def open(self, mode: Any) -> Any:
        """A file of bytes."""


def head_of(path: Readable) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        found: bytes = file.read(HEAD)
        return found


def known(head: bytes) -> str:
    """What a file with this beginning is, with the cure where there is one; empty if nobody knows."""
    if not head:
        return "empty (0 bytes); download or copy it again"
    found = next((what for pattern, what in SIGNATURES if re.match(pattern, head, re.DOTALL)), "")
    return found or _text(head)


def _text(head: bytes) -> str:
    try:
        text = head.decode(errors="strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        return ""
    plain = len(text) > 0.99 * len(head.decode(errors="replace")) and all(
        character.isprintable() or character.isspace() for character in text
    )
    return f"a text that begins {' '.join(text.split())[:40]!r}" if plain else ""
