"""The table of a study, described once; `suite.report.render` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from suite.kinds.training.columns import columns, speeds_by_key
from suite.kinds.training.line import Line
from suite.kinds.training.published import PUBLISHED, TOLERANCE, read_scores, score_of, verdict
from suite.kinds.training.row_cells import ONE_SEED, TrainingCost
from suite.kinds.training.summary import schedules
from suite.report.layout import BELOW, EXPLORATORY, UNRELIABLE, Block, Note, Row, Table
from suite.report.statistics.aggregates import Spread
from suite.report.statistics.intervals import Interval
from suite.study.load import find
from suite.study.published import Number
from suite.tasks.task import task

FINE_TUNING_ONLY = (
    "Spread of fine-tuning only: all seeds start from the same weights, and what other weights would give is in no "
    "interval."
)
BRIEF = ("label", "score", "interval", "gap", "speed")


def study_table(name: str, lines: Sequence[Line], scores: Sequence[Number] = ()) -> Table:
    """The table of the study `name`, which has one task; published scores stand beside the rows that they are of."""
    rows = [_row(line, score_of(scores, name, line.row, line.schedule)) for line in lines]
    pairs = list(zip(lines, rows, strict=True))
    several = len(schedules(lines)) > 1
    blocks = [
        Block(", ".join(key), tuple(row for _, row in members))
        for key, members in groupby(pairs, key=lambda pair: _block(pair[0], several))
    ]
    notes = tuple(_notes(lines, rows))
    return Table(name, _caption(name, lines), columns(lines), tuple(blocks), notes, brief=BRIEF)


def table(name: str, lines: Sequence[Line]) -> Table:
    """The table of a study, with the published scores of `results/`.

    Raises:
        UserError: if one of them is of a row that the study does not have.
    """
    loaded = find(name)
    known = {row.label for row in loaded.study.methods} | {line.row for line in lines} if loaded else set()
    return study_table(name, lines, read_scores(PUBLISHED, name, known, task(lines[0].task).headline.unit))


def _row(line: Line, published: Number | None) -> Row:
    score, failed = line.score, [f"{count} {what}" for what, count in line.failed]
    values: dict[str, Any] = {
        **{name: getattr(line, name) for name in ("label", "row", "schedule", "method", "p", "tokens", "macs", "gain")},
        "n": score.n if score else 0,
        "tried": line.seeds,
        "failed": ", ".join(failed),
        "score": score and score.median,
        "interval": _ends(line.interval),
        "quartiles": _ends(score),
        "iqm": line.iqm,
        "seeds": ", ".join([f"{score.n if score else 0}/{line.seeds}", *failed]),
        "group": line.group or None,
        "eager": _numbers(line.speeds[0].eager),
        **{key: _numbers(one.fused) for key, one in speeds_by_key(line).items()},
        **{f"{key} warnings": one.timing_warnings for key, one in speeds_by_key(line).items()},
        **{f"training {name}": value for name, value in asdict(line.training).items()},
        "problem": line.problem,
    }
    values |= _compared(line) | _beside(line, published)
    return Row(values, _marks(line), _details(line, published))


def _compared(line: Line) -> dict[str, Any]:
    found = line.comparison
    against = {"control": line.versus.control, "won": line.versus.won}
    if found is None:
        return against
    return against | {
        "gap": found.gap,
        "gap interval": _ends(line.gap),
        "pairs": found.n,
        "improvement": found.improvement,
        "improvement interval": _ends(found.improvement_interval),
        "wilcoxon": found.wilcoxon,
        "uncorrected": found.p,
    }


def _beside(line: Line, published: Number | None) -> dict[str, Any]:
    if published is None or line.score is None:
        return {"published": published and published.value}
    score, interval = line.score, _ends(line.interval)
    return {
        "published": published.value,
        "difference": score.median - float(published.value),
        "verdict": verdict(published.value, score.median, interval, score.n, published.unit),
    }


def _marks(line: Line) -> dict[str, str]:
    marks = dict.fromkeys(_unreliable(line), UNRELIABLE)
    marks |= {"label": BELOW} if line.below_random else {}
    exploratory = line.comparison and not line.in_focus
    return marks | ({"gap": EXPLORATORY} if exploratory else {})


def _details(line: Line, published: Number | None) -> dict[str, dict[str, str]]:
    """What a trace says besides: why a speed is unreliable, and where a published score is from."""
    found = {key: {"timing warnings": reason} for key, reason in _unreliable(line).items()}
    if published:
        said = {name: value for name, value in published if name not in ("study", "row") and value}
        found |= dict.fromkeys(("published", "difference", "verdict"), said)
    return found


def _unreliable(line: Line) -> dict[str, str]:
    """Why timings are unreliable, by the keys of the columns that have them."""
    timed = speeds_by_key(line) | {"eager": line.speeds[0]}
    return {
        name: one.timing_warnings
        for key, one in timed.items()
        if one.timing_warnings
        for name in (key, f"{key} warnings")
    }


def _notes(lines: Sequence[Line], rows: Sequence[Row]) -> Iterator[Note]:
    """What the columns mean, and every mark that was set."""
    intervals = any(line.interval for line in lines)
    spread = ", with an interval by Student's t" if intervals else ""
    yield Note(f"{task(lines[0].task).headline.note}, median over seeds{spread}. Seeds: finished / tried.")
    if any(line.same_start for line in lines):
        yield Note(FINE_TUNING_ONLY)
    for rate in sorted({line.own_rate for line in lines if line.own_rate is not None}):
        labels = dict.fromkeys(line.row if line.epochs else line.label for line in lines if line.own_rate == rate)
        named = ", ".join(labels)
        yield Note(
            f"What the backbone does not have, such as queries and auxiliary heads, learns at {rate:g}: {named}."
        )
    if intervals:
        yield Note("Intervals of scores are of one row each and not corrected for the number of rows.")
    yield Note("IQM: inter-quartile mean over seeds; below four seeds the mean.", only="long")
    yield from _about_comparisons(lines)
    if any(row.values.get("published") is not None for row in rows):
        unit = task(lines[0].task).headline.difference()
        single = f"; for a single seed, whether it is within {TOLERANCE:g} pp" if unit == "pp" else ""
        yield Note(
            f"Difference: measured minus published ({unit}). Verdict: whether the published score, up to its rounding, "
            f"lies in the interval{single}."
        )
    yield Note(
        "Min. tokens: shortest sequence any block processes, class token included. GMACs: per image, with both matrix "
        "products of the attention (convention `full`)."
    )
    largest, *further = lines[0].speeds
    batch = f", batch {largest.batch} unless the heading names another" if further else ""
    if any(one.fused for line in lines for one in line.speeds):
        yield Note(
            "Speed: images per second relative to the unpruned timm model, timed interleaved on this study's machine, "
            f"median of rounds{batch}."
        )
    if any(line.speeds[0].eager for line in lines):
        yield Note("Speed, eager: relative to the unpruned model with timm's eager attention.", only="long")
    if any(line.training != TrainingCost() for line in lines):
        yield Note(
            "Training: on the device of the record, nothing of rows whose seeds had several; one update has no rate.",
            only="long",
        )
    yield from _about_timing_warnings(lines)
    yield from _about_rows(lines)


def _about_rows(lines: Sequence[Line]) -> Iterator[Note]:
    alone = all(ONE_SEED in line.marks for line in lines)
    if alone:
        yield Note(f"Every row has {ONE_SEED}.")
    marked: dict[str, list[str]] = {}
    for line in lines:
        own = [mark for mark in line.marks if not (alone and mark == ONE_SEED)]
        reason = line.versus.reason
        for mark in [*own, *([f"not compared with random: {reason}"] if reason else [])]:
            marked.setdefault(mark, []).append(line.label)
    for mark, labels in marked.items():
        yield Note(f"{', '.join(labels)}: {mark}")


def _about_timing_warnings(lines: Sequence[Line]) -> Iterator[Note]:
    """Why speeds are unreliable: each reason in the long form, where they stand in the short one."""
    marked = {key for line in lines for key in _unreliable(line)}
    reasons = [column for column in columns(lines) if column.key in marked and column.form == "record"]
    if marked:
        fields = ", ".join(f"`{field}`" for column in reasons for field in column.fields)
        yield Note(f"unreliable timing; reason in `table.html` and `table.csv` ({fields}).", UNRELIABLE, only="short")
    for line in lines:
        for key, one in speeds_by_key(line).items():
            if one.timing_warnings:
                name = line.label if key == "speed" else f"{line.label}, batch {one.batch}"
                yield Note(f"{name}: {one.timing_warnings}.", UNRELIABLE, only="long")


def _about_comparisons(lines: Sequence[Line]) -> Iterator[Note]:
    if any(what == "diverged" for line in lines for what, _ in line.failed):
        yield Note("Diverged: training stopped at non-finite numbers, or the score is not finite.")
    if not any(line.comparison for line in lines):
        return
    yield Note(
        "Δ vs. random: mean over seeds of the score minus that of random pruning with the same seed, schedule and, "
        "where the study has it, fusion (first row of each block)."
    )
    if any(line.versus.won and line.versus.won[1] > (line.comparison.n if line.comparison else 0) for line in lines):
        yield Note("A tried seed without a score counts as not beating random pruning.")
    family = sum(line.in_focus and line.gap is not None for line in lines)
    if any(line.p is not None for line in lines):
        yield Note(
            "Its interval and p: paired two-sided t-test over seeds; intervals hold at once, and p is Holm-corrected, "
            f"for the {family} comparisons that the study is about."
        )
    if any(line.comparison and not line.in_focus for line in lines):
        yield Note("exploratory: not in the study's focus, the interval is not corrected.", EXPLORATORY)
    if any(line.group for line in lines):
        yield Note(
            "Group: rows of one schedule sharing a letter do not differ significantly (paired t-tests, "
            "Holm-corrected for all pairs), which does not prove them equal."
        )
    yield Note(
        "P(improvement): probability that a run is above a run of random pruning; Clopper-Pearson interval over seeds, "
        "conservative.",
        only="long",
    )
    if any(line.below_random for line in lines):
        yield Note("does not beat random pruning in every seed.", BELOW)


def _block(line: Line, several: bool) -> tuple[str, ...]:
    if line.unpruned:
        return ("unpruned",)
    against = f"compared with {line.block}" if line.block else "without a control"
    return (line.schedule, against) if several else (against,)


def _caption(name: str, lines: Sequence[Line]) -> str:
    known = schedules(lines)
    schedule = f", schedule {known[0]}" if len(known) == 1 else ""
    return f"Study `{name}`{schedule}: score, tokens, cost and speed of each row."


def _numbers(spread: Spread | None) -> tuple[float, float, float] | None:
    return (spread.median, spread.low, spread.high) if spread else None


def _ends(of: Spread | Interval | None) -> tuple[float, float] | None:
    return (of.low, of.high) if of else None
