"""What the page of a study without training says: which row is nearest to the unpruned model at each schedule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from suite.kinds.off_the_shelf.cells import OTHERS, SMALLER, UNPRUNED
from suite.kinds.off_the_shelf.record import Ends, Line
from suite.kinds.off_the_shelf.scores import METRICS
from suite.kinds.off_the_shelf.table import headline, why_not
from suite.report.page.facts import Facts


def facts(_folder: Path, lines: Sequence[Line]) -> Facts:
    """The facts of these lines, by the metric that rows are compared by."""
    chief = headline(lines)
    reduced = [line for line in lines if chief in line.found and line.schedule not in (UNPRUNED, SMALLER, OTHERS)]
    beaten = [line for line in reduced if (gain := line.found[chief].gain) and (gain[1] or 0) > 0]
    compared = [line for line in reduced if line.found[chief].gain]
    if not reduced:
        return Facts("No method has run: no claim.", (), tuple(_warnings(lines)))
    text = f"Without training, {len(reduced)} rows were compared with the unpruned model on {lines[0].images} images"
    if compared:
        text += f"; {len(beaten)} of {len(compared)} beat shrinking the image to their cost"
        text += " (intervals of all at once above 0)"
    return Facts(f"{text}.", tuple(_facts(lines, reduced, chief)), tuple(_warnings(lines)))


def _facts(lines: Sequence[Line], reduced: Sequence[Line], chief: str) -> Iterator[tuple[str, str]]:
    yield "compared by", METRICS[chief].how
    for line in lines:
        if line.row == UNPRUNED and chief in line.found:
            yield "unpruned", _shown(line, chief)
    for schedule in dict.fromkeys(line.schedule for line in reduced):
        best = max((line for line in reduced if line.schedule == schedule), key=lambda line: line.found[chief].mean[0])
        gain = best.found[chief].gain
        against = f"; {_ends(chief, gain, '+')} against {SMALLER} at its cost" if gain else ""
        yield schedule, f"{best.row} {_shown(best, chief)}{against}"


def _shown(line: Line, chief: str) -> str:
    return _ends(chief, line.found[chief].mean)


def _ends(chief: str, found: Ends, sign: str = "") -> str:
    metric, (middle, low, high) = METRICS[chief], found
    unit, form = f" {metric.unit}" if metric.unit != "1" else "", f"{sign}.{metric.digits}f"
    ends = "" if low is None or high is None else f" ({metric.scale * low:{form}} to {metric.scale * high:{form}})"
    return f"{metric.scale * middle:{form}}{unit}{ends}"


def _warnings(lines: Sequence[Line]) -> Iterator[str]:
    yield from (f"{', '.join(labels)}: {reason}." for reason, labels in why_not(lines).items())
    if lines[0].groups < 30:
        yield f"A demonstration on {lines[0].groups} images or groups of them: it says little about others."
