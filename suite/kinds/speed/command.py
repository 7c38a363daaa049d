"""What `suite speed` does: time methods and both unpruned models side by side, and say what the numbers are worth.

Weights and images are cast to the precision. Autocast is not used: it casts every weight anew in every pass and keeps
norms in float32, which is how models are trained and not how they are deployed, and weighs on small batches most.
"""

from __future__ import annotations

import functools
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table as Plain

from suite.kinds.speed.models import build_side_by_side, macs_of
from suite.measure.allocator import keep_memory
from suite.measure.device import open_device, open_machine
from suite.measure.fit import gib
from suite.measure.profile import summary
from suite.measure.selftest import self_test
from suite.measure.side_by_side import time_side_by_side
from suite.measure.speed import Timing, quartiles
from suite.measure.timing_options import UNPRUNED, UNPRUNED_EAGER, TimingOptions
from suite.reduction.registry import settings_class
from suite.report import render
from suite.report.layout import UNRELIABLE, Block, Column, Note, Row, Table
from suite.strict import explained
from suite.study.configuration import Configuration
from suite.study.provenance import device_name, provenance
from suite.study.records import replace
from suite.study.schema import ScheduleRule
from suite.tasks.task import task as task_of
from suite.terminal import ManualProgress

MARK = UNRELIABLE
WARMUP_ROUNDS = 5
RATIO, RANGE = "{:.2f}x".format, "{0[0]:.2f}–{0[1]:.2f}".format
COLUMNS = (
    Column("method", "method", align="left"),
    Column("batch", "batch"),
    Column("speedup", "times unpruned", RATIO),
    Column("quartiles", "IQR", RANGE),
    Column("eager", "times eager", RATIO),
    Column("eager quartiles", "IQR", RANGE, optional=True),
    Column("macs", "by MACs", RATIO),
    Column("memory", "memory"),
    Column("kernels", "attention kernel", align="left"),
    Column("timing", "timing"),
    Column("rate", "images/s", "{:.0f}".format),
)


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
    with explained():
        rows = {UNPRUNED: Configuration.model_validate(shared | {"fusion": fusion}).unpruned()}
        for method in methods:
            reduces = settings_class(method).reduces != "nothing"
            said = {"schedule": schedule, "fusion": fusion} if reduces else {}
            name = method if fusion == "none" or not reduces else f"{method} + {fusion}"
            model = {"method": method, "settings": settings.get(method, {})}
            rows[name] = Configuration.model_validate(shared | model | said)
    return rows


def measure(rows: dict[str, Configuration], options: TimingOptions, console: Console) -> Report:
    """Measure models at each batch size; UserError for what cannot be: nothing is made smaller or left out instead."""
    open_machine(options)
    timings, rounds = {}, options.warmup_rounds + options.rounds
    with ManualProgress(console, len(options.batch_size) * rounds) as bar:
        bar.show("building the models")
        models, size = build_side_by_side(rows)
        macs = macs_of(rows)
        for batch in options.batch_size:
            show = functools.partial(bar.tell, f"batch of {batch}")
            timings[batch] = time_side_by_side(models, size, options.at(batch), show, bar.advance)
    return Report(rows, options, macs | {UNPRUNED_EAGER: macs[UNPRUNED]}, timings)


def test_protocol(device: str, console: Console) -> bool:
    """Show what the self-test finds; returns whether nothing is wrong."""
    table = Plain("known", "expected", "found", "", box=box.SIMPLE, padding=0, show_lines=True)
    outcomes = []
    with console.status("self-test"):
        for check in self_test(open_device(device)):
            table.add_row(check.name, check.expected, check.found, check.outcome)
            outcomes.append(check.outcome)
    console.print(table)
    console.print(f"self-test: {', '.join(f'{outcomes.count(word)} {word}' for word in dict.fromkeys(outcomes))}")
    return "wrong" not in outcomes


