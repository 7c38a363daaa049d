"""One side of the race: a process that builds a model and, line by line, answers what it is asked.

Run as a script, by the official code's interpreter or by this suite's: serve.py JSON, see `race.Side`.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

SEED = 1
COMPARED = 20_000  # logits that are sent, evenly spread
PROFILED = 5  # passes


def main() -> None:
    """Answer every line of the standard input with one of the standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # official models announce themselves
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    warnings.simplefilter("ignore")
    asked = json.loads(sys.argv[1])

    def say(answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    drawn, case = import_module("weights"), import_module("models").CASES[asked["case"]]
    for name in ("weights", "models"):
        del sys.modules[name]  # the official code may have modules that are called so
    model, shapes = _model(asked, case, drawn.fill, json.loads(sys.stdin.readline()))
    say(shapes)
    import torch

    pixels = torch.from_numpy(drawn.images(asked["batch"], case.side, case.side, SEED)).to(asked["device"])
    half = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[asked["precision"]]
    with torch.inference_mode(), torch.autocast(asked["device"], half, enabled=half is not None):
        can = _answers(model.eval().to(asked["device"]), pixels)
        for line in sys.stdin:
            say(can[json.loads(line)]())


def _model(asked: dict[str, Any], case: Any, fill: Any, shapes: dict[str, list[int]]) -> tuple[Any, dict[str, Any]]:
    """The official model, or this suite's with weights of the official one's `shapes`; and those shapes."""
    import_module("suite.torchvision_operators")  # lets timm be imported whatever torchvision is there
    import torch

    torch.set_num_threads(asked["threads"])
    if asked["side"] == "official":
        sys.path.insert(0, str((Path(asked["folder"]) / case.module).parent))
        model = case.build()
        shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
        model.load_state_dict({key: torch.from_numpy(value) for key, value in fill(shapes, SEED).items()})
        return model, shapes
    weights = {key: torch.from_numpy(value) for key, value in fill(shapes, SEED).items()}
    model = import_module("suite.official").load(weights, case.layout, **case.options)
    getattr(model, "reduced", model).deploy()
    return model, shapes


def _answers(model: Any, pixels: Any) -> dict[str, Callable[[], Any]]:
    """By question: some logits, the seconds of a forward pass, the share of each operator."""
    import torch

    def logits() -> list[float]:
        found = model(pixels)
        return list(found.float().flatten()[:: max(1, found.numel() // COMPARED)].tolist())

    def seconds() -> float:
        start = time.perf_counter()
        found = model(pixels)
        if found.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def shares() -> dict[str, float]:
        kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA][: 1 + pixels.is_cuda]
        with torch.profiler.profile(activities=kinds) as profile:
            for _ in range(PROFILED):
                model(pixels)
        field = "self_device_time_total" if pixels.is_cuda else "self_cpu_time_total"
        spent = {event.key: float(getattr(event, field)) for event in profile.key_averages()}
        return {key: value / sum(spent.values()) for key, value in spent.items() if value}

    return {"logits": logits, "time": seconds, "profile": shares}


if __name__ == "__main__":
    main()
