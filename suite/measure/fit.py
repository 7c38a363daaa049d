"""Whether a batch fits into memory, found out without taking the machine down, and about the largest one that does.

On a processor nothing larger than a batch of three is allocated before the need of the whole batch is known: the system
would rather kill processes than refuse. A GPU refuses by itself.
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

from suite.errors import UserError, describe
from suite.measure.profile import observe

USABLE = 0.9  # of the memory that is free: the process needs some for itself
LIMIT, USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
SMALL = 2, 3  # images; a compiler would make another graph of a single one
Draw = Callable[[int], Tensor]  # makes so many images
Found = TypeVar("Found")


@dataclass(frozen=True)
class Need:
    """Bytes of images and activations: whatever the batch, and of each image."""

    fixed: int
    each: int

    def of(self, batch: int) -> int:
        """Bytes of a batch."""
        return self.fixed + batch * self.each

    def largest(self, usable: int) -> int:
        """The largest batch for which so many bytes suffice; 0 if not even one image does."""
        return max(0, (usable - self.fixed) // max(self.each, 1))


def usable_memory(device: torch.device | None = None) -> int:
    """Bytes that this process may still take: of those free on the device, or of those its control group leaves."""
    if device is not None and device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(USABLE * (torch.cuda.mem_get_info(device)[0] + unused))
    free = psutil.virtual_memory().available
    if LIMIT.is_file() and LIMIT.read_text(encoding="utf-8").strip() != "max":
        free = min(free, int(LIMIT.read_text(encoding="utf-8")) - int(USED.read_text(encoding="utf-8")))
    return int(USABLE * free)


def weights_fit(weights: int) -> None:
    """Refuse, by a UserError with both sizes, a model whose weights alone (bytes) exceed the processor's memory."""
    usable = usable_memory()
    if weights > usable:
        raise UserError(f"the weights alone need {gib(weights)} and {gib(usable)} are free; take a smaller backbone")


@torch.inference_mode()
def needs(models: Mapping[str, nn.Module], draw: Draw) -> dict[str, Need]:
    """What each model needs, from passes over few images."""
    few, more = SMALL
    found = {}
    for name, model in models.items():
        less, most = (_live(model, draw(count)) for count in SMALL)
        each = max(0, most - less) // (more - few)
        found[name] = Need(max(0, less - few * each), each)
    return found


def check_fits(found: Mapping[str, Need], batch: int) -> None:
    """Refuse, by a UserError with the largest that fits, a batch that the processor has not the memory for."""
    usable = usable_memory()
    worst = max(found, key=lambda name: found[name].of(batch))
    if found[worst].of(batch) > usable:
        fits = min(need.largest(usable) for need in found.values())
        raise too_large(batch, f"{worst} needs about {gib(found[worst].of(batch))} and {gib(usable)} are free", fits)


def place(models: Mapping[str, nn.Module], device: torch.device, dtype: torch.dtype) -> None:
    """Move models to a device and precision, weights that they share stay shared; UserError if they do not fit."""
    try:
        for model in models.values():
            model.to(device, dtype)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        why = describe(error)[:200]
        raise UserError(f"the weights do not fit on {device} ({why}); take a smaller backbone") from error


def fitting(work: Callable[[], Found], models: Mapping[str, nn.Module], draw: Draw, batch: int) -> Found:
    """Work with a batch of so many images; if memory runs out, a UserError says about the largest that fits."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        refused = describe(error)[:200]
    raise too_large(batch, refused, _largest(models, draw, batch))  # here, where the failed batch is forgotten


def too_large(batch: int, reason: str, fits: int) -> UserError:
    """The refusal of a batch."""
    cure = f"the largest that fits is about --batch-size {fits}, in a study batch_size: {fits}"
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
    return size + observe(functools.partial(model, images), images.device)[1]


def _largest(models: Mapping[str, nn.Module], draw: Draw, batch: int) -> int:
    """The largest batch that should fit, below one that does not; 0 if not even a few images do."""
    torch.cuda.empty_cache()  # a no-op where there is no GPU
    try:
        device = draw(1).device
        return min([batch - 1, *(need.largest(usable_memory(device)) for need in needs(models, draw).values())])
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return 0
