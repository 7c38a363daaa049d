"""What a speed cell does: time one method beside both unpruned models, as `suite speed` does."""

from __future__ import annotations

import functools
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from torch import nn

from suite.errors import UserError
from suite.measure.allocator import give_back, keep_memory
from suite.measure.device import check_compiler, check_precision, open_device
from suite.measure.fit import check_fits, fitting, needs, place
from suite.measure.passes import Pass, draw_images, prepare
from suite.measure.speed import UNPRUNED, UNPRUNED_EAGER, Timing, compare, references

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
    """Measure as a cell's identity says, with the threads that torch is set to.

    Args:
        identity: of a speed cell.
        reduced: the deployed method, on the processor in float32.
        unpruned: the timm model that it shares its weights with, with the same read-out.
        size: height and width of images.

    Returns:
        A result as `execute.run_cell` returns it. What cannot be measured on this machine (no such device, precision
        or compiler; a batch that does not fit) has failed, with the reason in one sentence.
    """
    models = {REDUCED: reduced.eval(), **references(unpruned)}
    try:
        return _measured(identity, models, size)
    except UserError as error:
        return {"status": "failed", "reason": str(error)}
    finally:
        give_back()
        torch.cuda.empty_cache()  # a no-op where there is no GPU


def _measured(identity: dict[str, Any], models: dict[str, nn.Module], size: tuple[int, int]) -> dict[str, Any]:
    speed, batch = identity["speed"], identity["speed"]["batch_size"]
    allocator, device = keep_memory(), open_device(identity["device"])
    dtype = check_precision(identity["precision"], device)
    if speed["compile"]:
        check_compiler(device)
    place(models, device, dtype)
    draw = functools.partial(draw_images, size, device, dtype)
    if device.type == "cpu":
        check_fits(needs(models, draw), batch)

    def timed() -> tuple[Timing, dict[str, Pass]]:
        images = draw(batch)
        passes = {name: prepare(name, one, images, speed["compile"], speed["graph"]) for name, one in models.items()}
        return compare(passes, device, speed["rounds"], speed["warmup_rounds"]), passes

    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return _result(*fitting(timed, models, draw, batch), gpu) | {"origin": {"allocator": allocator}}


def _result(timing: Timing, passes: dict[str, Pass], gpu: dict[str, str]) -> dict[str, Any]:
    """Ratios of every round; seconds only of a GPU, whose name says whose they are."""
    rounds = {
        name: list(timing.ratios(REDUCED, of))
        for name, of in (("speed_ratio", UNPRUNED), ("speed_ratio_eager", UNPRUNED_EAGER))
    }
    if gpu:
        rounds |= {"seconds": list(timing.seconds[REDUCED]), "seconds_unpruned": list(timing.seconds[UNPRUNED])}
    reading = timing.reading
    metrics = {name: median(values) for name, values in rounds.items()} | {
        "memory_bytes": passes[REDUCED].memory,
        "memory_bytes_unpruned": passes[UNPRUNED].memory,
        "others_cores": reading.others,
        "own_share": reading.share,
        "page_faults": reading.faults,
        "round_drift": timing.drift,
        "timed_share": timing.timed,
    }
    compiled = {name: asdict(one.compiled) for name, one in passes.items() if one.compiled}
    return {
        "reason": timing.timing_warnings(REDUCED),
        "metrics": metrics,
        "units": {name: UNITS[name] for name in metrics},
        "repetitions": rounds,
        "details": {"kernels": {name: one.observed.kernels for name, one in passes.items()}, **gpu}
        | ({"compiled": compiled} if compiled else {}),
    }
