"""How fast a training is said to go."""

from __future__ import annotations

import pytest
import torch

from suite.kinds.training.timed import Enough, Few
from suite.tasks.pace import Pace


def test_pace_leaves_out_what_is_between_epochs() -> None:
    """Only updates are timed, but for the first one, and the rate is that of their images."""
    now = [0.0]
    pace = Pace(lambda: now[0])
    for _ in range(2):
        now[0] += 100
        pace.begin("cpu")
        for images in (8, 4):
            now[0] += 2
            pace.updated(images)
    assert pace.rates == (16, 6)
    assert pace.rate == 16 / 6
    assert pace.memory == 0


def bursts(pace: Pace, now: list[float], updates: int) -> None:
    """Updates by 10 images of 1 s each, of which every fifth waits for 16 s more, as 5 loading processes let it."""
    pace.begin("cpu")
    for update in range(updates):
        now[0] += 1 + 16 * (update % 5 == 0)
        pace.updated(10)


def test_a_rate_has_the_time_that_updates_wait_for_images() -> None:
    """Which most of them do not, as batches come in bursts."""
    now = [0.0]
    pace = Pace(lambda: now[0])
    bursts(pace, now, 101)
    assert pace.rate == 1000 / 420


def test_an_estimate_begins_behind_the_batches_that_were_ready() -> None:
    """And has what is loaded in the meantime; without as many updates its rate is that of the last one.

    The time in which it may go on begins behind the first update, which may compile.
    """
    now = [0.0]
    pace = Few(10, 30, 1e9, lambda: now[0])
    with pytest.raises(Enough):
        bursts(pace, now, 99)
    assert (pace.ended, len(pace.counted), pace.rate) == (30, 20, 200 / 84)
    short = Few(10, 30, 20, lambda: now[0])
    with pytest.raises(Enough):
        bursts(short, now, 99)
    assert (short.ended, len(short.counted), short.rate) == (6, 1, 10 / 17)


def test_memory_is_the_most_in_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU; what scoring takes between epochs, and what was there before, is not in it."""
    peak = [0]
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: peak.append(0))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak[-1])
    pace = Pace()
    for elsewhere, updates in ((900, 30), (800, 50), (700, 40)):
        peak.append(elsewhere)
        pace.begin("cuda")
        peak[-1] += updates
        pace.updated(8)
    assert pace.memory == 50
