"""What the machine did while something was timed: other processes, this process's share, page faults.

Whether the machine was busy with something else is measured, not guessed from the spread: beside a busy neighbour
everything can be several times slower at a spread of under one percent.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import NamedTuple

import psutil

OTHERS_ALLOWED = 0.25  # cores: background services use some percent, whoever computes uses one
BESIDE_GPU = 0.5  # of the machine's cores: where a GPU does the work, a launch needs one of them
SHARE_REQUIRED = 0.9  # a process that waits for a core gets less; parts of a pass that run on one thread cost little
FAULT_SECONDS = 5e-6  # of one page fault, measured in a virtual machine; on bare metal less
FAULTS_ALLOWED = 0.02  # of a pass: more of it, and the allocator is measured rather than the model


class Snapshot(NamedTuple):
    """Counters that only rise: seconds of wall, of the machine's cores at work, of this process; its page faults."""

    wall: float
    busy: float
    own: float
    faults: int


@dataclass(frozen=True)
class Reading:
    """What happened between two snapshots.

    Attributes:
        wall: seconds.
        others: processor cores that other processes used.
        share: processor time this process got, over wall time x threads; None if another device did the work.
        faults: page faults per pass; many of them say that the allocator, not the model, was measured.
        faulting: about what share of the wall time they cost.
    """

    wall: float
    others: float
    share: float | None
    faults: float
    faulting: float

    def timing_warnings(self) -> list[str]:
        """Why a measurement is unreliable."""
        reasons = []
        allowed = OTHERS_ALLOWED if self.share is not None else BESIDE_GPU * (psutil.cpu_count() or 1)
        if self.others > allowed:
            reasons.append(f"not alone: other processes used {self.others:.2f} cores meanwhile")
        if self.share is not None and self.share < SHARE_REQUIRED:
            reasons.append(f"not alone: got {self.share:.0%} of the processor time it asked for")
        if self.faulting > FAULTS_ALLOWED:
            reasons.append(f"memory: {self.faults:.0f} page faults a pass, about {self.faulting:.0%} of the time")
        return reasons


def snapshot() -> Snapshot:
    """The counters now."""
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return Snapshot(time.perf_counter(), busy(), time.process_time(), faults)


def between(before: Snapshot, after: Snapshot, passes: int, threads: int | None) -> Reading:
    """Read two snapshots around `passes` passes on so many threads; None where another device did the work."""
    wall, work, own = after.wall - before.wall, after.busy - before.busy, after.own - before.own
    faults = after.faults - before.faults
    return Reading(
        wall=wall,
        others=max(0.0, (work - own) / wall),
        share=None if threads is None else own / wall / threads,
        faults=faults / passes,
        faulting=faults * FAULT_SECONDS / wall,
    )


def busy() -> float:
    """Processor seconds the whole machine has spent working."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))
