"""The speed protocol on devices of known cost: it must be right, and without its last synchronisation be caught.

The known device has a queue that a thread works off, as a GPU's is, and a time of its own that passes only while it
works or is asked to work. So what it says does not depend on what else the machine does. Then the processor itself, and
a GPU if asked for, where the cost is time that passes.
"""

from __future__ import annotations

import functools
import queue
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from suite.measure.clock import Clock, Run, WallClock, clock_of
from suite.measure.machine import Snapshot
from suite.measure.speed import Timing, race

TOLERANCE = 0.02
COSTS = {"one": 1.0, "two": 2.0, "three": 3.0}
ROUNDS = 18  # a multiple of the orders that three models can have
DEVICE_SECONDS = 0.01  # of the model `one` on the known device
LAUNCH_SECONDS = 1e-5  # of a launch there
WORK_SECONDS = 2e-3  # that the thread really takes for a launch, much longer than launching takes
SPIN_SECONDS = 0.004  # of the model `one` on the processor
SPIN_TRIES = 3
CYCLES = 20_000_000  # of the model `one` on a GPU, about 10 ms

Outcome = Literal["right", "wrong", "not judged"]


@dataclass(frozen=True)
class Check:
    """What should be, what was found."""

    name: str
    expected: str
    found: str
    outcome: Outcome


@dataclass
class Mark:
    """A point in the queue of a known device; until that reaches it, `second` is when it was put there."""

    second: float


class KnownDevice(Clock):
    """A device whose launches return at once and are worked off, one after another, by a thread.

    Only who launches moves `now`, only the thread moves `done`, the second at which its last work ended.
    """

    def __init__(self, pace: Callable[[float], float] = lambda _now: 1.0) -> None:
        """With `pace`, work that starts at the device's second `now` takes so many times longer."""
        self.now, self.done, self.pace = 0.0, 0.0, pace
        self.queue: queue.Queue[tuple[float, float] | Mark | None] = queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def launch(self, cost: float) -> None:
        """Put work of `cost` seconds into the queue."""
        self.now += LAUNCH_SECONDS
        self.queue.put((self.now, cost))

    def synchronise(self) -> None:
        self.queue.join()
        self.now = max(self.now, self.done)

    def mark(self) -> Mark:
        mark = Mark(self.now)
        self.queue.put(mark)
        return mark

    def between(self, start: Mark, end: Mark) -> float:
        return end.second - start.second

    def snapshot(self) -> Snapshot:
        """Counters of a machine that does nothing else."""
        return Snapshot(wall=self.now, busy=self.now, own=self.now, faults=0)

    def stop(self) -> None:
        """End the thread."""
        self.queue.put(None)

    def _work(self) -> None:
        while (item := self.queue.get()) is not None:
            if isinstance(item, Mark):
                item.second = max(item.second, self.done)
            else:
                time.sleep(WORK_SECONDS)
                launched, cost = item
                start = max(launched, self.done)
                self.done = start + cost * self.pace(start)
            self.queue.task_done()


class UnsyncedClock(KnownDevice):
    """The same device, not waited for before the clock is read: the protocol that must be caught."""

    def seconds(self, run: Run) -> float:
        self.synchronise()
        start = self.mark()
        run()
        end = self.mark()
        return self.between(start, end)


def self_test(device: torch.device) -> Iterator[Check]:
    """Run every check, one after another."""
    yield _known("known costs, launched into a queue", KnownDevice())
    yield _known("the same, from the middle on at half the speed", KnownDevice(_slower_later), "drift")
    yield _known("the same, not synchronised at the end", UnsyncedClock(), "does not wait for the device", caught=True)
    yield _spun()
    if device.type == "cuda":
        yield _gpu(device)


def _time_known(device: KnownDevice) -> Timing:
    runs = {name: functools.partial(device.launch, cost * DEVICE_SECONDS) for name, cost in COSTS.items()}
    try:
        return race(runs, device, ROUNDS, warmup_rounds=2, threads=1, snapshot=device.snapshot)
    finally:
        device.stop()


def _slower_later(now: float) -> float:
    total = sum(COSTS.values()) * DEVICE_SECONDS * (ROUNDS + 2)
    return 1.0 if now < total / 2 else 2.0


def _known(name: str, device: KnownDevice, verdict: str = "", caught: bool = False) -> Check:
    """The ratios are right, or wrong where the protocol must be `caught`, and the verdict is what it should be."""
    timing = _time_known(device)
    said = timing.timing_warnings("one")
    expected = f"caught: the clock {verdict}" if caught else f"{_ratios(COSTS)}; {verdict or 'no objection'}"
    right = (_error(timing) > TOLERANCE) == caught and (verdict in said if verdict else not said)
    return Check(name, expected, f"{_found(timing)}; {said or 'no objection'}", "right" if right else "wrong")


def _spun() -> Check:
    """The processor, kept busy for known times; on a machine that others keep busy a wrong time is no fault."""
    runs = {name: functools.partial(_spin, cost * SPIN_SECONDS) for name, cost in COSTS.items()}
    for _ in range(SPIN_TRIES):
        timing = race(runs, WallClock(), ROUNDS, warmup_rounds=2, threads=1)
        if _error(timing) <= TOLERANCE:
            break
    right = _error(timing) <= TOLERANCE
    busy = [reason for reason in timing.reading.timing_warnings() if "not alone" in reason]
    outcome: Outcome = "right" if right else "not judged" if busy else "wrong"
    found = "; ".join([_found(timing), *([] if right else busy)])
    return Check("known costs on this processor", _ratios(COSTS), found, outcome)


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def _gpu(device: torch.device) -> Check:
    """The GPU, kept busy for known numbers of its clock's cycles."""
    with torch.cuda.device(device):
        runs = {name: functools.partial(torch.cuda._sleep, int(cost * CYCLES)) for name, cost in COSTS.items()}
        timing = race(runs, clock_of(device), ROUNDS, warmup_rounds=10, threads=None)
    outcome: Outcome = "right" if _error(timing) <= TOLERANCE else "wrong"
    return Check(f"known costs on {torch.cuda.get_device_name(device)}", _ratios(COSTS), _found(timing), outcome)


def _error(timing: Timing) -> float:
    """By how much the median ratio to the model `one` is off, the worst of all models."""
    return max(abs(statistics.median(timing.ratios("one", name)) / cost - 1) for name, cost in COSTS.items())


def _found(timing: Timing) -> str:
    return _ratios({name: statistics.median(timing.ratios("one", name)) for name in COSTS})


def _ratios(values: dict[str, float]) -> str:
    return " : ".join(f"{value:.3g}" for value in values.values())
