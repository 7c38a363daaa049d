"""What `suite speed` found: as a table with notes, and as JSON with every repetition."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from suite.kinds.speed.command import Report
from suite.measure.allocator import keep_memory
from suite.measure.fit import gib
from suite.measure.profile import summary
from suite.measure.speed import Timing, quartiles
from suite.measure.timing_options import UNPRUNED, UNPRUNED_EAGER, TimingOptions
from suite.study.provenance import device_name, provenance

MARK = "‡"


def show(report: Report, console: Console) -> None:
    """Print the table and what its columns mean."""
    table = Table(box=box.SIMPLE, padding=0, show_lines=False)
    names = ["method", "batch", "times\nunpruned", "times\neager", "by\nMACs", "memory", "attention\nkernel", "trust"]
    for index, name in enumerate([*names, *(["images/s"] if report.gpu else [])]):
        table.add_column(name, justify="left" if index in (0, 6) else "right", no_wrap=0 < index != 6)
    for size, timing in report.timings.items():
        for name in timing.facts:
            table.add_row(*_cells(report, size, timing, name))
        table.add_section()
    console.print(table)
    for note in _notes(report):
        console.print(f"  {note}", style="dim", highlight=False)


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
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _cells(report: Report, size: int, timing: Timing, name: str) -> tuple[str, ...]:
    """One row as text; the second line of a ratio is the middle half of its rounds."""
    facts, macs = timing.facts[name], report.macs
    ratios = [quartiles(timing.ratios(name, reference)) for reference in (UNPRUNED, UNPRUNED_EAGER)]
    rate = f"{size / statistics.median(timing.seconds[name]):.0f}"
    return (
        name,
        str(size),
        *(f"{median:.2f}x\n{low:.2f}–{high:.2f}" for low, median, high in ratios),
        f"{macs[UNPRUNED] / macs[name]:.2f}x",
        gib(facts.memory),
        summary(facts.kernels),
        MARK if timing.timing_warnings(name) else "ok",
        *([rate] if report.gpu else []),
    )


def _notes(report: Report) -> Iterator[str]:
    """What the columns mean, what it was measured under, and every mark that was set."""
    yield (
        "Times unpruned, times eager: images per second over those of the unpruned timm model, with the same fused "
        f"attention and with timm's eager one; median of {report.options.rounds} rounds, below it their middle half. "
        "All models were timed interleaved in one process."
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
        if timing.doubts():
            yield f"{MARK} batch of {size}, all models: {'; '.join(timing.doubts())}."
        for name in timing.facts:
            if timing.own_doubts(name):
                yield f"{MARK} batch of {size}, {name}: {'; '.join(timing.own_doubts(name))}."


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
