"""What `suite budget --latency` does: build and time the settings that meet a budget of measured time."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from suite.kinds.speed.command import MARK, conditions
from suite.measure.device import open_machine
from suite.measure.knobs import TOLERANCE, choices
from suite.measure.latency import FULL, SHORT, Found, Knob, meet_latency
from suite.measure.side_by_side import time_side_by_side
from suite.measure.speed import Timing, quartiles, references
from suite.measure.timing_options import UNPRUNED, TimingOptions
from suite.reduction.registry import settings_class
from suite.reduction.schedule import Schedule
from suite.study.budget import attempt, check_any, cost_of, headline, rounding
from suite.study.configuration import Configuration
from suite.study.schema import Budget, ScheduleRule
from suite.terminal import ManualProgress

WIDE = "†"
COLUMNS = (
    "method",
    "knob",
    "of the\nunpruned",
    "off by",
    "spread",
    f"within\n{TOLERANCE:.0%}",
    "of the\nMACs",
    "timing",
)
REMOVED = "patches removed per block"
SHORT_WARMUP, SHORTEST = 2, 5  # rounds before a short measurement, and of it at least


@dataclass(frozen=True)
class Report:
    """What was asked for, and by method the setting that was found, or why there is none."""

    title: str
    options: TimingOptions
    found: dict[str, Found | str]


def find(
    models: Sequence[Configuration], wanted: float, options: TimingOptions, multiple_of: int | None, console: Console
) -> Report:
    """Turn the knob of every method until a batch takes the wanted share of the unpruned model's time.

    The methods are on one backbone for one task, without a schedule; UserError for whatever cannot be as asked for.
    """
    open_machine(options)
    with ManualProgress(console) as bar:
        bar.show("building the models")
        tried = {model.method: attempt(model, functools.partial(_knob, model, multiple_of)) for model in models}
        knobs = {name: knob for name, knob in tried.items() if isinstance(knob, Knob)}
        check_any(tried)
        probe = LatencyProbe({model.method: model for model in models}, options, bar)
        found = meet_latency(knobs, wanted, probe.race)
    reasons = {name: why for name, why in tried.items() if isinstance(why, str)}
    both = {name: found.get(name) or reasons[name] for name in tried}
    return Report(headline(models[0], f"{wanted:g} of the time per batch", multiple_of), options, both)


class LatencyProbe:
    """Times schedules: one backbone's weights, one progress bar."""

    def __init__(self, models: Mapping[str, Configuration], options: TimingOptions, bar: ManualProgress) -> None:
        first = next(iter(models.values()))
        self.models, self.bar, self.races = models, bar, 0
        self.backbone = first.build_backbone("cpu")
        self.unpruned = references(first.read_out_unpruned(self.backbone))[UNPRUNED]
        short = {"warmup_rounds": SHORT_WARMUP, "rounds": max(SHORTEST, options.rounds // 4)}
        self.options = {True: options, False: options.model_copy(update=short)}
        rounds = {full: one.warmup_rounds + one.rounds for full, one in self.options.items()}
        bar.progress.update(bar.task, total=SHORT * rounds[False] + FULL * rounds[True])

    def race(self, schedules: Mapping[str, Schedule], full: bool) -> Timing:
        """Time schedules by method beside the unpruned model; UserError if the batch does not fit into memory."""
        models = {UNPRUNED: self.unpruned}
        for name, counts in schedules.items():
            row = self.models[name].model_copy(update={"schedule": ScheduleRule(removed=counts.removed)})
            models[name] = row.read_out(row.build("cpu", backbone=self.backbone))
        self.races += 1
        self.bar.show(f"{'full' if full else 'short'} measurement, number {self.races} of {SHORT + FULL} at most")
        size = self.backbone.patch_embed.img_size
        return time_side_by_side(models, size, self.options[full], after_round=self.bar.advance)


def _knob(model: Configuration, multiple_of: int | None) -> Knob:
    """The settings of a method's knob; refuses whatever of it cannot be by trying the first."""
    backbone = model.build_backbone()
    rows, columns = backbone.patch_embed.grid_size
    settings = settings_class(model.method)(**model.settings)
    rounded = rounding(multiple_of, backbone.num_prefix_tokens)
    cost = cost_of(model, Budget(macs=1), backbone)
    found = choices(settings, model.fusion, rows * columns, len(backbone.blocks), rounded)
    macs = functools.cache(lambda number: cost(found[number].schedule))
    macs(0)
    return Knob(found, macs)


def show(report: Report, console: Console) -> None:
    """Print the table and what its columns mean."""
    table = Table(box=box.SIMPLE, padding=0)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("method", "knob") else "right", no_wrap=name != "knob")
    table.add_column(REMOVED)
    for method, found in report.found.items():
        table.add_row(*((method, found) if isinstance(found, str) else _cells(method, found)))
    console.print(report.title, highlight=False)
    console.print(table)
    for note in _notes(report):
        console.print(f"  {note}", style="dim", highlight=False)


def as_records(report: Report) -> list[dict[str, Any]]:
    """The same for programs: a mapping for each method, with `excluded` where it can have no budget."""
    return [{"method": method, **_as_mapping(found)} for method, found in report.found.items()]


def _as_mapping(found: Found | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"excluded": found}
    chosen = {"knob": found.choice.knob, "removed": found.choice.schedule.removed, "timing_warnings": found.doubts}
    return chosen | {name: getattr(found, name) for name in ("share", "wanted", "meets", "spread", "shares", "macs")}


def verdict(found: Found) -> str:
    """Whether a setting meets the budget, in a word."""
    return {True: "yes", False: "nearest", None: "?"}[found.meets]


def _cells(method: str, found: Found) -> tuple[str, ...]:
    low, median, high = quartiles(found.shares)
    return (
        method,
        found.choice.knob,
        f"{median:.4f}\n{low:.4f}–{high:.4f}",
        f"{100 * (median / found.wanted - 1):+.2f} %",
        f"{100 * found.spread:.2f} %{WIDE if found.spread > TOLERANCE else ' '}",
        verdict(found),
        f"{found.macs:.4f}",
        MARK if found.doubts else "ok",
        " ".join(map(str, found.choice.schedule.removed)),
    )


def _notes(report: Report) -> Iterator[str]:
    """What the columns mean, what it was measured under, and every mark that was set."""
    found = {method: one for method, one in report.found.items() if isinstance(one, Found)}
    yield (
        "Of the unpruned: time of a batch over that of the unpruned timm model with the same fused attention, formed "
        f"round by round; median of {report.options.rounds} rounds, below it their middle half, whose width over the "
        "median is the spread. All models were timed interleaved in one process. Of the MACs: convention `full`."
    )
    yield f"Batch of {report.options.batch}; {conditions(report.options)}"
    if any(one.meets is False for one in found.values()):
        yield f"Nearest: no setting was found that comes within {TOLERANCE:.0%}, this one came nearest."
    for method, one in found.items():
        if one.meets is False:
            yield f"{method}, {one.share:.4f} at the nearest: {one.why}."
    if any(one.spread > TOLERANCE for one in found.values()):
        yield (
            f"{WIDE} the middle half of rounds is wider than {TOLERANCE:.0%}: where it overlaps the budget (?), "
            "whether the method meets it cannot be decided here. A larger batch, an idle machine or more rounds help."
        )
    for doubt in dict.fromkeys(doubt for one in found.values() for doubt in one.doubts):
        yield f"{MARK} {', '.join(method for method, one in found.items() if doubt in one.doubts)}: {doubt}."
    yield (
        "The last column is `removed` of a study's schedule; with it cells are the same on every machine, and only on "
        "one like this do they take that time."
    )
