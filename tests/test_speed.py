"""The speed protocol on models of known cost."""

import time

import pytest
import torch
from torch import Tensor, nn

from suite.measure import speed
from suite.measure.speed import SpeedRatio, compare


class Sleeper(nn.Module):
    """A model that takes a known time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return images


def test_the_ratio_is_that_of_known_costs() -> None:
    """A model that takes half the time is twice as fast, one ratio a round."""
    measured = compare(Sleeper(0.01), Sleeper(0.02), torch.zeros(1), rounds=6, warmup_rounds=1)
    assert len(measured.ratios) == 6
    assert measured.median == pytest.approx(2.0, rel=0.1)


def test_who_does_not_get_the_machine_says_so() -> None:
    """A process that mostly waits did not compute; other processes' cores and a small share are both named."""
    waiting = compare(Sleeper(0.01), Sleeper(0.01), torch.zeros(1), rounds=5, warmup_rounds=1)
    assert "of the processor time it asked for" in waiting.tainted or "other processes used" in waiting.tainted
    assert SpeedRatio((1.0,), others=0.0, share=1.0, faults=0.0).tainted == ""
    assert "other processes used 0.80 cores" in SpeedRatio((1.0,), others=0.8, share=1.0, faults=0.0).tainted


def test_other_processes_are_what_the_machine_did_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores used by others: what the machine was busy with, less what this process used, over the time."""
    busy, own, wall = iter([100.0, 103.0]), iter([10.0, 11.0]), iter([50.0, 52.0])
    monkeypatch.setattr(speed, "_busy", lambda: next(busy))
    monkeypatch.setattr(speed, "_own", lambda _process: next(own))
    monkeypatch.setattr(speed, "_seconds", lambda _model, _images: 0.5)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(wall))
    measured = compare(nn.Identity(), nn.Identity(), torch.zeros(1), rounds=5, warmup_rounds=1)
    assert measured.ratios == (1.0,) * 5
    assert measured.others == pytest.approx((3 - 1) / 2)
    assert measured.share == pytest.approx(1 / 2 / torch.get_num_threads())
