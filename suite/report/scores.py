"""Published scores: which row of which study they are of, and whether a measured score agrees with them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

from suite.errors import UserError

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
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    if tuple(head) != Score._fields:
        raise UserError(f"{path} has the columns {', '.join(head)}; expected {', '.join(Score._fields)}")
    found: dict[tuple[str, str, str], Score] = {}
    for number, row in enumerate(rows, 2):
        if len(row) != len(Score._fields):
            raise UserError(f"{path}:{number}: {len(row)} columns instead of {len(Score._fields)}")
        score = Score(*row)
        if score.unit != "%" or not _is_number(score.value):
            raise UserError(f"{path}:{number}: {score.value!r} {score.unit!r} is not a number in %")
        if found.setdefault((score.study, score.row, score.schedule), score) is not score:
            raise UserError(f"{path}:{number}: {score.study} has the row {score.row!r} twice; keep one of them")
    return list(found.values())


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
