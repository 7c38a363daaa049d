"""The speed protocol: clocks, rounds, verdicts, on devices of known cost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, permutations
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, PAGESIZE, mmap
from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from suite.measure import machine, selftest, speed
from suite.measure.clock import Clock, CudaClock, Run, WallClock, clock_of
from suite.measure.machine import Reading, Snapshot
from suite.measure.speed import Timing, in_turn, quartiles, race
from suite.measure.timing_options import UNPRUNED, UNPRUNED_EAGER

QUIET = Reading(wall=60.0, others=0.0, share=1.0, faults=0.0, faulting=0.0)


class Scripted(Clock):
    """A clock that stands still unless a run moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def advance(self, name: str, seconds: float) -> None:
        self.calls.append(name)
        self.now += seconds

    def synchronise(self) -> None:
        self.calls.append("synchronise")

    def mark(self) -> float:
        self.calls.append("mark")
        return self.now

    def between(self, start: float, end: float) -> float:
        return end - start

    def snapshot(self) -> Snapshot:
        self.calls.append("snapshot")
        return Snapshot(self.now, self.now, self.now, 0)


def timing(reading: Reading = QUIET, **seconds: tuple[float, ...]) -> Timing:
    """Rounds of a method and of both references; by default ten rounds in which nothing happens."""
    steady = {"method": (1.0,) * 10, UNPRUNED: (2.0,) * 10, UNPRUNED_EAGER: (3.0,) * 10}
    return Timing(steady | seconds, reading)


def test_the_first_of_a_round_rotates_and_none_always_follows_the_same() -> None:
    """Three runs come in all their orders equally often; of two, each is first as often as the other."""
    assert sorted(in_turn(["a", "b", "c"], turn) for turn in range(6)) == sorted(map(list, permutations("abc")))
    assert [in_turn(["a", "b"], turn)[0] for turn in range(4)] == ["a", "b", "b", "a"]


def test_a_pass_is_timed_between_two_waits() -> None:
    """The device is waited for before the first mark and after the last."""
    clock = Scripted()
    assert clock.seconds(lambda: clock.advance("run", 0.5)) == 0.5
    assert clock.calls == ["synchronise", "mark", "run", "mark", "synchronise"]


def test_a_gpu_is_timed_by_events_that_are_read_after_it_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two events around the run, on the device's stream; milliseconds become seconds."""
    calls: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            calls.append(f"event on {stream}")

        def elapsed_time(self, _end: object) -> float:
            calls.append("read")
            return 2.5

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append(f"wait for {device}"))
    clock = clock_of(torch.device("cuda:1"))
    assert isinstance(clock, CudaClock)
    assert clock.seconds(lambda: calls.append("run")) == 0.0025
    event, wait = "event on stream of cuda:1", "wait for cuda:1"
    assert calls == [wait, event, "run", event, wait, "read"]
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 2**30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (75 * 2**30, 80 * 2**30))
    assert clock.neighbours() == "not alone: others hold 4.0 GiB of the GPU's memory"
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (78 * 2**30, 80 * 2**30))
    assert clock.neighbours() == ""


def test_every_round_times_everybody_once_and_keeps_it() -> None:
    """Warm-up is not kept; the machine is read around the rounds alone, when the device has finished."""
    clock, ended = Scripted(), list[int]()
    costs = {"a": 1.0, "b": 2.0}
    runs: dict[str, Run] = {name: lambda name=name: clock.advance(name, costs[name]) for name in costs}
    found = race(runs, clock, 4, 2, 1, snapshot=clock.snapshot, after_round=lambda: ended.append(1))
    assert found.seconds == {"a": (1.0,) * 4, "b": (2.0,) * 4}
    assert found.reading.wall == 12.0
    assert len(ended) == 6
    order = [call for call in clock.calls if call in ("a", "b", "snapshot")]
    assert order == [*"abba", "snapshot", *"abbabaab", "snapshot"]
    assert clock.calls[-2:] == ["synchronise", "snapshot"]


def test_a_ratio_is_formed_within_its_round() -> None:
    """A machine that becomes twice as slow slows both, and every round gives the same ratio."""
    found = timing(
        method=(1.0, 1.0, 2.0, 2.0), **{UNPRUNED: (2.0, 2.0, 4.0, 4.0), UNPRUNED_EAGER: (3.0, 3.0, 6.0, 6.0)}
    )
    assert found.ratios("method", UNPRUNED) == (2.0,) * 4
    assert found.ratios("method", UNPRUNED_EAGER) == (3.0,) * 4
    assert found.spread("method", UNPRUNED) == 0.0
    assert found.drift == 1.0
    assert quartiles((1.0, 2.0, 3.0, 4.0, 5.0)) == (2.0, 3.0, 4.0)


