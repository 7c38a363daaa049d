"""What `suite speed` does: time methods and both unpruned models side by side, and say what the numbers are worth.

Weights and images are cast to the precision. Autocast is not used: it casts every weight anew in every pass and keeps
norms in float32, which is how models are trained and not how they are deployed, and weighs on small batches most.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table

from suite.errors import UserError
from suite.kinds.speed.models import build_side_by_side
from suite.measure.device import open_device, open_machine
from suite.measure.macs import count_macs
from suite.measure.selftest import self_test
from suite.measure.side_by_side import time_side_by_side
from suite.measure.speed import Timing
from suite.measure.timing_options import UNPRUNED, TimingOptions
from suite.reduction.registry import settings_class
from suite.strict import explain
from suite.study.configuration import Configuration
from suite.study.provenance import device_name
from suite.study.schema import ScheduleRule
from suite.tasks.task import task as task_of
from suite.terminal import ManualProgress

WARMUP_ROUNDS = 5


@dataclass(frozen=True)
class Report:
    """All that a command found: MACs of an image (convention `full`) by model, and timings by batch size."""

    rows: dict[str, Configuration]
    options: TimingOptions
    macs: dict[str, float]
    timings: dict[int, Timing]

    @property
    def gpu(self) -> str:
        """Name of the GPU it was measured on, empty on a processor."""
        return device_name("cuda") if self.options.device == "cuda" else ""


def configurations(
    backbone: str,
    options: Mapping[str, Any],
    methods: Sequence[str],
    settings: Mapping[str, dict[str, Any]],
    schedule: ScheduleRule | None,
    fusion: str,
    task: str,
) -> dict[str, Configuration]:
    """The unpruned model and every method by name; UserError for an option that is unknown or does not fit."""
    own = dict(options)
    classes = own.pop("num_classes", task_of(task).usual_outputs)
    shared = {"backbone": {"name": backbone, "options": own}, "task": task, "classes": classes}
    try:
        rows = {UNPRUNED: Configuration.model_validate(shared | {"fusion": fusion}).unpruned()}
        for method in methods:
            reduces = settings_class(method).reduces != "nothing"
            said = {"schedule": schedule, "fusion": fusion} if reduces else {}
            name = method if fusion == "none" or not reduces else f"{method} + {fusion}"
            model = {"method": method, "settings": settings.get(method, {})}
            rows[name] = Configuration.model_validate(shared | model | said)
    except ValidationError as error:
        raise UserError(explain(error)) from error
    return rows


def measure(rows: dict[str, Configuration], options: TimingOptions, console: Console) -> Report:
    """Measure models at each batch size; UserError for what cannot be: nothing is made smaller or left out instead."""
    open_machine(options)
    timings, rounds = {}, options.warmup_rounds + options.rounds
    with ManualProgress(console, len(options.batch_size) * rounds) as bar:
        bar.show("building the models")
        models, size = build_side_by_side(rows)
        macs = {name: count_macs(model, torch.rand(1, 3, *size)).full for name, model in models.items()}
        for batch in options.batch_size:
            show = functools.partial(bar.tell, f"batch of {batch}")
            timings[batch] = time_side_by_side(models, size, options.at(batch), show, bar.advance)
    return Report(rows, options, macs, timings)


def test_protocol(device: str, console: Console) -> bool:
    """Show what the self-test finds; returns whether nothing is wrong."""
    table = Table("known", "expected", "found", "", box=box.SIMPLE, padding=0, show_lines=True)
    outcomes = []
    with console.status("self-test"):
        for check in self_test(open_device(device)):
            table.add_row(check.name, check.expected, check.found, check.outcome)
            outcomes.append(check.outcome)
    console.print(table)
    console.print(f"self-test: {', '.join(f'{outcomes.count(word)} {word}' for word in dict.fromkeys(outcomes))}")
    return "wrong" not in outcomes
