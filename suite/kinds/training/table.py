"""The table of a study, described once; `suite.report.render` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from suite.kinds.training.failed_seeds import ONE_SEED
from suite.kinds.training.published import TOLERANCE, score_of, verdict
from suite.kinds.training.summary import Line
from suite.report.layout import BELOW, TAINTED, UNTESTABLE, Block, Column, Note, Row, Table
from suite.report.statistics import ALPHA, Interval, Spread
from suite.study.published import Number

SCORE = {"classification": "acc. %", "segmentation": "mIoU %"}
MEANING = {
    "classification": "Accuracy: top-1 of the last epoch",
    "segmentation": "mIoU: mean over the classes of the last epoch's intersection over union",
}


def columns(lines: Sequence[Line]) -> tuple[Column, ...]:
    """The columns of a study, which has one task; how wide an interval is meant to be stands above it."""
    level = next((f"{100 * line.interval.level:g} % " for line in lines if line.interval), "")
    return (
        Column("label", "method", align="left"),
        Column("row", form="record", fields=("row",)),
        Column("schedule", form="record", fields=("schedule",)),
        Column("method", form="record", fields=("method",)),
        Column("n", form="record", fields=("n",)),
        Column("tried", form="record", fields=("seeds",)),
        Column("lost", form="record", fields=("lost",)),
        Column("score", SCORE[lines[0].task], "{:.1f}".format, fields=("accuracy_median",)),
        Column("interval", f"{level}interval", _range, fields=("interval_low", "interval_high")),
        Column("quartiles", "IQR", _range, form="long", fields=("accuracy_low", "accuracy_high")),
        Column("middle", "IQM", "{:.1f}".format, form="long", fields=("accuracy_iqm",)),
        Column("seeds", "seeds"),
        Column("control", form="record", fields=("control",)),
        Column("gap", "gap to random", "{:+.1f}".format, fields=("gap",)),
        Column("gap interval", f"{level}interval of the gap", _gap_range, form="long", fields=("gap_low", "gap_high")),
        Column("won", "beats random", "{0[0]} of {0[1]}".format, form="long", fields=("beats_random", "compared")),
        Column("pairs", form="record", fields=("pairs",)),
        Column("improvement", "improvement", "{:.2f}".format, form="long", fields=("improvement",)),
        Column(
            "improvement interval",
            f"{level}interval of the improvement",
            lambda ends: "{:.2f}–{:.2f}".format(*ends),
            form="long",
            fields=("improvement_low", "improvement_high"),
        ),
        Column("uncorrected", form="record", fields=("p",)),
        Column("p", "p (Holm)", "{:.2g}".format, fields=("p_holm",)),
        Column("smallest p", "smallest p", "{:.2g}".format, form="long", fields=("smallest_p_holm",)),
        Column("group", "group", align="left", fields=("group",)),
        Column("published", "published", fields=("published",)),
        Column("difference", "difference", "{:+.1f}".format, fields=("difference",)),
        Column("verdict", "verdict", align="left", fields=("verdict",)),
        Column("tokens", "tokens left", "{:.0f}".format, fields=("tokens_left",), spare=True),
        Column("macs", "GMACs", _giga, fields=("macs_full",)),
        Column("speed", "speed", _times, fields=("speed_median", "speed_low", "speed_high")),
        Column("eager", "speed, eager", _times, form="long", fields=("eager_median", "eager_low", "eager_high")),
        Column("timing_warnings", form="record", fields=("speed_timing_warnings",)),
        *_further_columns(lines),
        Column("problem", form="record", fields=("problem",)),
    )


def further_key(size: int | None) -> str:
    """The key of the column of speeds with one of the study's further batch sizes."""
    return f"speed {size}"


def _further_columns(lines: Sequence[Line]) -> Iterator[Column]:
    for size in dict.fromkeys(one.batch for line in lines for one in line.further):
        names = [f"speed_batch_{size}_{what}" for what in ("median", "low", "high", "timing_warnings")]
        yield Column(further_key(size), f"speed, batch {size}", _times, fields=tuple(names[:3]), spare=True)
        yield Column(f"timing_warnings {size}", form="record", fields=(names[3],))


