"""What a table is: columns, blocks of rows and notes; `suite.report.render` writes it in every format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MISSING = "–"
BELOW, UNRELIABLE, UNTESTABLE, SECOND_HAND = "†", "‡", "§", "°"  # marks; what each means, notes of the tables say


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: under which a row has its value.
        heading: what readers see above it.
        form: `short` is shown everywhere; `long` not where room is scarce (markdown, terminal, LaTeX); `record` is in
            the CSV alone.
        fields: its names in the CSV, which has values at full precision: several if a value is a tuple of as many,
            none if other columns say the same.
        optional: whether a terminal that is too narrow for all leaves it out; of several the last one first.
        how: how what is shown is made of the record, for `suite trace`.
        parts: how each of the fields is made, where the column has several.
        metric: the metric of the record that it is made of.
    """

    key: str
    heading: str = ""
    show: Callable[[Any], str] = str
    align: Literal["left", "right"] = "right"
    form: Literal["short", "long", "record"] = "short"
    fields: tuple[str, ...] = ()
    optional: bool = False
    how: str = ""
    parts: tuple[str, ...] = ()
    metric: str = ""


def recorded(*names: str, how: str = "as in the record") -> tuple[Column, ...]:
    """Columns of the CSV alone, each named like its key."""
    return tuple(Column(name, form="record", fields=(name,), how=how) for name in names)


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        values: by key of their column, None or left out where there is none.
        marks: that follow the texts of values.
        details: what `suite trace` says besides: by key of the column, and under "" with every column.
    """

    values: Mapping[str, Any]
    marks: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def text(self, column: Column) -> str:
        """What readers see; the mark goes with what it marks."""
        value = self.values.get(column.key)
        if value is None:
            return MISSING
        return f"{column.show(value)} {self.marks.get(column.key, '')}".rstrip()

    def raw(self, column: Column) -> tuple[object, ...]:
        """What the CSV has, a value for each field; empty where there is none."""
        value = self.values.get(column.key)
        if value is None or not column.fields:
            return ("",) * len(column.fields)
        return value if isinstance(value, tuple) else (value,)


@dataclass(frozen=True)
class Block:
    """Rows that belong together, between two rules; the name is shown where a table has several blocks."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Note:
    """A sentence below the table, after the mark that refers to it; what stands between backticks is code.

    `only` is the form that it is for, where the other has no such column, or says it otherwise; else it is for both.
    """

    text: str
    mark: str = ""
    only: Literal["", "short", "long"] = ""

    def __str__(self) -> str:
        return f"{self.mark} {self.text}".lstrip()


@dataclass(frozen=True)
class Table:
    """A table; `name` is that of its folder in `results/`. The first of the columns that are shown names the rows.

    `brief` are the keys of the few columns that a document shows which has the table among other things.
    `apart`: whether a terminal shows each block as a table of its own, below its name.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    notes: tuple[Note, ...] = ()
    brief: tuple[str, ...] = ()
    apart: bool = False

    def rows(self) -> Iterator[Row]:
        """All rows, in order."""
        for block in self.blocks:
            yield from block.rows

    def notes_of(self, form: Literal["short", "long"]) -> list[Note]:
        """The notes of a form that is read."""
        return [note for note in self.notes if note.only in ("", form)]

    def shown(self, form: Literal["short", "long"]) -> list[Column]:
        """The columns of a form that is read; one without any value is left out."""
        forms = ("short",) if form == "short" else ("short", "long")
        return [
            column
            for column in self.columns
            if column.form in forms and any(row.values.get(column.key) not in (None, "") for row in self.rows())
        ]
