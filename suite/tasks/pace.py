"""How fast a training goes, and the memory that it needs on a GPU."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


class Pace:
    """Times the updates of a training, with the loading of their images, and without what is scored between epochs.

    The first update is left out: it starts processes that load images, and warms up. Times of single updates say
    little, because batches of several loading processes come in bursts.

    Attributes:
        rates: images of all updates but the first, and the seconds that these took.
        memory: most bytes that torch had allocated on the GPU during updates; 0 on a processor, whose processes train
            one model after another and know the most of all of them only.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.rates: tuple[int, float] = (0, 0.0)
        self.memory = 0
        self.clock, self.last, self.device, self.warm = clock, clock(), "cpu", False

    @property
    def rate(self) -> float | None:
        """Images per second; None before a second update."""
        images, seconds = self.rates
        return images / seconds if images else None

    def begin(self, device: str) -> None:
        """The updates of an epoch begin, or the rest of them."""
        self.last, self.device = self.clock(), device
        if device == "cuda":
            import torch

            gc.collect()  # what an earlier training left in this process
            torch.cuda.reset_peak_memory_stats()

    def updated(self, images: int) -> None:
        """An update by so many images, of all processes, has ended."""
        now = self.clock()
        self.took(images, now - self.last)
        self.last = now
        if self.device == "cuda":
            import torch

            self.memory = max(self.memory, torch.cuda.max_memory_allocated())

    def took(self, images: int, seconds: float) -> None:
        """Add an update by so many images."""
        if self.warm:
            self.rates = self.rates[0] + images, self.rates[1] + seconds
        self.warm = True
