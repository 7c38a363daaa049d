"""What `suite speed` does: time methods and both unpruned models side by side, and say what the numbers are worth.

Weights and images are cast to the precision. Autocast is not used: it casts every weight anew in every pass and keeps
norms in float32, which is how models are trained and not how they are deployed, and weighs on small batches most.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor, nn

from suite.errors import UserError
from suite.kinds.speed.candidates import Candidates, Words, build
from suite.measure.device import check_compiler, open_device, open_machine
from suite.measure.fit import Draw, check_fits, fitting, needs, place
from suite.measure.passes import Pass, draw_images, prepare
from suite.measure.selftest import self_test
from suite.measure.speed import Timing, compare
from suite.terminal import ManualProgress

WARMUP_ROUNDS = 5


@dataclass(frozen=True)
class How:
    """How models are timed; see `suite speed --help`."""

    batch_sizes: tuple[int, ...] = (1, 64)
    precision: str = "float32"
    compiled: bool = False
    graph: bool = False
    device: str = "cpu"
    rounds: int = 20
    threads: int = 1


@dataclass(frozen=True)
class Batch:
    """What was found at one batch size."""

    size: int
    timing: Timing
    passes: dict[str, Pass]


@dataclass(frozen=True)
class Report:
    """All that a command found.

    Attributes:
        gpu: name of the GPU it was measured on, empty on a processor.
        allocator: what was done about the processor's memory, see `keep_memory`.
    """

    words: Words
    how: How
    candidates: Candidates
    batches: tuple[Batch, ...]
    gpu: str
    allocator: str


def measure(words: Words, how: How, console: Console) -> Report:
    """Measure what is asked for, under a progress bar.

    Raises:
        UserError: for anything that cannot be done as it was asked for; nothing is made smaller or left out instead.
    """
    allocator, device, dtype = open_machine(how.device, how.precision, how.threads)
    if how.graph and device.type != "cuda":
        raise UserError(f"--graph replays CUDA graphs, which {how.device} has not; leave it out, or use --device cuda")
    if how.compiled:
        check_compiler(device)
    with Bar(how, console) as bar:
        bar.show("building the models")
        candidates = build(words)
        place(candidates.models, device, dtype)
        draw = functools.partial(draw_images, candidates.size, device, dtype)
        if device.type == "cpu":
            bar.show("measuring what a batch needs")
            needed = needs(candidates.models, draw)
            for size in how.batch_sizes:
                check_fits(needed, size)
        batches = tuple(_measure_batch(how, candidates.models, draw, size, bar) for size in how.batch_sizes)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return Report(words, how, candidates, batches, gpu, allocator)


class Bar(ManualProgress):
    """A bar over all rounds of all batches."""

    def __init__(self, how: How, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(console, len(how.batch_sizes) * (WARMUP_ROUNDS + how.rounds), *columns)


def _measure_batch(how: How, models: dict[str, nn.Module], draw: Draw, size: int, bar: Bar) -> Batch:
    return fitting(lambda: _timed(how, models, draw(size), bar), models, draw, size)


def _timed(how: How, models: dict[str, nn.Module], images: Tensor, bar: Bar) -> Batch:
    passes = {}
    for name, model in models.items():
        bar.show(f"batch of {len(images)}: {'compiling' if how.compiled else 'preparing'} {name}")
        passes[name] = prepare(name, model, images, how.compiled, how.graph)
    bar.show(f"batch of {len(images)}")
    return Batch(len(images), compare(passes, images.device, how.rounds, WARMUP_ROUNDS, bar.advance), passes)


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
