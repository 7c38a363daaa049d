"""The columns of a study's table: what each is called, shows and is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from suite.kinds.training.checks import DURATION, MEMORY, RATE, SPEED, TRAINING_MACS
from suite.kinds.training.line import Line
from suite.kinds.training.row_cells import Speed, TrainingCost
from suite.report.layout import Column, recorded
from suite.report.statistics.intervals import LEVEL
from suite.tasks.task import Metric, task

TEST = "Student's t of differences within a seed, two-sided"
NAMED = "as the study's file and the record call it"
EAGER = "speed_ratio_eager"
ROUNDS = "over the rounds; each is images per second over those of the unpruned model, timed interleaved"
# columns made of more than the row's own cells: its control's too, those of all comparisons, those of the schedule
CONTROL_TOO = ("control", "won", "pairs", "gap", "wilcoxon", "uncorrected", "improvement", "improvement interval")
ALL_COMPARED, ALL_OF_SCHEDULE = ("p", "gap interval"), ("group",)


def columns(lines: Sequence[Line]) -> tuple[Column, ...]:
    """The columns of a study, which has one task; how wide an interval is meant to be stands above it."""
    level = f"{100 * LEVEL:g} % " if any(line.interval for line in lines) else ""
    family = sum(line.in_focus and line.gap is not None for line in lines)
    headline = task(lines[0].task).headline
    return (
        *_names(),
        *_scores(headline, level),
        *([_gain(headline)] if any(line.epochs for line in lines) else []),
        *_comparisons(headline, level, family),
        *_published(headline),
        *_costs(),
        *_speeds(lines),
        *(_training() if any(line.training != TrainingCost() for line in lines) else ()),
        *recorded("problem", how="why cells failed or were skipped"),
    )


def speeds_by_key(line: Line) -> dict[str, Speed]:
    """The speeds of a row by the key of their column."""
    largest, *further = line.speeds
    return {"speed": largest} | {f"speed {one.batch}": one for one in further}


def _names() -> Iterator[Column]:
    label = f"the row, with its schedule where the study has several, {NAMED}"
    yield Column("label", "method", align="left", how=label)
    yield from recorded("row", how=f"the row, {NAMED}")
    yield from recorded("schedule", how="patches that each block removes")
    yield from recorded("method", how=f"the method, {NAMED}")


def _scores(headline: Metric, level: str) -> Iterator[Column]:
    heading, score, digits = f"{headline.short} {headline.unit}".rstrip(), headline.last, f".{headline.decimals}f"
    between = " to " if headline.limits[0] < 0 else "–"  # which a minus sign behind it would hide
    one, both = f"{{:{digits}}}".format, f"{{0[0]:{digits}}}{between}{{0[1]:{digits}}}".format
    drawn, failed = "interval over seeds, by Student's t", "seeds without a score, by what became of them"
    quartiles = ("first quartile over the seeds", "third quartile over the seeds")
    long: dict[str, Any] = {"form": "long", "metric": score}
    yield Column("n", form="record", fields=("n",), how="cells with a score", metric=score)
    yield Column("tried", form="record", fields=("seeds",), how="seeds that were tried, failed ones included")
    yield Column("failed", form="record", fields=("failed_seeds",), how=failed, metric=score)
    yield Column("score", heading, one, fields=("score_median",), how="median over the seeds", metric=score)
    yield _interval("interval", f"{level}interval", both, "interval", drawn, metric=score)
    made, fields = "first and third quartile over the seeds", ("score_low", "score_high")
    yield Column("quartiles", "IQR", both, fields=fields, how=made, parts=quartiles, **long)
    middle = "inter-quartile mean: the mean of the middle half of the seeds"
    yield Column("iqm", "IQM", one, fields=("score_iqm",), how=middle, **long)
    yield Column("seeds", "seeds", how="cells with a score, of all that were tried", metric=score)


def _gain(headline: Metric) -> Column:
    heading, digits = f"gain per doubling ({headline.difference() or headline.short})", f"+.{headline.decimals}f"
    how = "median score less that of the next shorter training of the row, over the doublings of epochs between them"
    return Column("gain", heading, f"{{:{digits}}}".format, fields=("gain",), how=how, metric=headline.last)


def _comparisons(headline: Metric, level: str, family: int) -> Iterator[Column]:
    """With the row's control, of which the study has so many that p is corrected for."""
    score, digits, unit = headline.last, f"+.{headline.decimals}f", headline.difference()
    gap = "mean over the seeds that both have of the row minus its control"
    won = ("seeds in which the row is above its control", "seeds tried in which its control has a score")
    corrected = f"for the {family} comparisons in focus, of others not corrected"
    every_pair = f"{TEST} of every two rows of the schedule, Holm-corrected for all these pairs"
    signed, shares = f"{{0[0]:{digits}}} to {{0[1]:{digits}}}".format, "{0[0]:.2f}–{0[1]:.2f}".format
    long: dict[str, Any] = {"form": "long", "metric": score}
    yield from recorded("control", how="the row of random pruning that this one is compared with")
    heading = f"Δ vs. random ({unit})" if unit else "Δ vs. random"
    yield Column("gap", heading, f"{{:{digits}}}".format, fields=("gap",), how=gap, metric=score)
    of = f"interval of the {gap}, by Student's t, {corrected}"
    yield _interval("gap interval", f"{level}interval of Δ", signed, "gap", of, metric=score)
    fields, beaten = ("beats_random", "compared"), "{0[0]} of {0[1]}".format
    how = f"{won[0]}, of those that were tried and in which the control has a score"
    yield Column("won", "beats random", beaten, fields=fields, how=how, parts=won, **long)
    pairs = "seeds in which both the row and its control have a score"
    yield Column("pairs", form="record", fields=("pairs",), how=pairs, metric=score)
    above, improved = "share of all pairs of runs in which the row's is above", "interval of that share over the seeds"
    yield Column("improvement", "P(improvement)", "{:.2f}".format, fields=("improvement",), how=above, **long)
    heading, improved = f"{level}interval of P(improvement)", f"{improved}; see the notes"
    yield _interval("improvement interval", heading, shares, "improvement", improved, **long)
    exact = "Wilcoxon's signed-rank test of the same differences, two-sided and exact, not corrected"
    yield Column("wilcoxon", "p (Wilcoxon)", "{:.2g}".format, fields=("p_wilcoxon",), how=exact, **long)
    yield Column("uncorrected", form="record", fields=("p",), how=f"{TEST}, not corrected", metric=score)
    holm = f"{TEST}, Holm-corrected for the {family} comparisons in focus"
    yield Column("p", "p (Holm)", "{:.2g}".format, fields=("p_holm",), how=holm, metric=score)
    yield Column("group", "group", align="left", fields=("group",), how=every_pair, metric=score)


