"""Speed of models relative to one another, measured side by side in one process.

All run in turn, round by round, so a machine that drifts slows all; a ratio is formed per round, and every round is
kept. The first of a round rotates, and every other round runs backwards, so that no model always follows the same one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import nn

from suite.measure import machine
from suite.measure.clock import Clock, Run, clock_of
from suite.measure.machine import Reading, Snapshot
from suite.measure.passes import Facts, Pass, compilations, with_attention
from suite.measure.timing_options import UNPRUNED, UNPRUNED_EAGER

DRIFT_ALLOWED = 0.05  # of a round, first half against second: the clock frequency, or whatever else, has changed
SPREAD_ALLOWED = 0.10  # inter-quartile range over median: methods differ by less than a broader one can tell apart
TIMED_REQUIRED = 0.5  # of the wall time: what is missing was work that the clock did not wait for


@dataclass(frozen=True)
class Timing:
    """What one measurement found: seconds, one a round, facts and failures by model, and what speaks against them."""

    seconds: dict[str, tuple[float, ...]]
    reading: Reading
    remarks: tuple[str, ...] = ()
    facts: dict[str, Facts] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def ratios(self, model: str, reference: str) -> tuple[float, ...]:
        """Images per second of a model over those of a reference, per round."""
        pairs = zip(self.seconds[model], self.seconds[reference], strict=True)
        return tuple(theirs / mine for mine, theirs in pairs)

    @property
    def machine(self) -> dict[str, float | None]:
        """What the machine did meanwhile, for a record."""
        return asdict(self.reading) | {"timed": self.timed, "drift": self.drift}

    @property
    def timed(self) -> float:
        """Share of the wall time that the passes account for."""
        return sum(map(sum, self.seconds.values())) / self.reading.wall

    @property
    def drift(self) -> float:
        """By how much rounds took longer in the second half than in the first."""
        rounds = [sum(passes) for passes in zip(*self.seconds.values(), strict=True)]
        half = len(rounds) // 2
        early, late = (statistics.median(part) for part in (rounds[:half], rounds[-half:]))
        return float(late / early - 1)

    def spread(self, model: str, reference: str) -> float:
        """Inter-quartile range of the ratios over their median."""
        low, median, high = quartiles(self.ratios(model, reference))
        return (high - low) / median

    def timing_warnings(self, model: str) -> str:
        """Why the ratios of a model are unreliable; empty if they are reliable."""
        return "; ".join([*self.shared_warnings(), *self.own_warnings(model)])

    def shared_warnings(self) -> list[str]:
        """What speaks against all ratios."""
        reasons = [*self.remarks, *self.reading.timing_warnings()]
        if self.timed < TIMED_REQUIRED:
            reasons.append(f"the clock saw {self.timed:.1%} of the time: it does not wait for the device")
        if abs(self.drift) > DRIFT_ALLOWED:
            reasons.append(f"drift: a round took {self.drift:+.0%} in the second half of them")
        return reasons

    def own_warnings(self, model: str) -> list[str]:
        """What speaks against the ratios of one model."""
        spreads = {name: self.spread(model, name) for name in (UNPRUNED, UNPRUNED_EAGER) if name in self.seconds}
        wide = {name: spread for name, spread in spreads.items() if spread > SPREAD_ALLOWED}
        return [f"spread: the middle half of ratios to {name} is {spread:.0%} wide" for name, spread in wide.items()]


def references(unpruned: nn.Module) -> dict[str, nn.Module]:
    """What models are compared with: the unpruned model with the fused attention kernel, and with timm's eager one."""
    return {UNPRUNED: with_attention(unpruned, fused=True), UNPRUNED_EAGER: with_attention(unpruned, fused=False)}


@torch.inference_mode()
def compare(
    passes: Mapping[str, Pass],
    device: torch.device,
    rounds: int,
    warmup_rounds: int,
    after_round: Callable[[], None] = lambda: None,
) -> Timing:
    """Time passes on a device, which they were prepared for, with the threads that torch is set to."""
    threads = torch.get_num_threads() if device.type == "cpu" else None
    runs = {name: one.run for name, one in passes.items()}
    compiled = any(one.facts.compiled for one in passes.values())
    before = compilations() if compiled else 0
    timing = race(runs, clock_of(device), rounds, warmup_rounds, threads, after_round=after_round)
    timing = replace(timing, facts={name: one.facts for name, one in passes.items()})
    if compiled and compilations() > before:
        return replace(timing, remarks=(*timing.remarks, "a model was compiled again while it was timed"))
    return timing


def race(
    runs: Mapping[str, Run],
    clock: Clock,
    rounds: int,
    warmup_rounds: int,
    threads: int | None,
    snapshot: Callable[[], Snapshot] = machine.snapshot,
    after_round: Callable[[], None] = lambda: None,
) -> Timing:
    """Time every run once a round, after `warmup_rounds` without record.

    `threads` are those of the processor that a run computes with, None if another device does the work; `snapshot`
    reads the machine's counters; `after_round` is called between rounds, warm-up included.
    """
    names = list(runs)
    for turn in range(warmup_rounds):
        for name in in_turn(names, turn):
            clock.seconds(runs[name])
        after_round()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    before = snapshot()
    for turn in range(rounds):
        for name in in_turn(names, turn):
            seconds[name].append(clock.seconds(runs[name]))
        after_round()
    clock.synchronise()
    reading = machine.between(before, snapshot(), rounds * len(names), threads)
    remarks = tuple(filter(None, [clock.neighbours()]))
    return Timing({name: tuple(taken) for name, taken in seconds.items()}, reading, remarks)


def in_turn(names: list[str], turn: int) -> list[str]:
    """The order of a round."""
    first = turn // 2 % len(names)
    order = names[first:] + names[:first]
    return order[::-1] if turn % 2 else order


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, between the values by linear interpolation."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high
