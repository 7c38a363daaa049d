"""Numbers of studies' tables, made from their records."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from suite.errors import UserError, suggest
from suite.ledger.asks import TableNumber
from suite.ledger.lines import digest
from suite.ledger.probes import Value
from suite.report.render import as_records
from suite.study.kind import kind_of
from suite.study.load import RESULTS

Fields = Mapping[str, Any]  # of a row, by column of the CSV


class Found(NamedTuple):
    """A value in the published unit, None while it is not measured; what it rests on; what else is known."""

    value: Value | None
    record: str = ""
    remark: str = ""


def value(folder: Path, row: Mapping[str, str], column: str, first: bool = False) -> tuple[float | None, str]:
    """What the record of a results folder says in the CSV column of a row, and the digest of the record.

    None while there is no record, no such row, or no number in it. `first`: of several rows the first counts.

    Raises:
        UserError: for a column that the table does not have or that has no numbers, for several rows, or a record that
            was edited.
    """
    if not folder.is_dir():
        return None, ""
    rows, record = rows_of(folder)
    for name in (*row, column):
        if rows and name not in rows[0]:
            raise UserError(f"the table of {folder} has no column {name!r}; {suggest(name, rows[0])}")
    matching = [one for one in rows if _has(one, row)]
    if len(matching) > 1 and not first:
        raise UserError(f"the table of {folder} has {len(matching)} rows with {dict(row)}; name its schedule too")
    return (_number(matching[0], column, folder) if matching else None), record


def measure(ask: TableNumber, unit: str) -> Found:
    """The number that is asked for, which is published in `unit`; UserError as `value`."""
    folder, asked = RESULTS / ask.study, [ask.row, *([ask.minus] if ask.minus else [])]
    found = [value(folder, row | ask.only, ask.column, first=bool(ask.only)) for row in asked]
    numbers = [number / ask.per for number, _ in found if number is not None]
    measured = (numbers[0] - sum(numbers[1:]),) if len(numbers) == len(asked) else None
    return Found(measured, found[0][1], _also_shown(ask, folder, unit))


def rows_of(folder: Path) -> tuple[Sequence[Fields], str]:
    """The rows of the table that the record of a results folder makes, and its digest; UserError if there is none."""
    record = digest((folder / kind_of(folder).record).read_bytes())
    return _made(folder, Path.cwd(), record), record


@functools.lru_cache
def _made(folder: Path, _root: Path, _record: str) -> Sequence[Fields]:
    """Once for a record, for intervals take a second."""
    kind = kind_of(folder)
    return as_records(kind.table(folder.name, kind.lines(folder)))


def _has(row: Fields, wanted: Mapping[str, str]) -> bool:
    return all(("" if row[name] is None else str(row[name])) == text for name, text in wanted.items())


def _number(row: Fields, column: str, folder: Path) -> float | None:
    try:
        return None if row[column] in (None, "") else float(row[column])
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the table of {folder} has {row[column]!r} in {column}; ask for a column of numbers"
        ) from error


def _also_shown(ask: TableNumber, folder: Path, unit: str) -> str:
    """The numbers of rows that do not count, if they are asked for, and what these rows have instead."""
    rows = rows_of(folder)[0] if ask.also_show and folder.is_dir() else ()
    texts = []
    for row in (one for one in rows if _has(one, ask.row) and not _has(one, ask.only)):
        number = _number(row, ask.column, folder)
        instead = ", ".join(f"{name} {row[name]}" for name, text in ask.only.items() if not _has(row, {name: text}))
        if number is not None:
            texts.append(f"{row[ask.also_show]} ({instead}): {number / ask.per:.2f} {unit}, which decides nothing")
    return "; ".join(texts)