def show(report: Report, console: Console) -> None:
    """Print the table and what its columns mean."""
    blocks = tuple(
        Block(str(size), tuple(_row(report, size, timing, name) for name in timing.facts))
        for size, timing in report.timings.items()
    )
    render.show(Table("speed", "", COLUMNS, blocks, tuple(map(Note, _notes(report)))), console)


def write(report: Report, path: Path) -> None:
    """Write all that was found, every repetition included, with where it comes from."""
    rows = {name: row for name, row in report.rows.items() if name != UNPRUNED}
    content = {
        "provenance": provenance() | {"gpu": report.gpu, "allocator": keep_memory()},
        "unpruned": report.rows[UNPRUNED].model_dump(mode="json"),
        "rows": {name: row.model_dump(mode="json", exclude_defaults=True) for name, row in rows.items()},
        "options": report.options.model_dump(mode="json") | {"matmul": torch.get_float32_matmul_precision()},
        "macs_full": report.macs,
        "batches": [_batch(size, timing) for size, timing in report.timings.items()],
    }
    replace(path, json.dumps(content, indent=1) + "\n")


def _row(report: Report, size: int, timing: Timing, name: str) -> Row:
    facts, macs = timing.facts[name], report.macs
    (low, median, high), eager = (quartiles(timing.ratios(name, other)) for other in (UNPRUNED, UNPRUNED_EAGER))
    values = {
        "method": name,
        "batch": size,
        "speedup": median,
        "quartiles": (low, high),
        "eager": eager[1],
        "eager quartiles": eager[::2],
        "macs": macs[UNPRUNED] / macs[name],
        "memory": gib(facts.memory),
        "kernels": summary(facts.kernels),
        "timing": MARK if timing.timing_warnings(name) else "ok",
        "rate": size / statistics.median(timing.seconds[name]) if report.gpu else None,
    }
    return Row(values)


def _notes(report: Report) -> Iterator[str]:
    """What the columns mean, what it was measured under, and every mark that was set."""
    yield (
        "Times unpruned, times eager: images per second over those of the unpruned timm model, with the same fused "
        f"attention and with timm's eager one; median of {report.options.rounds} rounds, with its inter-quartile "
        "range. All models were timed interleaved in one process."
    )
    yield "By MACs: how much faster it would be if only multiply-accumulates counted (convention `full`)."
    yield "Memory: weights, images and activations that torch's allocator holds at once."
    yield conditions(report.options)
    for size, timing in report.timings.items():
        for name, facts in timing.facts.items():
            if told := facts.compiled:
                yield (
                    f"Batch of {size}, {name}: compiled beforehand in {told.seconds:.0f} s to {told.graphs} "
                    f"graph{'s' if told.graphs > 1 else ''}, {told.again or 'none'} compiled again."
                )
        if timing.shared_warnings():
            yield f"{MARK} batch of {size}, all models: {'; '.join(timing.shared_warnings())}."
        for name in timing.facts:
            if timing.own_warnings(name):
                yield f"{MARK} batch of {size}, {name}: {'; '.join(timing.own_warnings(name))}."


def conditions(options: TimingOptions) -> str:
    """What models were timed under, in a sentence."""
    threads = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    ways = f"{', compiled' if options.compile else ''}{', replayed from CUDA graphs' if options.graph else ''}"
    return (
        f"{device_name(options.device)}, {threads}; weights and images in {options.precision}{ways}; memory "
        f"allocator: {keep_memory()}."
    )


def _batch(size: int, timing: Timing) -> dict[str, Any]:
    return {
        "batch_size": size,
        "machine": timing.machine,
        "models": {
            name: {
                "seconds": timing.seconds[name],
                "speedup": timing.ratios(name, UNPRUNED),
                "speedup_eager": timing.ratios(name, UNPRUNED_EAGER),
                "kernels": facts.kernels,
                "memory_bytes": facts.memory,
                "compiled": asdict(facts.compiled) if facts.compiled else None,
                "timing_warnings": timing.timing_warnings(name),
            }
            for name, facts in timing.facts.items()
        },
    }
