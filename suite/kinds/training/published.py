"""Published scores: which row of which study they are of, and whether a measured score agrees with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from suite.errors import UserError, suggest
from suite.study.published import Number, half_a_unit, read_numbers

PUBLISHED = Path("results/published/scores.csv")
TOLERANCE = 0.5  # percentage points, for a single seed, which has no interval; none for scores in another unit


def verdict(published: str, median: float, interval: tuple[float, float] | None, n: int, unit: str) -> str:
    """Whether a median over n seeds agrees: if what the source printed, up to its rounding, is in the interval.

    Without an interval a score in % agrees within `TOLERANCE`. n is always given.
    """
    value, half = float(published), half_a_unit(published) + 1e-9  # which floats may be off by
    if interval is None or n < 2:
        if unit != "%":
            return f"no interval, n = {n}"
        agrees = abs(median - value) <= TOLERANCE + half
        return f"{'within' if agrees else 'outside'} {TOLERANCE:g} pp, n = {n}"
    low, high = interval
    found = "below" if high + half < value else "above" if low - half > value else "agrees"
    return f"{found}, n = {n}"


def read_scores(path: Path, study: str = "", known: Collection[str] = (), unit: str = "") -> list[Number]:
    """Published scores, each with the study and the row that it is of; none if the file does not exist.

    A score of `study` in another unit than `unit`, or of none of the rows `known`, is refused: nothing would show it.

    Raises:
        UserError: if it is not such a file, with the line.
    """
    found: dict[tuple[str, str, str], Number] = {}
    for place, score in read_numbers(path, ("study", "row")) if path.is_file() else ():
        own = score.study == study
        if len(score.value.split()) != 1 or (own and score.unit != unit):
            wanted = f"one number in {unit}" if own else "one number"
            raise UserError(f"{place}: expected {wanted}, found {score.value!r} {score.unit!r}")
        if found.setdefault((score.study, score.row, score.schedule), score) is not score:
            raise UserError(f"{place}: duplicate; {score.study} has the row {score.row!r} twice; keep one of them")
        if known and own and score.row not in known:
            raise UserError(f"{place}: the study {study} has no row {score.row!r}; {suggest(score.row, known)}")
    return list(found.values())


def score_of(scores: Sequence[Number], study: str, row: str, schedule: str) -> Number | None:
    """The published score of a row under a schedule, the one for just that schedule first."""
    by_schedule = {score.schedule: score for score in scores if (score.study, score.row) == (study, row)}
    return by_schedule.get(schedule, by_schedule.get(""))
