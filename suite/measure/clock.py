"""Clocks: how long a pass takes from its launch until the device has finished it.

A device may work on after the launch has returned. Whoever stops the clock then has timed the launch; that is why
every clock waits for the device before and after a pass, in one place, `Clock.seconds`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch

Run = Callable[[], object]

NEIGHBOURS_ALLOWED = 2 * 2**30  # bytes: this process's own driver context takes up to a half, a neighbour's job more


class Clock(ABC):
    """A device's time."""

    def seconds(self, run: Run) -> float:
        """Seconds that the device spends between the launch of `run` and its end."""
        self.synchronise()
        start = self.mark()
        run()
        end = self.mark()
        self.synchronise()
        return self.between(start, end)

    @abstractmethod
    def synchronise(self) -> None:
        """Wait until the device has finished all that was launched."""

    @abstractmethod
    def mark(self) -> Any:
        """A point in time, of the device; it may be read only after `synchronise`."""

    @abstractmethod
    def between(self, start: Any, end: Any) -> float:
        """Seconds between two marks."""

    def neighbours(self) -> str:
        """What other processes do on the device itself, as far as that speaks against a measurement; else empty."""
        return ""


class WallClock(Clock):
    """The processor's: when a call returns, its work is done."""

    def synchronise(self) -> None:
        """Nothing runs behind a processor's back."""

    def mark(self) -> float:
        return time.perf_counter()

    def between(self, start: float, end: float) -> float:
        return end - start


class CudaClock(Clock):
    """A GPU's: events in its queue, read once it has finished. Gaps between kernels count, as they do for a user."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def synchronise(self) -> None:
        torch.cuda.synchronize(self.device)

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def between(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return float(start.elapsed_time(end)) / 1e3

    def neighbours(self) -> str:
        free, total = torch.cuda.mem_get_info(self.device)
        others = total - free - torch.cuda.memory_reserved(self.device)
        if others > NEIGHBOURS_ALLOWED:
            return f"not alone: others hold {others / 2**30:.1f} GiB of the GPU's memory"
        return ""


def clock_of(device: torch.device) -> Clock:
    """The clock of a device."""
    return CudaClock(device) if device.type == "cuda" else WallClock()
