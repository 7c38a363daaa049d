"""The table of a study, described once; `suite.report.render` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from suite.report.layout import Block, Column, Note, Row, Table
from suite.report.scores import TOLERANCE, Score, score_of
from suite.report.statistics import Spread
from suite.report.summary import Line

SCORE = {"classification": "acc. %", "segmentation": "mIoU %"}
MEANING = {
    "classification": "Accuracy: top-1 of the last epoch",
    "segmentation": "mIoU: mean over the classes of the last epoch's intersection over union",
}
BELOW, TAINTED = "†", "‡"


def columns(task: str) -> tuple[Column, ...]:
    """The columns of a study of a task."""
    return (
        Column("label", "method", align="left"),
        Column("row", form="record", fields=("row",)),
        Column("schedule", form="record", fields=("schedule",)),
        Column("method", form="record", fields=("method",)),
        Column("n", form="record", fields=("n",)),
        Column("tried", form="record", fields=("seeds",)),
        Column("lost", form="record", fields=("lost",)),
        Column("score", SCORE[task], "{:.1f}".format, fields=("accuracy_median",)),
        Column("quartiles", "IQR", _range, fields=("accuracy_low", "accuracy_high")),
        Column("seeds", "seeds"),
        Column("won", "beats random", "{0[0]} of {0[1]}".format, fields=("beats_random", "compared")),
        Column("published", "published", align="right", fields=("published",)),
        Column("difference", "difference", "{:+.1f}".format, fields=("difference",)),
        Column("verdict", "verdict", align="left", fields=("verdict",)),
        Column("tokens", "tokens left", "{:.0f}".format, fields=("tokens_left",)),
        Column("macs", "GMACs", _giga, fields=("macs_full",)),
        Column("speed", "speed", _times, fields=("speed_median", "speed_low", "speed_high")),
        Column("eager", "speed, eager", _times, form="long", fields=("eager_median", "eager_low", "eager_high")),
        Column("tainted", form="record", fields=("speed_tainted",)),
        Column("problem", form="record", fields=("problem",)),
    )


def study_table(name: str, lines: Sequence[Line], scores: Sequence[Score] = ()) -> Table:
    """The table of the study `name`, which has one task; published scores stand beside the rows that they are of."""
    rows = [_row(line, score_of(scores, name, line.row, line.schedule)) for line in lines]
    pairs = list(zip(lines, rows, strict=True))
    blocks = [
        Block(", ".join(key), tuple(row for _, row in members))
        for key, members in groupby(pairs, key=lambda pair: _block(pair[0], several=len(_schedules(lines)) > 1))
    ]
    return Table(name, _caption(name, lines), columns(lines[0].task), tuple(blocks), tuple(_notes(lines, rows)))


def _row(line: Line, published: Score | None) -> Row:
    score, lost = line.accuracy, [f"{count} {what}" for what, count in line.lost]
    values: dict[str, Any] = {
        "label": line.label,
        "row": line.row,
        "schedule": line.schedule,
        "method": line.method,
        "n": score.n if score else 0,
        "tried": line.seeds,
        "lost": ", ".join(lost),
        "seeds": ", ".join([f"{score.n if score else 0}/{line.seeds}", *lost]),
        "won": line.won,
        "tokens": line.tokens,
        "macs": line.macs,
        "speed": _numbers(line.speed),
        "eager": _numbers(line.eager),
        "tainted": line.tainted,
        "problem": line.problem,
    }
    if score:
        values |= {"score": score.median, "quartiles": (score.low, score.high)}
    if published:
        values["published"] = published.value
    if published and score:
        values["difference"] = score.median - float(published.value)
        values["verdict"] = published.verdict(score.median, (score.low, score.high), score.n)
    marks = {"label": BELOW} if line.below_random else {}
    return Row(values, marks | (dict.fromkeys(("speed", "eager"), TAINTED) if line.tainted else {}))


def _notes(lines: Sequence[Line], rows: Sequence[Row]) -> Iterator[Note]:
    """What the columns mean, and every mark that was set."""
    task = lines[0].task
    yield Note(
        f"{MEANING[task]}, median over seeds, with its inter-quartile range. Seeds: finished of tried; "
        "one without a score stays in the second number."
    )
    if any(what == "diverged" for line in lines for what, _ in line.lost):
        yield Note("Diverged: training was stopped because numbers were not finite, or the score is not.")
    yield Note(
        "Beats random: seeds in which it was above random pruning with the same seed, schedule and, where the study "
        "has it, fusion. That row leads each block."
    )
    if any("published" in row.values for row in rows):
        yield Note(
            "Difference: measured less published, in percentage points. Verdict: whether the published figure, up to "
            f"its rounding, is in the interval; for a single seed, whether it is within {TOLERANCE:g} pp."
        )
    yield Note(
        "Tokens left: the fewest tokens, class token included, that a block computes. GMACs: per image, with both "
        "matrix products of the attention (convention `full`)."
    )
    yield Note(
        "Speed: images per second over those of the unpruned timm model, timed side by side on this study's machine, "
        "median of rounds."
    )
    if any(line.eager for line in lines):
        yield Note("Speed, eager: against the unpruned model with timm's eager attention, not the fused one.")
    if any(line.below_random for line in lines):
        yield Note("does not beat random pruning in every seed.", BELOW)
    for line in lines:
        if line.tainted:
            yield Note(f"{line.label}: {line.tainted}.", TAINTED)
    for line in lines:
        if line.problem:
            yield Note(f"{line.label}: {line.problem}")


def _block(line: Line, several: bool) -> tuple[str, ...]:
    """What a block is called: the schedule where there are several, and what its rows are compared with."""
    if line.method == "none":
        return ("unpruned",)
    against = "without a control" if line.control is None else f"compared with {line.control}"
    return (line.schedule, against) if several else (against,)


def _caption(name: str, lines: Sequence[Line]) -> str:
    schedules = _schedules(lines)
    schedule = f", schedule {schedules[0]}" if len(schedules) == 1 else ""
    return f"Study `{name}`{schedule}: {SCORE[lines[0].task].removesuffix(' %')}, tokens, cost and speed of each row."


def _schedules(lines: Sequence[Line]) -> list[str]:
    return sorted({line.schedule for line in lines if line.method != "none"})


def _numbers(spread: Spread | None) -> tuple[float, float, float] | None:
    return (spread.median, spread.low, spread.high) if spread else None


def _range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.1f}–{bounds[1]:.1f}"


def _giga(macs: float) -> str:
    return f"{macs / 1e9:.3g}"


def _times(numbers: tuple[float, float, float]) -> str:
    return f"{numbers[0]:.2f}x"
