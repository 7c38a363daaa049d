"""What is found behind a number."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class Used(NamedTuple):
    """A cell behind a number, with its values of the metric; `cell_id` is what runs of `provenance.json` call it."""

    cell_id: str
    row: str
    seed: str
    status: str
    values: tuple[float, ...]
    unit: str


@dataclass(frozen=True)
class Trace:
    """What is behind a number.

    Attributes:
        shown: the number as the table shows it.
        facts: what it is and how it was made, by name.
        cells: the cells it was made from; none for a number that was computed or published.
        runs: the entries of provenance.json that made it, each with just these cells.
        unknown: ids of cells that provenance.json does not have.
    """

    shown: str
    facts: dict[str, str]
    cells: tuple[Used, ...] = ()
    runs: tuple[dict[str, Any], ...] = ()
    unknown: tuple[str, ...] = ()


def as_mapping(trace: Trace) -> dict[str, Any]:
    """All of a trace, for programs."""
    return asdict(trace) | {"cells": [cell._asdict() for cell in trace.cells]}
