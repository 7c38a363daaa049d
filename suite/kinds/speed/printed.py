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

from suite.kinds.speed.command import WARMUP_ROUNDS, Batch, How, Report
from suite.measure.fit import gib
from suite.measure.profile import summary
from suite.measure.speed import UNPRUNED, UNPRUNED_EAGER, quartiles
from suite.study.provenance import provenance

MARK = "‡"


def show(report: Report, console: Console) -> None:
    """Print the table and what its columns mean."""
    table = Table(box=box.SIMPLE, padding=0, show_lines=False)
    names = ["method", "batch", "times\nunpruned", "times\neager", "by\nMACs", "memory", "attention\nkernel", "trust"]
    for index, name in enumerate([*names, *(["images/s"] if report.gpu else [])]):
        table.add_column(name, justify="left" if index in (0, 6) else "right", no_wrap=0 < index != 6)
    for batch in report.batches:
        for name in batch.passes:
            table.add_row(*_cells(report, batch, name))
        table.add_section()
    console.print(table)
    for note in _notes(report):
        console.print(f"  {note}", style="dim", highlight=False)


def write(report: Report, path: Path) -> None:
    """Write all that was found, every repetition included, with where it comes from."""
    how, words = report.how, report.words
    content = {
        "provenance": provenance() | {"gpu": report.gpu, "allocator": report.allocator},
        "backbone": {"name": words.backbone, "options": dict(words.options)},
        "task": words.task,
        "fusion": words.fusion,
        "settings": {method: words.settings.get(method, {}) for method in words.methods},
        "removed": report.candidates.removed,
        "how": asdict(how) | {"warmup_rounds": WARMUP_ROUNDS, "matmul": torch.get_float32_matmul_precision()},
        "macs_full": report.candidates.macs,
        "batches": [_batch(batch) for batch in report.batches],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _cells(report: Report, batch: Batch, name: str) -> tuple[str, ...]:
    """One row as text; the second line of a ratio is the middle half of its rounds."""
    timing, one, macs = batch.timing, batch.passes[name], report.candidates.macs
    ratios = [quartiles(timing.ratios(name, reference)) for reference in (UNPRUNED, UNPRUNED_EAGER)]
    rate = f"{batch.size / statistics.median(timing.seconds[name]):.0f}"
    return (
        name,
        str(batch.size),
        *(f"{median:.2f}x\n{low:.2f}–{high:.2f}" for low, median, high in ratios),
        f"{macs[UNPRUNED] / macs[name]:.2f}x",
        gib(one.memory),
        summary(one.observed.kernels),
        MARK if timing.timing_warnings(name) else "ok",
        *([rate] if report.gpu else []),
    )


def _notes(report: Report) -> Iterator[str]:
    """What the columns mean, what it was measured under, and every mark that was set."""
    how = report.how
    yield (
        "Times unpruned, times eager: images per second over those of the unpruned timm model, with the same fused "
        f"attention and with timm's eager one; median of {how.rounds} rounds, below it their middle half. All models "
        "took turns in one process."
    )
    yield "By MACs: how much faster it would be if only multiply-accumulates counted (convention `full`)."
    yield "Memory: weights, images and activations that torch's allocator holds at once."
    yield conditions(how, report.gpu, report.allocator)
    for batch in report.batches:
        for name, one in batch.passes.items():
            if one.compiled:
                told = one.compiled
                yield (
                    f"Batch of {batch.size}, {name}: compiled beforehand in {told.seconds:.0f} s to {told.graphs} "
                    f"graph{'s' if told.graphs > 1 else ''}, {told.again or 'none'} compiled again."
                )
        if batch.timing.doubts():
            yield f"{MARK} batch of {batch.size}, all models: {'; '.join(batch.timing.doubts())}."
        for name in batch.passes:
            if batch.timing.own_doubts(name):
                yield f"{MARK} batch of {batch.size}, {name}: {'; '.join(batch.timing.own_doubts(name))}."


def conditions(how: How, gpu: str, allocator: str) -> str:
    """What models were timed under, in a sentence."""
    threads = f"{how.threads} thread{'s' if how.threads > 1 else ''}"
    ways = f"{', compiled' if how.compiled else ''}{', replayed from CUDA graphs' if how.graph else ''}"
    return (
        f"{gpu or provenance()['processor']}, {threads}; weights and images in {how.precision}{ways}; memory "
        f"allocator: {allocator}."
    )


def _batch(batch: Batch) -> dict[str, Any]:
    timing = batch.timing
    return {
        "batch_size": batch.size,
        "machine": asdict(timing.reading) | {"timed": timing.timed, "drift": timing.drift},
        "models": {
            name: {
                "seconds": timing.seconds[name],
                "speedup": timing.ratios(name, UNPRUNED),
                "speedup_eager": timing.ratios(name, UNPRUNED_EAGER),
                "kernels": one.observed.kernels,
                "memory_bytes": one.memory,
                "compiled": asdict(one.compiled) if one.compiled else None,
                "timing_warnings": timing.timing_warnings(name),
            }
            for name, one in batch.passes.items()
        },
    }
