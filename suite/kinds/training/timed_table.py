"""What training costs on this machine, as a table and in a sentence: `suite plan STUDY --estimate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from suite.kinds.training.estimate import HOUR, estimate, spelt
from suite.kinds.training.timed import Timed, timed
from suite.report.layout import Block, Column, Note, Row, Table, recorded
from suite.study.cells import shown
from suite.study.kind import Loaded

COLUMNS = (
    Column("label", "row", align="left"),
    *recorded("kind", "row", "schedule"),
    Column("left", "cells", fields=("cells_left",)),
    Column("rate", "images/s", "{:.4g}".format, fields=("images_per_second",)),
    Column("rate to none", "to none", "{:.2f}x".format, fields=("images_per_second_to_none",)),
    Column("memory", "GB", lambda size: f"{size / 1e9:.3g}", fields=("memory_bytes",)),
    Column("memory to none", "to none", "{:.2f}x".format, fields=("memory_to_none",)),
    Column("hours", "each", lambda hours: spelt(hours * HOUR), fields=("hours",)),
    Column("updates", "updates", fields=("updates",)),
    Column("batch", "of images", fields=("batch_size",)),
    Column("problem", "problem", align="left", fields=("problem",)),
    *recorded("device"),
)


def timed_table(loaded: Loaded, console: Console) -> tuple[Table, str]:
    """Time a few updates of every row of which no cell has finished, and say what all will take.

    Raises:
        UserError: for data that are here and not in order.
    """
    found = timed(loaded, console)
    hours: dict[tuple[str, ...], float | None] = {
        (one.kind, one.row, one.schedule): None if one.hours is None else one.hours * HOUR
        for one in found
        if one.problem or one.hours is not None
    }
    return _table(loaded.name, found), estimate(loaded, hours)


def _table(name: str, found: Sequence[Timed]) -> Table:
    several = len({one.schedule for one in found if one.kind == "accuracy" and not one.unpruned}) > 1
    rows = tuple(_row(one, _unpruned(one, found), several) for one in found)
    devices = ", ".join(dict.fromkeys(one.device for one in found))
    notes = [Note(sentence) for sentence in dict.fromkeys(note for one in found for note in one.notes)]
    if found:
        notes[:0] = [
            Note(f"On {devices}: images over the time of so many updates; hours are of all updates, without scoring.")
        ]
    notes += [*_cold(found), *_alone(found)]
    return Table(name, f"Study `{name}`: what training costs.", COLUMNS, (Block("", rows),), tuple(notes))


def _unpruned(one: Timed, found: Sequence[Timed]) -> Timed | None:
    """The unpruned model that is fine-tuned as this row, whatever the length: its updates are the same."""
    return next((other for other in found if other.unpruned), None) if one.kind == "accuracy" else None


def _cold(found: Sequence[Timed]) -> Iterator[Note]:
    """Rows that were timed without a warm-up, and their rates over that of the unpruned model, timed likewise."""
    cold = [one for one in found if one.rate and not one.warm]
    if cold:
        rows = ", ".join(dict.fromkeys(one.row for one in cold))
        yield Note(f"Without a warm-up, because updates take too long here; those of a training may be faster: {rows}.")
    pairs = [(one, none) for one in cold if not one.unpruned and (none := _unpruned(one, cold))]
    ratios = [f"{one.row} {_ratio(one.rate, none.rate):.2f}x" for one, none in pairs if none.batch == one.batch]
    if ratios:
        yield Note(f"Images per second of such updates to none: {', '.join(dict.fromkeys(ratios))}.")


def _alone(found: Sequence[Timed]) -> Iterator[Note]:
    """Rows whose rates are not compared at all, because the unpruned model was timed otherwise."""
    pairs = [(one, none) for one in found if one.rate and (none := _unpruned(one, found)) and none.rate]
    alone = [one.row for one, none in pairs if (one.batch, one.warm) != (none.batch, none.warm)]
    if alone:
        rows = ", ".join(dict.fromkeys(alone))
        yield Note(f"Not compared to none, which was timed otherwise (images in an update, or warm-up): {rows}.")


def _row(one: Timed, none: Timed | None, several: bool) -> Row:
    same = none is not None and none.batch == one.batch and none.warm and one.warm  # else one is not like the other
    rate, memory = (none.rate, none.memory) if none and same else (None, None)
    values: dict[str, Any] = {
        **{name: getattr(one, name) for name in ("kind", "row", "schedule", "left", "rate", "memory", "hours")},
        **{name: getattr(one, name) or None for name in ("updates", "batch", "problem")},
        "label": f"{one.row} [{shown(one.schedule)}]" if several and one.kind == "accuracy" else one.row,
        "device": one.device,
        "rate to none": _ratio(one.rate, rate),
        "memory to none": _ratio(one.memory, memory),
    }
    return Row(values)


def _ratio(value: float | None, of: float | None) -> float | None:
    return value / of if value and of else None
