"""What the page of a study of costs says: how many published figures its counts explain, and which not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from suite.kinds.costs.figures import Line
from suite.report.page.facts import Facts

NAMED = 8  # figures; more are counted


def facts(folder: Path, lines: Sequence[Line]) -> Facts:
    """The facts of a study of costs with these lines."""
    computed, fits, near, off = _computed(lines), _of(lines, "fits"), _of(lines, "near"), _of(lines, "off")
    how = "round, or are cut," if any(line.cut for line in lines) else "round"
    close = f", {len(near)} more are within {lines[0].tolerance:g} %" if near else ""
    headline = (
        f"{len(fits)} of {len(computed)} computed figures {how} to what is printed{close}, {len(off)} deviate; "
        f"{len(lines) - len(computed)} of all {len(lines)} are not computed."
    )
    if not computed:
        headline = f"None of the {len(lines)} published figures can be computed here: no claim."
    return Facts(headline, tuple(_facts(lines, computed, fits, off)), tuple(_warnings(lines, fits)))


def _of(lines: Sequence[Line], verdict: str) -> list[Line]:
    return [line for line in lines if line.verdict == verdict]


def _computed(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line.verdict != "not computed"]


def _facts(
    lines: Sequence[Line], computed: Sequence[Line], fits: Sequence[Line], off: Sequence[Line]
) -> Iterator[tuple[str, str]]:
    if not computed:
        return
    reduced = [line for line in computed if "method" in json.loads(line.computed_as)]
    fitting = [line for line in fits if line in reduced]
    yield "round to what is printed", f"{len(fits)} of {len(computed)}"
    yield "of them reduced models", f"{len(fitting)} of {len(reduced)}"
    yield "of them unpruned models", f"{len(fits) - len(fitting)} of {len(computed) - len(reduced)}"
    alone = sum(sum(map(line.fits, line.readings().values())) == 1 for line in fits)
    yield "fit in one reading alone", f"{alone} of {len(fits)}"
    every, own = (Counter(line.read_as for line in some) for some in (computed, fits))
    yield "fit, by reading", "; ".join(f"{name}: {own[name]} of {count}" for name, count in every.most_common())
    for unit, what in (("G", "a count"), ("%", "a change")):
        if some := [line for line in computed if line.figure.unit == unit]:
            farthest = max(some, key=lambda line: abs(_deviation(line)))
            yield f"largest deviation of {what}", f"{_shown(farthest)} (`{farthest.figure.id}`)"
    for line in off[:NAMED]:
        yield f"`{line.figure.id}`", f"{line.figure.value} {line.figure.unit} printed, {_shown(line)}"
    if len(off) > NAMED:
        yield "more that deviate", str(len(off) - NAMED)


def _warnings(lines: Sequence[Line], fits: Sequence[Line]) -> Iterator[str]:
    if fits:
        yield (
            "Each figure is read in the convention that its row states, else in the one in which most figures of its "
            "source fit, so a fit is partly by choice."
        )
    reasons = Counter(line.note.rstrip(".") for line in _of(lines, "not computed"))
    yield from (f"{count} not computed: {reason}." for reason, count in reasons.most_common())
    if second_hand := sum(line.figure.evidence != "primary" for line in lines):
        yield f"{second_hand} of {len(lines)} figures were read in a text about their source, not in it."


def _deviation(line: Line) -> float:
    taken = line.taken()
    return 0.0 if taken is None else line.deviation(taken)


def _shown(line: Line) -> str:
    """Computed minus published, as the table shows it."""
    return f"{_deviation(line):+.2f} {'pp' if line.figure.unit == '%' else '%'}"
