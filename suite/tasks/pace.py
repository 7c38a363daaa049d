"""How fast a training goes, and the memory that it needs on a GPU."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


class Pace:
    """Times the updates of a training, with the loading of their images, and without what is scored between epochs.

    Attributes:
        rates: images per second of every update.
        memory: most bytes that torch had allocated on the GPU during updates; 0 on a processor, whose processes train
            one model after another and know the most of all of them only.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.rates: list[float] = []
        self.memory = 0
        self.clock, self.last, self.device = clock, clock(), "cpu"

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
        self.rates.append(images / (now - self.last))
        self.last = now
        if self.device == "cuda":
            import torch

            self.memory = max(self.memory, torch.cuda.max_memory_allocated())