WIDE = (1.0, 1.0, 1.0, 1.5, 1.5, 1.0, 1.0, 1.0, 1.5, 1.5)
UNRELIABLE: list[tuple[Timing, str]] = [
    (timing(Reading(60.0, 0.8, 1.0, 0.0, 0.0)), "not alone: other processes used 0.80 cores meanwhile"),
    (timing(Reading(60.0, 0.0, 0.85, 0.0, 0.0)), "not alone: got 85% of the processor time it asked for"),
    (timing(Reading(60.0, 0.0, 1.0, 900.0, 0.05)), "memory: 900 page faults a pass, about 5% of the time"),
    (timing(Reading(1e4, 0.0, 1.0, 0.0, 0.0)), "the clock saw 0.6% of the time: it does not wait for the device"),
    (timing(**{UNPRUNED_EAGER: (3.0,) * 5 + (4.0,) * 5}), "drift: a round took +17% in the second half of them"),
    (timing(**{UNPRUNED_EAGER: (4.0,) * 5 + (3.0,) * 5}), "drift: a round took -14% in the second half of them"),
    (timing(method=WIDE), "spread: the middle half of ratios to unpruned is 33% wide"),
    (Timing(timing().seconds, QUIET, ("compiled again",)), "compiled again"),
]


@pytest.mark.parametrize(("found", "reason"), UNRELIABLE)
def test_what_speaks_against_a_measurement_is_said(found: Timing, reason: str) -> None:
    """Other processes, a small share, page faults, time that no pass accounts for, drift, spread."""
    assert reason in found.timing_warnings("method")


def test_nothing_is_said_against_a_clean_measurement() -> None:
    """Readings just inside every threshold give no verdict; a GPU has no share to judge."""
    inside = Reading(100.0, machine.OTHERS_ALLOWED, machine.SHARE_REQUIRED, 10.0, machine.FAULTS_ALLOWED)
    assert timing(inside).timing_warnings("method") == ""
    assert timing(Reading(60.0, 0.0, None, 0.0, 0.0)).timing_warnings("method") == ""
    nearly = (1.0, 1.0, 1.0, 1.09, 1.09, 1.0, 1.0, 1.0, 1.09, 1.09)
    assert timing(method=nearly).timing_warnings("method") == ""


def test_a_spread_speaks_against_its_own_model_only() -> None:
    """The others of the same rounds stay clean."""
    found = Timing({"steady": (1.0,) * 10, "method": WIDE, UNPRUNED: (2.0,) * 10}, QUIET)
    assert "spread" in found.timing_warnings("method")
    assert found.timing_warnings("steady") == ""


def test_two_snapshots_say_what_the_machine_did() -> None:
    """Others: what was busy less what this process used, over the time; share over threads; faults by pass."""
    before, after = Snapshot(50.0, 100.0, 10.0, 1000), Snapshot(52.0, 105.0, 13.0, 1000 + 8000)
    found = machine.between(before, after, passes=4, threads=2)
    assert found == Reading(wall=2.0, others=1.0, share=0.75, faults=2000.0, faulting=8000 * machine.FAULT_SECONDS / 2)
    assert machine.between(before, after, passes=4, threads=None).share is None


def test_the_counters_are_of_this_process_and_machine() -> None:
    """Work done here moves this process's clock, by no more than the machine's and the wall's allow."""
    before = machine.snapshot()
    while machine.snapshot().own < before.own + 0.2:
        sum(range(1000))
    with mmap(-1, 2**25, flags=MAP_PRIVATE | MAP_ANONYMOUS) as pages:  # new ones: the heap may hand out what it has
        for start in range(0, len(pages), PAGESIZE):
            pages[start] = 1
        after = machine.snapshot()
    assert after.own - before.own <= (after.wall - before.wall) * 1.1 + 0.05
    assert after.busy - before.busy >= 0.1  # the system counts in hundredths of a second
    assert after.faults - before.faults >= 2**25 / 2**21  # of whatever size its pages are


