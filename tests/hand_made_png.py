"""PNG images of any depth and type of colour, which PIL cannot write."""

import struct
import zlib

import numpy as np

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png(values: np.ndarray, depth: int, colour: int) -> bytes:
    """An image of these numbers, (height, width * channels), of so many bits; type 3 has a palette of 16 greys."""
    height, width = values.shape[0], values.shape[1] // CHANNELS[colour]
    bits = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(*values.shape, 2), axis=2)[:, :, 16 - depth :]
    rows = np.packbits(bits.reshape(height, -1), axis=1)
    palette = _chunk(b"PLTE", bytes(np.arange(16, dtype=np.uint8).repeat(3))) if colour == 3 else b""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = _chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + palette + data + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
