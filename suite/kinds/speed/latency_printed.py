"""What `suite budget --latency` found: as a table with notes, and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from suite.kinds.speed.latency import Report
from suite.kinds.speed.printed import MARK, conditions
from suite.measure.knobs import TOLERANCE
from suite.measure.latency import Found
from suite.measure.speed import quartiles

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
    """A mapping for each method, with `excluded` where it can have no budget; `meets` may be undecided."""
    return [
        {"method": method, "excluded": one}
        if isinstance(one, str)
        else {
            "method": method,
            "knob": one.choice.knob,
            "share": one.share,
            "wanted": one.wanted,
            "meets": one.meets,
            "removed": one.choice.schedule.removed,
            "spread": one.spread,
            "shares": one.shares,
            "macs": one.macs,
            "timing_warnings": one.doubts,
        }
        for method, one in report.found.items()
    ]


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