def test_the_self_test_is_right_on_devices_of_known_cost() -> None:
    """The known device is exact, whatever else runs here; the processor may be too busy to be judged."""
    *known, spun = selftest.self_test(torch.device("cpu"))
    assert [check.outcome for check in known] == ["right"] * 3, known
    assert known[0].found == "1 : 2 : 3; no objection"
    assert "drift: a round took +100%" in known[1].found
    assert known[2].found.startswith("1 : 1 : 1; the clock saw 0.")
    assert spun.expected == "1 : 2 : 3"


def test_the_known_device_is_right_whoever_is_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its thread is at work before the launch has returned, as on a busy machine."""
    launch = selftest.KnownDevice.launch

    def interrupted(device: selftest.KnownDevice, cost: float) -> None:
        launch(device, cost)
        while not device.queue.empty():
            sleep(0)

    monkeypatch.setattr(selftest.KnownDevice, "launch", interrupted)
    checks = islice(selftest.self_test(torch.device("cpu")), 3)
    assert [check.outcome for check in checks] == ["right"] * 3


BROKEN: list[tuple[Any, str, Callable[..., Any]]] = [
    (Clock, "seconds", selftest.UnsyncedClock.seconds),
    (
        Timing,
        "ratios",
        lambda self, model, reference: [
            a / b for a, b in zip(self.seconds[model], self.seconds[reference], strict=True)
        ],
    ),
    (speed, "in_turn", lambda names, turn: names if turn else names[:1]),
]


@pytest.mark.parametrize(("owner", "name", "broken"), BROKEN)
def test_the_self_test_finds_a_broken_protocol(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, broken: Callable[..., Any]
) -> None:
    """No last synchronisation, ratios upside down: the first check says wrong; a run that is left out raises."""
    monkeypatch.setattr(owner, name, broken)
    try:
        first = next(selftest.self_test(torch.device("cpu")))
    except ValueError:
        assert name == "in_turn"
    else:
        assert first.outcome == "wrong"


def test_a_missing_synchronisation_must_be_named_not_only_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the verdict does not name it, the self-test fails."""
    monkeypatch.setattr(speed, "TIMED_REQUIRED", 0.0)
    *_, unsynchronised, _spun = selftest.self_test(torch.device("cpu"))
    assert unsynchronised.outcome == "wrong"


@pytest.mark.parametrize(("others", "outcome"), [(0.0, "wrong"), (1.0, "not judged")])
def test_the_processor_is_judged_only_when_it_is_free(
    monkeypatch: pytest.MonkeyPatch, others: float, outcome: str
) -> None:
    """A wrong ratio counts against the protocol, unless somebody else was computing."""
    busy = Reading(1.0, others, 1.0, 0.0, 0.0)
    wrong = Timing({"one": (1.0, 1.0), "two": (2.0, 2.0), "three": (3.1, 3.1)}, busy)
    monkeypatch.setattr(selftest, "race", lambda *_arguments, **_options: wrong)
    assert selftest._spun().outcome == outcome
    right = Timing({"one": (1.0, 1.0), "two": (2.0, 2.0), "three": (3.05, 3.05)}, busy)
    monkeypatch.setattr(selftest, "race", lambda *_arguments, **_options: right)
    assert selftest._spun().outcome == "right"


def test_the_wall_clock_sees_time_pass() -> None:
    """At least the time that a run cannot be quicker than."""
    assert WallClock().seconds(lambda: selftest._spin(0.01)) >= 0.01
    assert isinstance(clock_of(torch.device("cpu")), WallClock)


def test_a_gpu_is_tested_on_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a GPU there is one check more, of what `_sleep` costs there."""
    slept: list[int] = []
    now = SimpleNamespace(cycles=0)

    class Fake(Scripted):
        def mark(self) -> float:
            return now.cycles / 1e9

    def sleep(cycles: int) -> None:
        slept.append(cycles)
        now.cycles += cycles

    monkeypatch.setattr(torch.cuda, "_sleep", sleep, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Fake 1")
    monkeypatch.setattr(torch.cuda, "device", lambda _device: Fake())
    monkeypatch.setattr(Fake, "__enter__", lambda self: self, raising=False)
    monkeypatch.setattr(Fake, "__exit__", lambda *_: None, raising=False)
    monkeypatch.setattr(selftest, "clock_of", lambda _device: Fake())
    found = selftest._gpu(torch.device("cuda"))
    assert found.outcome == "right"
    assert found.name == "known costs on Fake 1"
    assert set(slept) == {selftest.CYCLES, 2 * selftest.CYCLES, 3 * selftest.CYCLES}
