"""What `suite budget` does: find the schedule at which each method meets a budget, computed or of measured time."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from suite.errors import UserError
from suite.kinds.speed.command import MARK, conditions
from suite.measure.device import open_machine
from suite.measure.latency import FULL, SHORT, Found, meet_latency
from suite.measure.side_by_side import time_side_by_side
from suite.measure.speed import Timing, quartiles, references
from suite.measure.strength import TOLERANCE, Strengths
from suite.measure.timing_options import UNPRUNED, TimingOptions
from suite.reduction.schedule import Schedule
from suite.report import render
from suite.report.layout import Block, Column, Note, Row, Table
from suite.study.budget import Solution, attempt, meet, strengths_of
from suite.study.configuration import Configuration
from suite.study.schema import Budget, ScheduleRule
from suite.terminal import ManualProgress, track

WIDE = "†"
SHORT_WARMUP, SHORTEST = 2, 5  # rounds before a short measurement, and of it at least
COLUMNS = (
    Column("method", "method", align="left"),
    Column("strength", "strength", align="left"),
    Column("share", "of the unpruned", "{:.4f}".format),
    Column("quartiles", "IQR", "{0[0]:.4f}–{0[1]:.4f}".format, optional=True),
    Column("off", "off by", "{:+.2f} %".format),
    Column("spread", "spread", "{:.2f} %".format),
    Column("meets", f"within {TOLERANCE:.0%}"),
    Column("macs", "of the MACs", "{:.4f}".format),
    Column("timing", "timing"),
    Column("removed", "removed per block", align="left"),
)


@dataclass(frozen=True)
class Report:
    """What was asked for, and by method the setting that was found, or why there is none.

    `timed`: how, for a budget of measured time.
    """

    title: str
    found: Mapping[str, Solution | Found | str]
    timed: TimingOptions | None = None


def compute(models: Sequence[Configuration], wanted: Budget, multiple_of: int | None, console: Console) -> Report:
    """Meet a budget with every method; UserError for whatever cannot be as asked for."""
    found = {
        model.method: attempt(model, functools.partial(meet, model, wanted, multiple_of))
        for model in track(models, "solving", len(models), console)
    }
    _check_any(found)
    return Report(_title(models[0], wanted.label, multiple_of), found)


def measure(
    models: Sequence[Configuration], wanted: float, options: TimingOptions, multiple_of: int | None, console: Console
) -> Report:
    """Search the strength of every method until a batch takes the wanted share of the unpruned model's time.

    The methods are on one backbone for one task, without a schedule; UserError for whatever cannot be as asked for.
    """
    open_machine(options)
    with ManualProgress(console) as bar:
        bar.show("building the models")
        tried = {model.method: attempt(model, functools.partial(_by_macs, model, multiple_of)) for model in models}
        _check_any(tried)
        strengths = {name: own for name, own in tried.items() if isinstance(own, Strengths)}
        probe = LatencyProbe({model.method: model for model in models}, options, bar)
        met = meet_latency(strengths, wanted, probe.race)
    found = {name: why if isinstance(why, str) else met[name] for name, why in tried.items()}
    return Report(_title(models[0], f"{wanted:g} of the time per batch", multiple_of), found, options)


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


def _by_macs(model: Configuration, multiple_of: int | None) -> Strengths:
    """The settings of a method with their MACs; refuses whatever of it cannot be by trying the first."""
    strengths = strengths_of(model, Budget(macs=1), multiple_of)
    strengths.cost(0)
    return strengths


def _check_any(found: Mapping[str, object]) -> None:
    """Refuse, by a UserError with the reasons, if no method can have a budget."""
    if all(isinstance(one, str) for one in found.values()):
        raise UserError("; ".join(f"{method}: {reason}" for method, reason in found.items()))


def _title(model: Configuration, label: str, multiple_of: int | None) -> str:
    rounded = f", blocks leave multiples of {multiple_of} tokens" if multiple_of else ""
    return f"{model.backbone.name}: {label} of the unpruned model{rounded}"


def show(report: Report, console: Console) -> None:
    """Print the table and what its columns mean."""
    rows = tuple(_row(method, found) for method, found in report.found.items())
    console.print(report.title, highlight=False)
    render.show(Table("budget", report.title, COLUMNS, (Block("", rows),), tuple(map(Note, _notes(report)))), console)


def as_records(report: Report) -> list[dict[str, Any]]:
    """The same for programs: a mapping for each method, with `excluded` where it can have no budget."""
    return [{"method": method, **_as_mapping(found)} for method, found in report.found.items()]


def _as_mapping(found: Solution | Found | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"excluded": found}
    chosen = {"strength": found.choice.strength, "removed": found.choice.schedule.removed}
    measured = {"timing_warnings": found.timing_warnings} if isinstance(found, Found) else {}
    names = ("share", "wanted", "meets", *(("spread", "shares", "macs") if measured else ()))
    return chosen | measured | {name: getattr(found, name) for name in names}


def _row(method: str, found: Solution | Found | str) -> Row:
    if isinstance(found, str):
        return Row({"method": method, "strength": found})
    values: dict[str, Any] = {
        "method": method,
        "strength": found.choice.strength,
        "share": found.share,
        "off": 100 * (found.share / found.wanted - 1),
        "meets": {True: "yes", False: "nearest", None: "?"}[found.meets],
        "removed": " ".join(map(str, found.choice.schedule.removed)),
    }
    if isinstance(found, Solution):
        return Row(values)
    low, _, high = quartiles(found.shares)
    values |= {"quartiles": (low, high), "spread": 100 * found.spread, "macs": found.macs}
    values |= {"timing": MARK if found.timing_warnings else "ok"}
    return Row(values, {"spread": WIDE} if found.spread > TOLERANCE else {})


def _notes(report: Report) -> Iterator[str]:
    """What the columns mean, what it was measured under, and every mark that was set."""
    if report.timed:
        yield (
            "Of the unpruned: time of a batch over that of the unpruned timm model with the same fused attention, "
            f"formed round by round; median of {report.timed.rounds} rounds, with its inter-quartile range, whose "
            "width over the median is the spread. All models were timed interleaved in one process. Of the MACs: "
            "convention `full`."
        )
        yield f"Batch of {report.timed.batch}; {conditions(report.timed)}"
    found = {method: one for method, one in report.found.items() if not isinstance(one, str)}
    if any(one.meets is False for one in found.values()):
        yield f"Nearest: no setting was found that comes within {TOLERANCE:.0%}, this one came nearest."
    timed = {method: one for method, one in found.items() if isinstance(one, Found)}
    for method, one in timed.items():
        if one.meets is False:
            yield f"{method}, {one.share:.4f} at the nearest: {one.why}."
    if any(one.spread > TOLERANCE for one in timed.values()):
        yield (
            f"{WIDE} the middle half of rounds is wider than {TOLERANCE:.0%}: where it overlaps the budget (?), "
            "whether the method meets it cannot be decided here. A larger batch, an idle machine or more rounds help."
        )
    for warning in dict.fromkeys(warning for one in timed.values() for warning in one.timing_warnings):
        warned = ", ".join(method for method, one in timed.items() if warning in one.timing_warnings)
        yield f"{MARK} {warned}: {warning}."
    yield "The last column is `removed` of a study's schedule."
    if report.timed:
        yield "With it cells are the same on every machine, and only on one like this do they take that time."