def study_table(name: str, lines: Sequence[Line], scores: Sequence[Number] = ()) -> Table:
    """The table of the study `name`, which has one task; published scores stand beside the rows that they are of."""
    rows = [_row(line, score_of(scores, name, line.row, line.schedule)) for line in lines]
    pairs = list(zip(lines, rows, strict=True))
    blocks = [
        Block(", ".join(key), tuple(row for _, row in members))
        for key, members in groupby(pairs, key=lambda pair: _block(pair[0], several=len(schedules(lines)) > 1))
    ]
    return Table(name, _caption(name, lines), columns(lines), tuple(blocks), tuple(_notes(lines, rows)))


def _row(line: Line, published: Number | None) -> Row:
    score, lost = line.accuracy, [f"{count} {what}" for what, count in line.lost]
    compared = line.comparison
    values: dict[str, Any] = {
        "label": line.label,
        "row": line.row,
        "schedule": line.schedule,
        "method": line.method,
        "n": score.n if score else 0,
        "tried": line.seeds,
        "lost": ", ".join(lost),
        "score": score and score.median,
        "interval": _ends(line.interval),
        "quartiles": _ends(score),
        "middle": line.middle,
        "seeds": ", ".join([f"{score.n if score else 0}/{line.seeds}", *lost]),
        "control": line.control,
        "gap": compared and compared.gap,
        "gap interval": _ends(compared.interval if compared else None),
        "won": line.won,
        "pairs": compared and compared.n,
        "improvement": compared and compared.improvement,
        "improvement interval": _ends(compared.improvement_interval if compared else None),
        "uncorrected": compared and compared.p,
        "p": line.p,
        "smallest p": line.smallest_p,
        "group": line.group or None,
        "tokens": line.tokens,
        "macs": line.macs,
        "speed": _numbers(line.speed),
        "eager": _numbers(line.eager),
        **_doubts(line),
        "problem": line.problem,
    }
    for one in line.further:
        values |= {further_key(one.batch): _numbers(one.fused)}
    marks = dict.fromkeys(("speed", "eager"), TAINTED) if line.timing_warnings else {}
    marks |= {further_key(one.batch): TAINTED for one in line.further if one.timing_warnings}
    marks |= {"label": BELOW} if line.below_random else {}
    marks |= {} if line.testable else {"p": UNTESTABLE}
    return Row(values | _beside(line, published), marks)


def _beside(line: Line, published: Number | None) -> dict[str, Any]:
    """A published score, and how the measured one compares with it."""
    if published is None or line.accuracy is None:
        return {"published": published and published.value}
    score, interval = line.accuracy, _ends(line.interval)
    return {
        "published": published.value,
        "difference": score.median - float(published.value),
        "verdict": verdict(published.value, score.median, interval, score.n),
    }


def _notes(lines: Sequence[Line], rows: Sequence[Row]) -> Iterator[Note]:
    """What the columns mean, and every mark that was set."""
    task = lines[0].task
    spread = ", with its interval by the bootstrap over seeds" if any(line.interval for line in lines) else ""
    yield Note(
        f"{MEANING[task]}, median over seeds{spread}. Seeds: finished of tried; one without a score stays in the "
        "second number."
    )
    if spread:
        yield Note("Intervals are of one row each, not corrected for the number of rows: none of them is a claim.")
    yield Note("IQM: the inter-quartile mean, of the middle half of the seeds; below four seeds the mean.", only="long")
    yield from _about_comparisons(lines)
    if any(row.values.get("published") is not None for row in rows):
        yield Note(
            "Difference: measured less published, in percentage points. Verdict: whether the published figure, up to "
            f"its rounding, is in the interval; for a single seed, whether it is within {TOLERANCE:g} pp."
        )
    yield Note(
        "Tokens left: the fewest tokens, class token included, that a block computes. GMACs: per image, with both "
        "matrix products of the attention (convention `full`)."
    )
    batch = f", {lines[0].batch} images at a time where the heading says no other batch" if lines[0].further else ""
    yield Note(
        "Speed: images per second over those of the unpruned timm model, timed side by side on this study's machine, "
        f"median of rounds{batch}."
    )
    if any(line.eager for line in lines):
        eager = "Speed, eager: against the unpruned model with timm's eager attention, not the fused one."
        yield Note(eager, only="long")
    yield from _about_timing_warnings(lines)
    alone = all(ONE_SEED in line.marks for line in lines)
    if alone:
        yield Note(f"Every row has {ONE_SEED}.")
    for line in lines:
        own = [said for said in line.marks if not (alone and said == ONE_SEED)]
        for said in [*own, *([f"not compared with random: {line.no_control}"] if line.no_control else [])]:
            yield Note(f"{line.label}: {said}")


