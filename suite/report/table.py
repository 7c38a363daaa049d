"""A study's table: for the terminal, as markdown and as CSV, all from the same lines."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from tabulate import tabulate

from suite.errors import UserError
from suite.report.summary import Line

COLUMNS = ("IQR", "seeds", "beats random", "tokens left", "GMACs", "speed")
SCORE = {"classification": "acc. %", "segmentation": "mIoU %"}
MEANING = {
    "classification": "Accuracy: top-1 of the last epoch",
    "segmentation": "mIoU: mean over the classes of the last epoch's intersection over union",
}
BELOW, TAINTED = "†", "‡"
MISSING = "–"


def header(lines: Sequence[Line]) -> tuple[str, ...]:
    """Names of the columns; a study has one task."""
    return ("method", SCORE[lines[0].task], *COLUMNS)


def cells_of(line: Line) -> tuple[str, ...]:
    """One line of the table as text."""
    accuracy, speed = line.accuracy, line.speed
    return (
        line.label + (f" {BELOW}" if line.below_random else ""),
        f"{accuracy.median:.1f}" if accuracy else MISSING,
        f"{accuracy.low:.1f}–{accuracy.high:.1f}" if accuracy else MISSING,
        f"{accuracy.n if accuracy else 0}/{line.seeds}",
        f"{line.won[0]} of {line.won[1]}" if line.won else MISSING,
        f"{line.tokens:.0f}" if line.tokens is not None else MISSING,
        f"{line.macs / 1e9:.3g}" if line.macs is not None else MISSING,
        f"{speed.median:.2f}x{f' {TAINTED}' if line.tainted else ''}" if speed else MISSING,
    )


def notes(lines: Sequence[Line]) -> list[str]:
    """What the columns mean, and every mark that was set."""
    found = [
        f"{MEANING[lines[0].task]}, median over seeds, with its inter-quartile range. Seeds: finished of tried.",
        "Beats random: seeds in which it was above random pruning with the same seed, schedule and, where the study "
        "has it, fusion.",
        "Tokens left: the fewest tokens, class token included, that a block computes. GMACs: per image, with both "
        "matrix products of the attention (convention `full`).",
        "Speed: images per second over those of the unpruned timm model, timed side by side on this study's machine, "
        "median of rounds.",
    ]
    if any(line.below_random for line in lines):
        found.append(f"{BELOW} does not beat random pruning in every seed.")
    found += [f"{TAINTED} {line.label}: {line.tainted}." for line in lines if line.tainted]
    found += [f"{line.label}: {line.problem}" for line in lines if line.problem]
    return found


def markdown(lines: Sequence[Line]) -> str:
    """The table and its notes as markdown."""
    names = header(lines)
    align = ["left", *["right"] * (len(names) - 1)]
    body = tabulate(_body(lines), names, tablefmt="pipe", disable_numparse=True, colalign=align)
    return body + "\n\n" + "\n".join(f"- {note}" for note in notes(lines)) + "\n"


def terminal(lines: Sequence[Line]) -> Table:
    """The table for a terminal, without its notes."""
    table = Table(box=box.SIMPLE, padding=0)
    for index, name in enumerate(header(lines)):
        table.add_column(name.replace(" ", "\n", 1), justify="right" if index else "left", no_wrap=bool(index))
    for row in _body(lines):
        table.add_row(*row)
    return table


def write_csv(path: Path, lines: Sequence[Line]) -> None:
    """The table as CSV, at full precision."""
    fields = "row schedule method n seeds accuracy_median accuracy_low accuracy_high beats_random compared tokens_left"
    fields += " macs_full speed_median speed_low speed_high speed_tainted problem"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fields.split())
        for line in lines:
            accuracy, speed = line.accuracy, line.speed
            writer.writerow(
                [line.row, line.schedule, line.method, accuracy.n if accuracy else 0, line.seeds]
                + ([accuracy.median, accuracy.low, accuracy.high] if accuracy else [""] * 3)
                + (list(line.won) if line.won else [""] * 2)
                + ["" if value is None else value for value in (line.tokens, line.macs)]
                + ([speed.median, speed.low, speed.high] if speed else [""] * 3)
                + [line.tainted, line.problem]
            )


def put_into(document: Path, study: str, content: str) -> None:
    """Replace what stands between the markers of a study in a document.

    Raises:
        UserError: if the document has no such markers.
    """
    begin, end = f"<!-- table: {study} -->", "<!-- end of table -->"
    text = document.read_text() if document.is_file() else ""
    if begin not in text or end not in text.split(begin, 1)[1]:
        raise UserError(f"{document} has no lines '{begin}' and '{end}' to put the table between")
    head, rest = text.split(begin, 1)
    document.write_text(f"{head}{begin}\n{content}{end}{rest.split(end, 1)[1]}")


def _body(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    return [cells_of(line) for line in lines]
