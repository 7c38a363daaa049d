"""Published numbers: the rows of `results/published/*.csv`, as their sources print them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pydantic import Field, field_validator

from suite.errors import UserError, suggest
from suite.strict import Place, Strict, explained
from suite.study.records import csv_lines

Row = TypeVar("Row", bound=Strict)


class Excluded(Strict):
    """Published figures that a study excludes, because nothing here can compute them, and why."""

    published: tuple[str, ...] = Field(min_length=1)
    note: str = Field(min_length=1)


class Number(Strict):
    """A published number; all of it is text. A file has the columns that its numbers need.

    Attributes:
        id: by which studies and the ledger name it.
        where, source: table, and document that it was read in; `evidence` is secondary if that is a text about it.
        method, backbone, pretraining, dataset, resolution, setting: what it is of, as the source says.
        metric, value, unit: one number, or whole numbers separated by spaces.
        seeds, statistic: what the source says of them.
        study, row, schedule: the row of a study whose score it is; without a schedule, under any.
        tolerance, tolerance_from: of the ledger, in the unit, and how it was chosen.
        differs: what a measurement here does otherwise.
        needs: what measuring it takes, or what is missing; `command`: what measures it.
    """

    id: str = ""
    where: str = ""
    method: str = ""
    backbone: str = ""
    pretraining: str = ""
    dataset: str = ""
    resolution: str = ""
    setting: str = ""
    metric: str = ""
    value: str
    unit: str
    seeds: str = ""
    statistic: str = ""
    source: str
    evidence: Literal["primary", "secondary"]
    study: str = ""
    row: str = ""
    schedule: str = ""
    tolerance: str = ""
    tolerance_from: str = ""
    differs: str = ""
    needs: str = ""
    command: str = ""

    @field_validator("value")
    @classmethod
    def _is_numbers(cls, value: str) -> str:
        if not value.split() or not all(map(is_number, value.split())):
            raise ValueError(f"expected a number, found {value!r}")
        return value

    @field_validator("tolerance")
    @classmethod
    def _is_tolerance(cls, value: str) -> str:
        if value and (not is_number(value) or Decimal(value) < 0):
            raise ValueError(f"expected a number from 0, found {value!r}")
        return value


class TableFigure(NamedTuple):
    """A published number that a study's table has: its row, by columns of the CSV, and the column that measures it.

    Without a column nothing does; `remark` is what the study says of it.
    """

    number: Number
    row: Mapping[str, str]
    column: str = ""
    remark: str = ""


def read_numbers(path: Path, required: Sequence[str]) -> list[tuple[str, Number]]:
    """The numbers of a file, each with its place FILE:LINE; no two have the same id and metric.

    Args:
        path: a CSV file; its columns are attributes of `Number`, in any order.
        required: attributes that no row may leave empty, besides value, unit and source.

    Raises:
        UserError: naming file and line of whatever is wrong.
    """
    found: dict[tuple[str, str], tuple[str, Number]] = {}
    for place, number in read_rows(path, Number, required):
        empty = [name for name in ("unit", "source", *required) if not getattr(number, name).strip()]
        if empty:
            raise UserError(f"{place}: {', '.join(empty)}: empty; a published number needs it")
        key = (number.id, number.metric) if number.id else (place, "")
        if key in found:
            raise UserError(f"{place}: duplicate id {number.id!r}; the other is at {found[key][0]}")
        found[key] = place, number
    return list(found.values())


def read_rows(path: Path, model: type[Row], required: Sequence[str] = ()) -> Iterator[tuple[str, Row]]:
    """Rows of a CSV file, each with its place FILE:LINE.

    Raises:
        UserError: if the file is missing, not CSV, has not the columns, or a row is not what `model` says.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; published numbers are read from there")
    (_, head), *lines = csv_lines(path, "restore it")
    needed = [name for name, field in model.model_fields.items() if field.is_required() or name in required]
    if absent := [name for name in needed if name not in head]:
        raise UserError(f"{path} lacks the columns {', '.join(absent)}; it has {', '.join(head) or 'none'}")
    for name in head:
        if name not in model.model_fields:
            raise UserError(f"{path} has the unknown column {name!r}; {suggest(name, model.model_fields)}")
    for line, fields in lines:
        with explained(f"{path}:{line}"):
            row = model.model_validate(dict(zip(head, fields, strict=True)))
        yield f"{path}:{line}", row


def match(
    patterns: Iterable[tuple[Place, str]], ids: Collection[str], path: Path
) -> tuple[dict[str, Place], list[tuple[Place, str]]]:
    """Where a study names each figure of a file, by id or pattern; and, with its place, whatever is wrong with that.

    Every pattern must name figures, none may be named at two places, and every figure must be named.
    """
    named, wrong = dict[str, Place](), list[tuple[Place, str]]()
    for place, pattern in patterns:
        matched = [name for name in ids if fnmatchcase(name, pattern)]
        if not matched:
            wrong.append((place, f"{path} has no figure {pattern!r}; {suggest(pattern, ids)}"))
        if twice := [name for name in matched if named.setdefault(name, place) != place]:
            wrong.append((place, f"the published figure {', '.join(twice)} is named twice; one row must do"))
    if missing := [name for name in ids if name not in named]:
        sentence = f"no row names {', '.join(missing)}; add rows, or name them under excluded and why"
        wrong.append((("published",), sentence))
    return named, wrong


def half_a_unit(printed: str) -> float:
    """Half a unit of the last digit of a number as it is printed: 0.05 of `4.0`."""
    return 0.5 * 10.0 ** int(Decimal(printed).as_tuple().exponent)


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False