def _doubts(line: Line) -> dict[str, str]:
    """Why speeds are not to be trusted, by the key of the column that has it; empty if nothing speaks against them."""
    return {"timing_warnings": line.timing_warnings} | {
        f"timing_warnings {one.batch}": one.timing_warnings for one in line.further
    }


def _about_timing_warnings(lines: Sequence[Line]) -> Iterator[Note]:
    """Why speeds are not to be trusted: each reason in the long form, where they stand in the short one."""
    marked = [key for line in lines for key, reason in _doubts(line).items() if reason]
    if marked:
        fields = ", ".join(f"`{field}`" for column in columns(lines) if column.key in marked for field in column.fields)
        where = f"`table.html`, in `table.csv` ({fields}) and in `suite trace`"
        yield Note(f"a speed that is not to be trusted; why stands in {where}.", TAINTED, only="short")
    for line in lines:
        if line.timing_warnings:
            yield Note(f"{line.label}: {line.timing_warnings}.", TAINTED, only="long")
        for one in line.further:
            if one.timing_warnings:
                yield Note(f"{line.label}, batch {one.batch}: {one.timing_warnings}.", TAINTED, only="long")


def _about_comparisons(lines: Sequence[Line]) -> Iterator[Note]:
    """What can be said of differences with so many seeds, and what cannot."""
    narrow = [line.interval for line in lines if line.interval and line.interval.reachable < line.interval.level]
    if narrow:
        worst = min(narrow, key=lambda interval: interval.reachable)
        yield Note(
            f"With so few seeds an interval is too narrow: it covers the truth in at most {100 * worst.reachable:.3g} "
            f"of 100 studies, not in {100 * worst.level:g}."
        )
    if any(what == "diverged" for line in lines for what, _ in line.lost):
        yield Note("Diverged: training was stopped because numbers were not finite, or the score is not.")
    if not any(line.comparison for line in lines):
        return
    yield Note(
        "Gap: the median over seeds of the score less that of random pruning with the same seed, schedule and, where "
        "the study has it, fusion, which leads each block; in percentage points."
    )
    if any(line.won and line.won[1] > (line.comparison.n if line.comparison else 0) for line in lines):
        yield Note("A seed that was tried and has no score did not beat random pruning.")
    if any(line.p is not None for line in lines):
        yield Note(
            "p: Wilcoxon's signed-rank test of these gaps, two-sided, exact, after Holm's correction for all rows."
        )
    if any(line.p is not None and not line.testable for line in lines):
        yield Note(f"so few seeds and so many rows cannot reach a p below {ALPHA:g}, whatever the gap.", UNTESTABLE)
    if any(line.group for line in lines):
        yield Note(
            "Group: rows of one schedule that share a letter are not told apart, by the same test of every two rows, "
            "corrected for all pairs, which asks more than the comparisons with random pruning. That is no proof that "
            "they are equal."
        )
    yield Note(
        "Improvement: the probability that a run is above a run of random pruning, with the interval of Clopper and "
        "Pearson for the share that so many seeds won, which is rather too wide.",
        only="long",
    )
    if any(line.below_random for line in lines):
        yield Note("does not beat random pruning in every seed.", BELOW)


def _block(line: Line, several: bool) -> tuple[str, ...]:
    """What a block is called: the schedule where there are several, and what its rows are compared with."""
    if line.method == "none":
        return ("unpruned",)
    against = f"compared with {line.block}" if line.block else "without a control"
    return (line.schedule, against) if several else (against,)


def _caption(name: str, lines: Sequence[Line]) -> str:
    known = schedules(lines)
    schedule = f", schedule {known[0]}" if len(known) == 1 else ""
    return f"Study `{name}`{schedule}: score, tokens, cost and speed of each row."


def schedules(lines: Sequence[Line]) -> list[str]:
    """Those of the reduced rows; where there are several, labels and blocks name them."""
    return sorted({line.schedule for line in lines if line.method != "none"})


def _numbers(spread: Spread | None) -> tuple[float, float, float] | None:
    return (spread.median, spread.low, spread.high) if spread else None


def _ends(of: Spread | Interval | None) -> tuple[float, float] | None:
    return (of.low, of.high) if of else None


def _range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.1f}–{bounds[1]:.1f}"


def _gap_range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:+.1f} to {bounds[1]:+.1f}"


def _giga(macs: float) -> str:
    return f"{macs / 1e9:#.3g}".rstrip(".")


def _times(numbers: tuple[float, float, float]) -> str:
    return f"{numbers[0]:.2f}x"
