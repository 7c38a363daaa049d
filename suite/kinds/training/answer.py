"""What a study answers, in sentences: no more than its statistics support. Every number is shown as in the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from suite.kinds.training.focus import about_rows
from suite.kinds.training.schema import Row
from suite.kinds.training.shown import CONTROL, Shown, differs_significantly, letters_of, plural
from suite.kinds.training.summary import Line
from suite.report.layout import TAINTED, Table
from suite.report.statistics import ALPHA, fewest_seeds


@dataclass(frozen=True)
class Answer:
    """What is said above the table; what stands between backticks is code.

    Attributes:
        verdict: what can be told apart from random pruning, and what it would take where nothing can.
        sentences: what is not there yet, the rows that the study is about, the best median, its cost and speed, and
            what must be said of them.
        facts: names and values of the few numbers to see at a glance.
    """

    verdict: str
    sentences: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def answer(lines: Sequence[Line], table: Table, about: Sequence[Row] = (), missing: int = 0) -> Answer:
    """The answer of a study with these lines; `table` is what `study_table` makes of them.

    `about` are the study's rows that its question is about; of so many `missing` seeds of rows there is no cell yet.
    """
    shown = Shown(lines, table)
    winners = _best(lines)
    highest = (said for best in winners for said in _about_best(best, shown, len(winners) > 1))
    sentences = [
        *_unfinished(missing),
        *about_rows(about, shown),
        *_groups(lines),
        *highest,
        *_unpruned(shown),
        *_lost(lines),
    ]
    return Answer(_verdict(shown), tuple(sentences), tuple(_facts(shown, winners)))


def _unfinished(missing: int) -> Iterator[str]:
    if missing:
        yield (
            f"The study is not finished, {plural(missing, 'seed')} of its rows {'is' if missing == 1 else 'are'} not "
            "in its record: they are in no median, and rows without any are not among those that p is corrected for."
        )


def _verdict(shown: Shown) -> str:
    """Which rows can be told apart from random pruning; if none can, what would be needed."""
    compared = [line for line in shown.lines if line.comparison and line.p is not None]
    if not compared:
        return _nothing_compared(shown.lines)
    apart = [line for line in compared if line.p is not None and line.p < ALPHA]
    seeds = _span(line.comparison.n for line in compared if line.comparison)
    corrected = f"after Holm's correction for {plural(len(compared), 'comparison')}"
    how = f"with {seeds} paired seeds, by Wilcoxon's signed-rank test {corrected}"
    if apart:
        return _told_apart(apart, compared, shown, how)
    if any(line.testable for line in compared):
        least = min(compared, key=lambda line: line.p if line.p is not None else 1.0)
        return (
            f"No row can be told apart from {CONTROL}: {how}, the smallest p is {shown.text(least, 'p')}, not below "
            f"{ALPHA:g}. That is no proof that any is equal to it; `suite power` says how many seeds would find a gap."
        )
    least = min(compared, key=lambda line: line.smallest_p if line.smallest_p is not None else 1.0)
    needed = fewest_seeds(ALPHA, len(compared))
    return (
        f"Nothing can be told apart from {CONTROL}, whatever the scores: {how}, the smallest p possible is "
        f"{shown.text(least, 'smallest p')}. A p below {ALPHA:g} needs {needed} seeds at the "
        "least, and small gaps need more: see `suite power`."
    )


def _nothing_compared(lines: Sequence[Line]) -> str:
    single = [line for line in lines if line.comparison]
    if single:
        return (
            f"Nothing can be told apart from {CONTROL}: one seed is no test. A p below {ALPHA:g} needs "
            f"{fewest_seeds(ALPHA, len(single))} seeds at the least."
        )
    reasons = dict.fromkeys(line.no_control for line in lines if line.no_control)
    return f"No row is compared with {CONTROL}: {'; '.join(reasons) or 'the record has nothing to compare with it'}."


def _told_apart(apart: Sequence[Line], compared: Sequence[Line], shown: Shown, how: str) -> str:
    sides: dict[str, list[str]] = {"above": [], "below": []}
    for line in apart:
        assert line.comparison is not None
        gap = f"{line.label} ({shown.text(line, 'gap')} pp, p = {shown.text(line, 'p')})"
        sides["above" if line.comparison.side > 0 else "below"].append(gap)
    named = "; ".join(f"{side} it {', '.join(own)}" for side, own in sides.items() if own)
    said = f"{len(apart)} of {len(compared)} rows are told apart from {CONTROL} (p < {ALPHA:g}, {how}): {named}."
    others = len(compared) - len(apart)
    rest = f"The rest, {others} of {len(compared)}, shows no difference, which is no proof that there is none."
    return f"{said} {rest}" if others else said


def _best(lines: Sequence[Line]) -> list[Line]:
    """The reduced rows with the highest median of each schedule; more than one of a schedule if they tie."""
    found = []
    reduced = [line for line in lines if line.method != "none" and line.accuracy]
    for schedule in sorted({line.schedule for line in reduced}):
        own = [line for line in reduced if line.schedule == schedule]
        highest = max(line.accuracy.median for line in own if line.accuracy)
        found += [line for line in own if line.accuracy and line.accuracy.median == highest]
    return found


def _about_best(best: Line, shown: Shown, several: bool) -> Iterator[str]:
    where = f" with the schedule {best.schedule}" if several else ""
    said = f"The highest median of a reduced row{where} is that of {best.label}, {shown.score(best)}"
    others = [line for line in shown.lines if line.schedule == best.schedule and line is not best]
    rivals = [line for line in others if line.group and line.method != "random"]
    if rivals:
        apart = sum(differs_significantly(line, best) for line in rivals) or "none"
        counted = f"{plural(len(rivals), 'other row')}, {CONTROL} not counted"
        said += f"; of all pairs it is told apart from {apart} of the {counted}"
    yield f"{said}."
    if best.interval and best.interval.reachable < best.interval.level:
        covers = f"{100 * best.interval.reachable:.3g} of 100 studies"
        yield f"Its interval is too narrow, as any of so few seeds: it covers the truth in at most {covers}."
    yield f"{best.label} {_cost(best, shown)}."


def _cost(best: Line, shown: Shown) -> str:
    """GMACs and speed of a row, beside the unpruned model."""
    unpruned = next((line for line in shown.lines if line.method == "none" and line.macs), None)
    whole = unpruned.macs if unpruned else None
    share = f", {100 * best.macs / whole:.0f} % of the unpruned model's" if whole and best.macs else ""
    macs = f"computes {shown.text(best, 'macs')} GMACs per image{share}" if best.macs else "has no recorded MACs"
    if best.speed is None:
        return f"{macs}; its speed was not measured"
    doubt = f"; that speed is not to be trusted: {best.timing_warnings}" if best.timing_warnings else ""
    spread = f"quartiles of the rounds {best.speed.low:.2f}–{best.speed.high:.2f}"
    return f"{macs}, and runs {shown.text(best, 'speed')} as fast as the unpruned timm model ({spread}){doubt}"


def _groups(lines: Sequence[Line]) -> Iterator[str]:
    """Whether reduced rows of one schedule are told apart from each other."""
    groups = [letters_of(line) for line in lines if line.group]
    if len(groups) > 1 and all(group == {"a"} for group in groups):
        yield (
            "No two reduced rows of one schedule are told apart from each other by the same test, corrected for all "
            "pairs, which asks more than the comparisons with random pruning."
        )
    elif len(groups) > 1:
        yield "Which reduced rows are told apart from each other is in the table's column `group`."


def _unpruned(shown: Shown) -> Iterator[str]:
    for line in shown.lines:
        if line.method == "none" and line.accuracy:
            yield f"The unpruned model has {shown.score(line)}; no test compares rows with it."


def _lost(lines: Sequence[Line]) -> Iterator[str]:
    """Seeds without a score, over all rows."""
    fates = [(what, count) for line in lines for what, count in line.lost]
    kinds = dict.fromkeys(what for what, _ in fates)
    counted = [f"{sum(count for fate, count in fates if fate == what)} {what}" for what in kinds]
    if counted:
        yield f"Seeds without a score, left out of every number: {', '.join(counted)}; see the notes below the table."


def _facts(shown: Shown, winners: Sequence[Line]) -> Iterator[tuple[str, str]]:
    compared = [line for line in shown.lines if line.comparison and line.p is not None]
    yield "seeds per row", _span(line.seeds for line in shown.lines)
    if compared:
        apart = sum(line.p < ALPHA for line in compared if line.p is not None)
        least = min(compared, key=lambda line: line.smallest_p if line.smallest_p is not None else 1.0)
        yield "told apart from random", f"{apart} of {len(compared)}"
        yield "smallest p possible", shown.text(least, "smallest p")
    for line in shown.lines:
        if line.method == "none" and line.accuracy:
            yield f"{shown.name}, unpruned", f"{shown.text(line, 'score')} %"
    if len(winners) == 1:
        yield f"highest median: {winners[0].label}", f"{shown.text(winners[0], 'score')} %"
        if winners[0].speed:
            meaning = f" ({TAINTED}: not to be trusted)" if winners[0].timing_warnings else ""
            yield f"speed of {winners[0].label}{meaning}", shown.marked(winners[0], "speed")


def _span(counts: Iterable[int]) -> str:
    found = sorted(set(counts))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
