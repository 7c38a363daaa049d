"""What a study of costs answers, in sentences: how many published figures its record explains, and which not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from suite.kinds.costs.record import lines
from suite.kinds.costs.table import COUNTS, record_of
from suite.kinds.training.answer import Answer

FIELDS = (*COUNTS, "read_as", "deviation", "also_fits", "computed_as")  # empty where nothing is computed
NAMED = 8  # figures; more are counted

Row = Mapping[str, str]


def read_costs(folder: Path) -> list[Row]:
    """The rows of the table of costs in a folder of results, as texts.

    Raises:
        UserError: as `record.lines`.
    """
    rows = [dict.fromkeys(FIELDS, "") | record_of(line) for line in lines(folder)]
    return [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]


def answer_of_costs(rows: Sequence[Row], tolerance: float) -> Answer:
    """The answer of a study of costs; a figure that is computed to within `tolerance` percent is at least near."""
    computed, fits, near, off = _computed(rows), _of(rows, "fits"), _of(rows, "near"), _of(rows, "off")
    if not computed:
        verdict = f"None of the {len(rows)} published figures can be computed here, so nothing is said about them."
    else:
        close = f", {len(near)} do not but are within {tolerance:g} %" if near else ""
        verdict = (
            f"{len(fits)} of the {len(computed)} published figures that are computed round to what is printed{close}, "
            f"and {len(off)} are off; {len(rows) - len(computed)} of all {len(rows)} are not computed."
        )
    sentences = [*_missed(off), *_unpruned(fits, computed), *_readings(fits, computed), *_left_out(rows), *_heard(rows)]
    return Answer(verdict, tuple(sentences), tuple(_facts(rows)))


def _of(rows: Sequence[Row], verdict: str) -> list[Row]:
    return [row for row in rows if row["verdict"] == verdict]


def _computed(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["verdict"] != "not computed"]


def _missed(off: Sequence[Row]) -> Iterator[str]:
    """Figures that are off, by the ids under which they can be traced."""
    if not off:
        return
    named = [f"`{row['id']}` ({row['where']}: {_printed(row)}, {_deviation(row)})" for row in off[:NAMED]]
    more = f"; and {len(off) - NAMED} more" if len(off) > NAMED else ""
    yield f"Off, with what is printed and by how much the computed figure departs from it: {'; '.join(named)}{more}."


def _unpruned(fits: Sequence[Row], computed: Sequence[Row]) -> Iterator[str]:
    """How many figures are of the backbone alone."""
    if plain := [row for row in computed if _is_unpruned(row)]:
        own = sum(map(_is_unpruned, fits))
        yield (
            f"{len(plain)} of the computed figures are of unpruned models and say nothing about a method; of the "
            f"{len(computed) - len(plain)} of reduced ones {len(fits) - own} round to what is printed."
        )


def _readings(fits: Sequence[Row], computed: Sequence[Row]) -> Iterator[str]:
    """In which convention figures fit, and whether that tells anything."""
    if not fits:
        return
    every, fitting = (Counter(row["read_as"] for row in some) for some in (computed, fits))
    counted = "; ".join(f"{name}: {fitting[name]} of {count}" for name, count in every.most_common())
    yield (
        "Each figure is read in the convention that its row states, else in the one in which most figures of its "
        f"source fit, so that a fit is partly by choice. What fits in each: {counted}."
    )
    alone = [row for row in fits if not row["also_fits"]]
    yield (
        f"{len(alone)} of the {len(fits)} that fit do so in no other reading that is allowed for them; "
        f"{len(fits) - len(alone)} fit in another too, and do not tell which products their source counted."
    )


def _left_out(rows: Sequence[Row]) -> Iterator[str]:
    reasons = Counter(row["note"].rstrip(".") for row in _of(rows, "not computed"))
    if reasons:
        said = "; ".join(f"“{reason}” ({count})" for reason, count in reasons.most_common())
        yield f"Why figures are not computed, and how many each: {said}."


def _heard(rows: Sequence[Row]) -> Iterator[str]:
    if heard := sum(row["evidence"] != "primary" for row in rows):
        yield f"{heard} of the {len(rows)} figures were read in a text about their source, not in it."


def _facts(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    computed, fits = _computed(rows), _of(rows, "fits")
    yield "not computed", f"{len(rows) - len(computed)} of {len(rows)}"
    if not computed:
        return
    yield "round to what is printed", f"{len(fits)} of {len(computed)}"
    yield "off", str(len(_of(rows, "off")))
    if fits:
        yield "fit in one reading alone", f"{sum(not row['also_fits'] for row in fits)} of {len(fits)}"
    for unit, what in (("G", "a count"), ("%", "a change")):
        if own := [row for row in computed if row["unit"] == unit]:
            farthest = max(own, key=lambda row: abs(float(row["deviation"])))
            yield f"largest deviation of {what}", _deviation(farthest)


def _printed(row: Row) -> str:
    return f"{row['value']} {row['unit']}"


def _deviation(row: Row) -> str:
    """Computed less published, as the table shows it."""
    return f"{float(row['deviation']):+.2f} {'pp' if row['unit'] == '%' else '%'}"


def _is_unpruned(row: Row) -> bool:
    """Whether what was computed is a backbone without method."""
    return "method" not in json.loads(row["computed_as"])
