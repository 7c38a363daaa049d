"""What a speed cell of a study does: time one method beside both unpruned models."""

from __future__ import annotations

from dataclasses import asdict
from statistics import median
from typing import Any

from torch import nn

from suite.errors import UserError
from suite.measure.allocator import keep_memory
from suite.measure.side_by_side import time_side_by_side
from suite.measure.speed import Timing, references
from suite.measure.timing_options import UNPRUNED, UNPRUNED_EAGER, TimingOptions
from suite.study.provenance import device_name

REDUCED = "reduced"  # the method, beside UNPRUNED and UNPRUNED_EAGER
UNITS = {
    "speed_ratio": "x",
    "speed_ratio_eager": "x",
    "seconds": "s",
    "seconds_unpruned": "s",
    "memory_bytes": "bytes",
    "memory_bytes_unpruned": "bytes",
    "others_cores": "cores",
    "own_share": "1",
    "page_faults": "per pass",
    "round_drift": "1",
    "timed_share": "1",
}


def time_cell(
    identity: dict[str, Any], reduced: nn.Module, unpruned: nn.Module, size: tuple[int, int]
) -> dict[str, Any]:
    """Time a deployed method beside the timm model of the same weights and read-out, as a speed cell's identity says.

    Returns a result as `execute.run_cell` does. What cannot be measured on this machine (no such device, precision or
    compiler; a batch that does not fit) has failed, with the reason in one sentence.
    """
    how = {name: identity[name] for name in ("device", "precision", "threads")}
    models = {REDUCED: reduced.eval(), **references(unpruned)}
    try:
        timing = time_side_by_side(models, size, TimingOptions.model_validate(identity["speed"] | how))
    except UserError as error:
        return {"status": "failed", "reason": str(error)}
    found, planned = device_name(identity["device"]), identity.get("device_name", "")
    elsewhere = [f"planned for {planned}, timed on {found}"] if planned not in ("", found) else []
    result = _result(timing, {"gpu": found} if identity["device"] == "cuda" else {})
    reason = "; ".join(filter(None, [result["reason"], *elsewhere]))
    return result | {"reason": reason, "origin": {"allocator": keep_memory()}}


def _result(timing: Timing, gpu: dict[str, str]) -> dict[str, Any]:
    """Ratios of every round; seconds only of a GPU, whose name says whose they are."""
    rounds = {
        name: list(timing.ratios(REDUCED, of))
        for name, of in (("speed_ratio", UNPRUNED), ("speed_ratio_eager", UNPRUNED_EAGER))
    }
    if gpu:
        rounds |= {"seconds": list(timing.seconds[REDUCED]), "seconds_unpruned": list(timing.seconds[UNPRUNED])}
    reading = timing.reading
    metrics = {name: median(values) for name, values in rounds.items()} | {
        "memory_bytes": timing.facts[REDUCED].memory,
        "memory_bytes_unpruned": timing.facts[UNPRUNED].memory,
        "others_cores": reading.others,
        "own_share": reading.share,
        "page_faults": reading.faults,
        "round_drift": timing.drift,
        "timed_share": timing.timed,
    }
    compiled = {name: asdict(one.compiled) for name, one in timing.facts.items() if one.compiled}
    return {
        "reason": timing.timing_warnings(REDUCED),
        "metrics": metrics,
        "units": {name: UNITS[name] for name in metrics},
        "repetitions": rounds,
        "details": {"kernels": {name: one.kernels for name, one in timing.facts.items()}, **gpu}
        | ({"compiled": compiled} if compiled else {}),
    }
