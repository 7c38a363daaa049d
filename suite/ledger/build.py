"""The ledger: what each published number is here, and what that rests on. Nothing measured is typed.

A published number is a row of `results/published/PAPER.csv`; what measures it is an entry of `asks.yaml` there. A
kind of study may name numbers that the tables of its studies have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from suite.errors import UserError, suggest
from suite.ledger import asks as asked
from suite.ledger.asks import Ask, Probe, TableNumber
from suite.ledger.lines import Line, State, digest
from suite.ledger.probes import Value, probe
from suite.ledger.values import Found, measure, rows_of
from suite.study.load import RESULTS, load, study_names
from suite.study.published import Number, read_numbers

PUBLISHED = Path("results/published")
REQUIRED = ("where", "method", "metric", "tolerance", "tolerance_from")


class Entry(NamedTuple):
    """A published number, what measures it, the stated reading first, and what is known of it beforehand.

    Without anything that measures it, `needs` of the number says what is missing, and `command` what would do it;
    without a command it is out of scope.
    """

    number: Number
    asks: tuple[Ask, ...] = ()
    remark: str = ""


def read_entries(folder: Path = PUBLISHED) -> list[Entry]:
    """The published numbers that have a tolerance, and those that tables have; others are for studies alone.

    An entry with the id of one that a table has takes its place: it adds readings.

    Raises:
        UserError: naming file and line of whatever is wrong, and a study without the record of such a table.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise UserError(f"there are no published numbers: no CSV files in {folder}")
    asks, entries = asked.read_asks(folder / asked.NAME), dict[str, Entry]()
    for path in files:
        numbers = read_numbers(path, ())
        for place, number in numbers if any(number.tolerance for _, number in numbers) else ():
            entry = Entry(number, asks.pop(number.id, ()))
            _check(entry, place, path.stem)
            if entries.setdefault(number.id, entry) is not entry:
                raise UserError(f"{place}: duplicate id {number.id!r}")
    for name in asks:
        raise UserError(f"{folder / asked.NAME}: no published number has the id {name!r}; {suggest(name, entries)}")
    for name, entry in table_entries():
        own, twin = entry.number, entries.setdefault(entry.number.id, entry).number
        if (twin.value, twin.unit) != (own.value, own.unit):
            raise UserError(f"{own.id}: {twin.value} {twin.unit} in the ledger is {own.value} {own.unit} in {name}")
    return list(entries.values())


def table_entries() -> Iterator[tuple[str, Entry]]:
    """The published numbers that the tables of studies have, each with the name of its study."""
    for loaded in (load(name) for name in study_names()):
        if loaded.kind.published is None:
            continue
        for figure in loaded.kind.published(loaded, rows_of(RESULTS / loaded.name)[0]):
            ask = [TableNumber(study=loaded.name, row={**figure.row}, column=figure.column)] if figure.column else []
            yield loaded.name, Entry(figure.number, tuple(ask), figure.remark)


def compute(entries: Sequence[Entry], progress: Callable[[int, int], None] = lambda done, of: None) -> list[Line]:
    """The ledger's lines, by paper; UserError for an entry whose row or column is not there, or that cannot be."""
    lines = []
    for done, entry in enumerate(entries, 1):
        lines.append(_line(entry))
        progress(done, len(entries))
    return sorted(lines, key=lambda line: line.paper)


def state_of(entry: Entry, values: Sequence[Value]) -> tuple[State, str]:
    """State and remark of an entry, from what its readings gave, the stated one first; see `lines.STATES`.

    A number that is known at second hand is never contradicted: what its source says is not known to the word.
    """
    number = entry.number
    if not values:
        return ("not runnable here" if number.command else "out of scope"), ""
    fitting = [abs(_off(number, value)) <= float(number.tolerance) for value in values]
    if fitting[0]:
        return "reproduced", ""
    named = list(zip(entry.asks, values, strict=True))[1:]
    others = "; ".join(f"{ask.reading}: {shown(value)} {number.unit}" for ask, value in named)
    if any(fitting):
        return "outside", f"another reading would fit; readings besides the stated one: {others}"
    if not named:
        return "outside", ""
    contradicted = number.evidence == "primary"
    return ("contradicted" if contradicted else "outside"), f"no other reading fits either: {others}"


def shown(value: Value) -> str:
    """A measured value as text: whole numbers in full, others to six digits."""
    return " ".join(str(part) if isinstance(part, int) else f"{part:.6g}" for part in value)


def _line(entry: Entry) -> Line:
    number = entry.number
    try:
        found = [_measure(ask, number.unit) for ask in entry.asks]
    except UserError as error:
        raise UserError(f"{number.id}: {error}") from error
    values = [each.value for each in found if each.value is not None]
    values = values if len(values) == len(found) else []
    state, remark = state_of(entry, values)
    remarks = (entry.remark, remark, *(each.remark for each in found if not values))
    more = {"state": state, "remark": "; ".join(filter(None, remarks))}
    more |= {"published_digest": digest(*(_json(one) for one in (number, *entry.asks)))}
    more |= {"record_digest": digest(*(each.record.encode() for each in found)) if found else ""}
    if values:
        more |= {"measured": shown(values[0]), "off_by": f"{_off(number, values[0]):.6g}", "needs": ""}
    return Line.model_validate(number.model_dump() | more)


def _measure(ask: Ask, unit: str) -> Found:
    if isinstance(ask, Probe):
        return Found(probe(ask.probe, ask.model, unit), _json(ask).decode())
    return measure(ask, unit)


def _json(model: Number | Ask) -> bytes:
    return model.model_dump_json(exclude_defaults=True).encode()


def _off(number: Number, value: Value) -> float:
    """Measured less published; for a list of numbers, how many of them differ."""
    published = [Decimal(part) for part in number.value.split()]
    if len(published) == len(value) == 1:
        return float(Decimal(str(value[0])) - published[0])
    if len(published) != len(value):
        return float(max(len(published), len(value)))
    return float(sum(a != b for a, b in zip(published, value, strict=True)))


def _check(entry: Entry, place: str, paper: str) -> None:
    """Refuse, by a UserError with place and cure, an entry that says too little to be checked."""
    number, of_study = entry.number, any(isinstance(ask, TableNumber) for ask in entry.asks)
    if not number.id.startswith(f"{paper}-"):
        raise UserError(f"{place}: the id {number.id!r} must begin with the file's name: {paper}-")
    needed = [*REQUIRED, *(["needs"] if of_study or not entry.asks else []), *(["command"] if of_study else [])]
    if empty := [name for name in needed if not getattr(number, name).strip()]:
        raise UserError(f"{place}: {number.id}: {', '.join(empty)}: empty; a number of the ledger needs it")
