"""What was found of the rows that a study is about, its key `about`: against random pruning and in their block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from suite.kinds.training.schema import Row
from suite.kinds.training.shown import CONTROL, Shown, differs_significantly, plural
from suite.kinds.training.summary import Line
from suite.reduction.registry import settings_class


def about_rows(rows: Sequence[Row], shown: Shown) -> Iterator[str]:
    """A sentence for each method of which these rows name several fusions, then one for each of their lines."""
    ways: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        settings = settings_class(row.method)(**row.settings)
        ways.setdefault((row.method, repr(settings)), []).append(row)
    for own in ways.values():
        if len({row.fusion for row in own} - {"none"}) > 1:
            yield from _ways_back(own, shown)
    for row in rows:
        lines = [line for line in shown.lines if line.row == row.label]
        yield from (_sentence(line, shown) for line in lines)
        if not lines:
            yield f"The study is about {row.label}, of which its record has nothing yet."


def _sentence(line: Line, shown: Shown) -> str:
    """Its median, its gap to random pruning, and its place in its block."""
    if line.accuracy is None:
        return f"{line.label} has no seed with a score, so nothing is said of it."
    return f"{line.label} has a median of {shown.score(line)}{_against_control(line, shown)}{_place(line, shown)}."


def _against_control(line: Line, shown: Shown) -> str:
    found = line.comparison
    if found is None:
        return f"; it is not compared with {CONTROL}: {line.no_control}" if line.no_control else ""
    gap = f"; its gap to {line.control} is {shown.text(line, 'gap')} pp"
    if found.interval is None or line.p is None or line.won is None:
        return f"{gap}, and one seed is no test"
    won, tried = line.won
    return (
        f"{gap} ({100 * found.interval.level:g} % interval {shown.text(line, 'gap interval')}, "
        f"p = {shown.text(line, 'p')} after Holm's correction), and it is above it in {won} of {plural(tried, 'seed')}"
    )


def _place(line: Line, shown: Shown) -> str:
    """Its rank by median in its block, and whether it is told apart from any other reduced row there."""
    block = [one for one in shown.lines if (one.schedule, one.block) == (line.schedule, line.block) and one.accuracy]
    if line.accuracy is None or not line.block or len(block) < 2:
        return ""
    higher = sum(one.accuracy.median > line.accuracy.median for one in block if one.accuracy)
    rank = f"; by median it is number {1 + higher} of the {len(block)} reduced rows in the block of {line.block}"
    others = [one for one in block if one.row not in (line.row, line.block)]
    if not others or not line.group:
        return rank
    apart = sum(differs_significantly(one, line) for one in others) or "none"
    counted = f"{plural(len(others), 'other row')}, {line.block} not counted"
    return f"{rank}, and of all pairs it is told apart from {apart} of the {counted}"


def _ways_back(rows: Sequence[Row], shown: Shown) -> Iterator[str]:
    """Rows of one method with one setting and several fusions, by median, and which of them are told apart."""
    fusion = {row.label: f"`{row.fusion}`" for row in rows}
    for schedule in dict.fromkeys(line.schedule for line in shown.lines if line.row in fusion):
        own = [line for line in shown.lines if line.row in fusion and line.schedule == schedule and line.accuracy]
        own.sort(key=lambda line: -line.accuracy.median if line.accuracy else 0.0)
        if len(own) < 2:
            continue
        where = f" with the schedule {schedule}" if shown.several else ""
        order = ", ".join(f"{fusion[line.row]} {shown.text(line, 'score')} %" for line in own)
        yield f"Ways for {rows[0].method} to bring patches back{where}, by median: {order}; {_decided(own, fusion)}."


def _decided(own: Sequence[Line], fusion: Mapping[str, str]) -> str:
    """Which of these lines, by falling median, are told apart, and whether that decides who is first."""
    if not all(line.group for line in own):
        return "one seed is no test, so which serves best is not decided"
    below = {
        one.row: [fusion[other.row] for other in own[place:] if differs_significantly(one, other)]
        for place, one in enumerate(own, 1)
    }
    if not any(below.values()):
        return "of all pairs, no two of them are told apart, so which serves best is not decided"
    apart = "; ".join(f"{fusion[row]} from {', '.join(others)}" for row, others in below.items() if others)
    if len(below[own[0].row]) == len(own) - 1:
        return f"of all pairs, told apart are {apart}: the first from all others"
    return f"of all pairs, told apart are {apart}: the first not from all others, so which serves best is not decided"
