"""Speed of a model relative to another, measured side by side in one process.

The two run in turn, round by round, so a machine that drifts slows both; the ratio is formed per round. Whether the
machine was busy with something else is measured, not guessed from the spread: beside a busy neighbour everything can be
several times slower at a spread of under one percent.
"""

from __future__ import annotations

import resource
import statistics
import time
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor, nn

OTHERS_ALLOWED = 0.25  # processor cores that other processes may use before a measurement is called tainted
SHARE_REQUIRED = 0.9  # processor time over (wall time x threads) below which the process did not get its cores


@dataclass(frozen=True)
class SpeedRatio:
    """What one comparison measured.

    Attributes:
        ratios: images per second of the model over those of the reference, per round.
        others: processor cores that other processes used meanwhile.
        share: processor time this process got, over wall time x threads.
        faults: page faults per forward pass; many of them say that the allocator, not the model, was measured.
    """

    ratios: tuple[float, ...]
    others: float
    share: float
    faults: float

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def tainted(self) -> str:
        """Why the measurement is not to be trusted; empty if nothing speaks against it."""
        if self.others > OTHERS_ALLOWED:
            return f"not alone: other processes used {self.others:.2f} cores meanwhile"
        if self.share < SHARE_REQUIRED:
            return f"not alone: got {self.share:.0%} of the processor time it asked for"
        return ""


@torch.inference_mode()
def compare(model: nn.Module, reference: nn.Module, images: Tensor, rounds: int, warmup_rounds: int) -> SpeedRatio:
    """Time both models on the same images, (B, 3, height, width), on the CPU, and compare them round by round.

    The first of a round alternates. Only the forward passes are timed.
    """
    for _ in range(warmup_rounds):
        _seconds(model, images), _seconds(reference, images)
    process = psutil.Process()
    machine, own, faults, start = _busy(), _own(process), _faults(), time.perf_counter()
    ratios = []
    for turn in range(rounds):
        if turn % 2:
            mine, theirs = _seconds(model, images), _seconds(reference, images)
        else:
            theirs, mine = _seconds(reference, images), _seconds(model, images)
        ratios.append(theirs / mine)
    wall, used = time.perf_counter() - start, _own(process) - own
    others = max(0.0, (_busy() - machine - used) / wall)
    passes = 2 * rounds
    return SpeedRatio(tuple(ratios), others, used / wall / torch.get_num_threads(), (_faults() - faults) / passes)


def _seconds(model: nn.Module, images: Tensor) -> float:
    start = time.perf_counter()
    model(images)
    return time.perf_counter() - start


def _busy() -> float:
    """Processor seconds the whole machine has spent working."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
