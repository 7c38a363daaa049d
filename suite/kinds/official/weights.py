"""Weights and images that are the same on every machine: drawn by numpy from a seed, so no file has to hold them.

Read by the official code's interpreter too, so it needs numpy alone.
"""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

Array = NDArray[Any]


def _scaled(name: str, noise: Array) -> Array:
    """Give a tensor's standard normal numbers the size that its kind of parameter usually has."""
    if noise.ndim == 1:
        return 1 + 0.2 * noise if name.endswith(".weight") else 0.2 * noise
    if name.endswith(".weight"):
        return noise / float(numpy.sqrt(numpy.prod(noise.shape[1:])))
    if name.rsplit(".", 1)[-1] == "queries":
        return noise / float(numpy.sqrt(noise.shape[-1]))
    return 0.5 * noise


def fill(shapes: dict[str, list[int]], seed: int) -> dict[str, Array]:
    """Float32 values for every tensor, drawn in the order of the sorted names."""
    random = numpy.random.RandomState(seed)
    return {name: _scaled(name, random.standard_normal(shapes[name])).astype("float32") for name in sorted(shapes)}


def images(count: int, height: int, width: int, seed: int) -> Array:
    """Standard normal images, (count, 3, height, width), float32."""
    random = numpy.random.RandomState(seed)
    return random.standard_normal((count, 3, height, width)).astype("float32")
