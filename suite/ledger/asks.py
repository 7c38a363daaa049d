"""What measures a published number here: the entries of `results/published/asks.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from suite.errors import UserError, suggest
from suite.ledger.probes import PROBES
from suite.strict import Place, Strict, dotted, problems
from suite.study.configuration import Configuration
from suite.study.yaml_lines import line_of, read_yaml

NAME = "asks.yaml"
RowOf = dict[str, str]  # what a row has in columns of the CSV, by name


class TableNumber(Strict):
    """A number of a study's table.

    Attributes:
        study: its name.
        row, minus: the row, by columns of the CSV (its name alone means the column `row`), less another one.
        column: of the CSV.
        only: what else the row must have, by column, to count.
        also_show: the column that names the rows which do not, if their numbers are to be shown; they decide nothing.
        per: what one of the published unit is, in that of the column.
        reading: the name of this reading; empty for the one that the source states.
    """

    study: str
    row: RowOf
    column: str
    minus: RowOf | None = None
    only: RowOf = {}
    also_show: str = ""
    per: float = Field(1, gt=0)
    reading: str = ""

    @field_validator("row", "minus", mode="before")
    @classmethod
    def _by_column(cls, value: Any) -> Any:
        return {"row": value} if isinstance(value, str) else value


class Probe(Strict):
    """What follows from a model's shape; see `suite.ledger.probes`. `reading`: as of `TableNumber`."""

    probe: str
    model: Configuration
    reading: str = ""

    @field_validator("probe")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in PROBES:
            raise ValueError(f"unknown probe {value!r}; {suggest(value, PROBES)}")
        return value


Ask = TableNumber | Probe


def read_asks(path: Path) -> dict[str, tuple[Ask, ...]]:
    """What is asked for each id, the stated reading first, nothing without the file; UserErrors name line and id."""
    if not path.is_file():
        return {}
    root, content = read_yaml(path)
    content = content or {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping of ids")
    wrong: list[tuple[Place, str]] = []
    asks = {str(name): tuple(_each(name, said, wrong)) for name, said in content.items()}
    if wrong:
        raise UserError("\n".join(f"{path}:{line_of(root, at)}: {dotted(at)}: {message}" for at, message in wrong))
    return asks


def _each(name: str, said: object, wrong: list[tuple[Place, str]]) -> Iterator[Ask]:
    """The readings of an id; what is wrong with them is added to `wrong`."""
    seen = set[str]()
    for index, one in enumerate(said if isinstance(said, list) else [said]):
        place: Place = (name, index) if isinstance(said, list) else (name,)
        try:
            ask = (Probe if isinstance(one, dict) and "probe" in one else TableNumber).model_validate(one)
        except ValidationError as error:
            wrong += [((*place, *inside), message) for inside, message in problems(error)]
            continue
        if (not ask.reading) != (index == 0) or ask.reading in seen:
            wrong.append((place, "each reading after the stated one needs a name of its own, as `reading`"))
        seen.add(ask.reading)
        yield ask