def _published(headline: Metric) -> Iterator[Column]:
    score, signed = headline.last, f"{{:+.{headline.decimals}f}}".format
    difference, verdict = "median over the seeds minus the published score", "the published score beside the interval"
    yield Column("published", "published", fields=("published",), how="printed by the source")
    yield Column("difference", "difference", signed, fields=("difference",), how=difference, metric=score)
    yield Column("verdict", "verdict", align="left", fields=("verdict",), how=verdict, metric=score)


def _costs() -> Iterator[Column]:
    same, macs = "the same in every seed", "the same in every seed; 1 GMAC is 1e9"
    tokens = ("tokens", "min. tokens", "{:.0f}".format)
    yield Column(*tokens, fields=("min_tokens",), optional=True, how=same, metric="tokens_fewest")
    yield Column("macs", "GMACs", _giga, fields=("macs_full",), how=macs, metric="macs_full")


def _speeds(lines: Sequence[Line]) -> Iterator[Column]:
    """A row's speeds have the keys that `speeds_by_key` gives them, and their warnings these with a word more."""
    warned = "why the timing is unreliable, as its cell says; empty if nothing speaks against it"
    yield _speed("speed", "speed", "speed", SPEED)
    yield _speed("eager", "speed, eager", "eager", EAGER, ", which has timm's eager attention", form="long")
    yield Column("speed warnings", form="record", fields=("speed_timing_warnings",), how=warned, metric=SPEED)
    for size in dict.fromkeys(one.batch for line in lines for one in line.speeds[1:]):
        key, name = f"speed {size}", f"speed_batch_{size}"
        yield _speed(key, f"speed, batch {size}", name, SPEED, optional=True)
        fields = (f"{name}_timing_warnings",)
        yield Column(f"{key} warnings", form="record", fields=fields, how=warned, metric=SPEED)


def _training() -> Iterator[Column]:
    rate = "images over seconds of all updates but the first, with loading, without scoring, median over the seeds"
    memory, hours = "most bytes on the GPU in updates, median over the seeds", "with scoring, median over the seeds"
    share = "MACs of one image forward in training, such as of auxiliary heads, over those of the deployed model"
    yield _cost("rate", "training, images/s", "{:.4g}".format, RATE, rate)
    yield _cost("memory", "training, GB", lambda size: f"{size / 1e9:.3g}", MEMORY, memory)
    yield _cost("hours", "training, hours", "{:.3g}".format, "training_hours", hours, DURATION)
    yield _cost("share", "MACs in training", _ratio, "training_macs_ratio", share, TRAINING_MACS)


def _cost(key: str, heading: str, show: Callable[[Any], str], field: str, how: str, metric: str = "") -> Column:
    return Column(f"training {key}", heading, show, form="long", fields=(field,), how=how, metric=metric or field)


def _speed(key: str, heading: str, name: str, metric: str, attention: str = "", **more: Any) -> Column:
    parts = tuple(f"{which} {ROUNDS}{attention}" for which in ("median", "first quartile", "third quartile"))
    fields = tuple(f"{name}_{what}" for what in ("median", "low", "high"))
    return Column(key, heading, _times, fields=fields, how=parts[0], parts=parts, metric=metric, **more)


def _interval(key: str, heading: str, show: Callable[[Any], str], name: str, of: str, **more: Any) -> Column:
    parts = (f"lower end of the {of}", f"upper end of the {of}")
    return Column(key, heading, show, fields=(f"{name}_low", f"{name}_high"), how=of, parts=parts, **more)


def _giga(macs: float) -> str:
    return f"{macs / 1e9:#.3g}".rstrip(".")


def _ratio(share: float) -> str:
    return f"{share:.2f}x"


def _times(numbers: tuple[float, float, float]) -> str:
    return _ratio(numbers[0])
