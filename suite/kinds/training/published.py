"""Published scores: which row of which study they are of, and whether a measured score agrees with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

from suite.errors import UserError, suggest
from suite.ledger.lines import read_rows

PUBLISHED = Path("results/published/scores.csv")
TOLERANCE = 0.5  # percentage points, for a single seed, which has no interval


class Score(NamedTuple):
    """A published score, as its source prints it, in percent.

    It is of the row `row` of the study `study`, under `schedule` or, if that is empty, any. `seeds`, `statistic`: what
    the source says about them; `where`, `source`: table and document; `evidence`: primary, or secondary if we saw it
    through somebody else.
    """

    study: str
    row: str
    schedule: str
    value: str
    unit: str
    seeds: str
    statistic: str
    where: str
    source: str
    evidence: str

    def verdict(self, median: float, interval: tuple[float, float] | None, n: int) -> str:
        """Whether a median over n seeds agrees: if what the source printed, up to its rounding, is in the interval.

        Without an interval it agrees within `TOLERANCE`. n is always said.
        """
        value = float(self.value)
        half = 0.5 * 10.0 ** int(Decimal(self.value).as_tuple().exponent) + 1e-9  # which floats may be off by
        if interval is None or n < 2:
            agrees = abs(median - value) <= TOLERANCE + half
            return f"{'within' if agrees else 'outside'} {TOLERANCE:g} pp, n = {n}"
        low, high = interval
        found = "below" if high + half < value else "above" if low - half > value else "agrees"
        return f"{found}, n = {n}"


def read_scores(path: Path) -> list[Score]:
    """Published scores; none if the file does not exist.

    Raises:
        UserError: if it is not such a table.
    """
    if not path.is_file():
        return []
    found: dict[tuple[str, str, str], Score] = {}
    for number, row in read_rows(path, Score._fields):
        score = Score(*row)
        if score.unit != "%" or not _is_number(score.value):
            raise UserError(f"{path}:{number}: {score.value!r} {score.unit!r} is not a number in %")
        if found.setdefault((score.study, score.row, score.schedule), score) is not score:
            raise UserError(f"{path}:{number}: {score.study} has the row {score.row!r} twice; keep one of them")
    return list(found.values())


def check_rows(path: Path, study: str, known: Collection[str]) -> None:
    """Refuse a published score of a row that the study does not have, whose rows are `known`: nothing would show it.

    Raises:
        UserError: with the line, and the nearest rows.
    """
    for number, row in read_rows(path, Score._fields) if path.is_file() else ():
        score = Score(*row)
        if score.study == study and score.row not in known:
            raise UserError(f"{path}:{number}: the study {study} has no row {score.row!r}; {suggest(score.row, known)}")


def score_of(scores: Sequence[Score], study: str, row: str, schedule: str) -> Score | None:
    """The published score of a row under a schedule, the one for just that schedule first."""
    own = [score for score in scores if (score.study, score.row) == (study, row)]
    by_schedule = {score.schedule: score for score in own}
    return by_schedule.get(schedule, by_schedule.get(""))


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False
