"""Lines of the ledger: their file, their states, and what of it is stale."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from suite.errors import UserError

REPRODUCED, OUTSIDE, CONTRADICTED = "reproduced", "outside", "contradicted"
NOT_RUN, NOT_TAKEN = "not runnable here", "not taken on"
STATES = {
    REPRODUCED: "computed or measured here, and within the tolerance.",
    OUTSIDE: "computed or measured here under one stated reading, and not within the tolerance.",
    CONTRADICTED: "every reading that the source's own words allow was computed, and none is within the tolerance.",
    NOT_RUN: "not measured on what it needs. The command that would do it stands beside it.",
    NOT_TAKEN: "no command of the suite would do it; the method, model, data or statement that is missing is named.",
}
UPDATE = "suite ledger --update"


class Line(NamedTuple):
    """One line of the ledger; all of it is text. `off_by` is measured less published, in the unit.

    `published_digest` is of the published row, `record_digest` of what was measured from: a study's record and table,
    or what a probe is asked.
    """

    id: str
    table: str
    row: str
    method: str
    backbone: str
    setting: str
    metric: str
    published: str
    unit: str
    measured: str
    off_by: str
    tolerance: str
    tolerance_from: str
    state: str
    remark: str
    differs: str
    needs: str
    command: str
    evidence: str
    source: str
    published_digest: str
    record_digest: str

    @property
    def paper(self) -> str:
        """Whose number it is."""
        return self.id.partition("-")[0]


def read_rows(path: Path, fields: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file with their line numbers.

    Raises:
        UserError: if it is not text, or its columns are others.
    """
    wanted = list(fields)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is damaged, it is not readable as CSV: {error}; restore it") from error
    if not rows or rows[0][1] != wanted:
        found = ", ".join(rows[0][1]) if rows else "none"
        raise UserError(f"{path} has the columns {found}; expected {', '.join(wanted)}")
    for number, row in rows[1:]:
        if len(row) != len(wanted):
            raise UserError(f"{path}:{number}: {len(row)} columns instead of {len(wanted)}; the file is damaged")
        yield number, row


def read_lines(path: Path) -> list[Line]:
    """Read the committed ledger.

    Raises:
        UserError: if it is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; make it with: {UPDATE}")
    lines: dict[str, Line] = {}
    for number, row in read_rows(path, Line._fields):
        line = Line(*row)
        if line.state not in STATES:
            raise UserError(f"{path}:{number}: {line.id}: there is no state {line.state!r}; make it with: {UPDATE}")
        if lines.setdefault(line.id, line) is not line:
            raise UserError(f"{path}:{number}: the id {line.id} stands twice; make it with: {UPDATE}")
    return list(lines.values())


def write_lines(path: Path, lines: Sequence[Line]) -> None:
    """Write the ledger as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Line._fields)
        writer.writerows(lines)


def stale(committed: Sequence[Line], now: Sequence[Line]) -> list[str]:
    """A sentence for each line of the committed ledger that is not what its sources give now."""
    before, after = ({line.id: line for line in lines} for lines in (committed, now))
    said = [f"{name}: in the ledger, but published nowhere any more" for name in before if name not in after]
    said += [f"{name}: published, but not in the ledger" for name in after if name not in before]
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            said.append(f"{name}: {_change(before[name], after[name])}")
    return sorted(said)


def digest(*parts: bytes) -> str:
    """The first twelve hexadecimal digits of SHA-256."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _change(before: Line, after: Line) -> str:
    """What changed, the cause first."""
    said = []
    if before.published_digest != after.published_digest:
        said.append("its published row changed")
    if before.record_digest != after.record_digest:
        said.append("its record changed")
    for name, old, new in zip(Line._fields, before, after, strict=True):
        if old != new and not name.endswith("_digest"):
            said.append(f"{name} is {new or 'empty'} now, the ledger says {old or 'nothing'}")
    return "; ".join(said)
