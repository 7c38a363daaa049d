"""Whether a batch fits into memory, found out without taking the machine down, and the largest one that does.

On a processor nothing larger than a batch of two is allocated before the need of the whole batch is known: the system
would rather kill processes than refuse. A GPU refuses, and what it can hold is found by trying.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil
import torch
from torch import Tensor, nn

from suite.errors import UserError
from suite.measure.profile import observe
from suite.reduction.registry import describe

USABLE = 0.9  # of the memory that is free: the process needs some for itself
LIMIT, USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
Draw = Callable[[int], Tensor]  # makes so many images
Found = TypeVar("Found")


@dataclass(frozen=True)
class Need:
    """Bytes of images and activations: of one image, and of each further one."""

    first: int
    further: int

    def of(self, batch: int) -> int:
        """Bytes of a batch; both parts grow in proportion to it."""
        return self.first + (batch - 1) * self.further

    def largest(self, usable: int) -> int:
        """The largest batch for which so many bytes suffice; 0 if not even one image does."""
        return 0 if self.first > usable else 1 + (usable - self.first) // max(self.further, 1)


def usable_memory() -> int:
    """Bytes that this process may still take: of those free, or of those its control group leaves."""
    free = psutil.virtual_memory().available
    if LIMIT.is_file() and LIMIT.read_text(encoding="utf-8").strip() != "max":
        free = min(free, int(LIMIT.read_text(encoding="utf-8")) - int(USED.read_text(encoding="utf-8")))
    return int(USABLE * free)


def weights_fit(weights: int) -> None:
    """Refuse a model whose weights alone, in bytes, are too large for the processor's memory.

    Raises:
        UserError: with both sizes.
    """
    usable = usable_memory()
    if weights > usable:
        raise UserError(f"the weights alone need {gib(weights)} and {gib(usable)} are free; take a smaller backbone")


@torch.inference_mode()
def needs(models: Mapping[str, nn.Module], draw: Draw) -> dict[str, Need]:
    """What each model needs on a processor, from passes over one and two images."""
    found = {}
    for name, model in models.items():
        one, two = (_live(model, draw(count)) for count in (1, 2))
        found[name] = Need(one, max(0, two - one))
    return found


def check_fits(found: Mapping[str, Need], batch: int) -> None:
    """Refuse a batch that the processor has not the memory for; models run one after another.

    Raises:
        UserError: with the largest batch that fits.
    """
    usable = usable_memory()
    worst = max(found, key=lambda name: found[name].of(batch))
    if found[worst].of(batch) <= usable:
        return
    fits = min(need.largest(usable) for need in found.values())
    raise too_large(batch, f"{worst} needs about {gib(found[worst].of(batch))} and {gib(usable)} are free", fits)


def place(models: Mapping[str, nn.Module], device: torch.device, dtype: torch.dtype) -> None:
    """Move models to a device and precision; weights that they share stay shared.

    Raises:
        UserError: if they do not fit there.
    """
    try:
        for model in models.values():
            model.to(device, dtype)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        why = describe(error)[:200]
        raise UserError(f"the weights do not fit on {device} ({why}); take a smaller backbone") from error


def fitting(work: Callable[[], Found], models: Mapping[str, nn.Module], draw: Draw, size: int) -> Found:
    """Work with a batch of so many images.

    Raises:
        UserError: if memory runs out in it, with the largest batch that fits.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        refused = describe(error)[:200]
    raise too_large(size, refused, largest_that_runs(models, draw, size))  # here, where the failed batch is forgotten


def largest_that_runs(models: Mapping[str, nn.Module], draw: Draw, batch: int) -> int:
    """As `largest_below`, by trying."""
    return largest_below(batch, functools.partial(_runs, models, draw))


def largest_below(batch: int, fits: Callable[[int], bool]) -> int:
    """The largest batch that fits below one that does not, by bisection; 0 if not even one image does."""
    runs = 0
    while batch - runs > 1:
        middle = (runs + batch) // 2
        runs, batch = (middle, batch) if fits(middle) else (runs, middle)
    return runs


def too_large(batch: int, reason: str, fits: int) -> UserError:
    """The refusal of a batch."""
    cure = f"the largest that fits is --batch-size {fits}, in a study speed: batch_size: {fits}"
    return UserError(
        f"a batch of {batch} does not fit into memory: {reason}; {cure if fits else 'not even one image fits'}"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator has refused."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def gib(size: int) -> str:
    """Bytes for a reader."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _live(model: nn.Module, images: Tensor) -> int:
    size = images.numel() * images.element_size()
    return size + observe(functools.partial(model, images), images.device).activations


@torch.inference_mode()
def _runs(models: Mapping[str, nn.Module], draw: Draw, batch: int) -> bool:
    torch.cuda.empty_cache()  # a no-op where there is no GPU
    try:
        images = draw(batch)
        for model in models.values():
            model(images)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
