"""Lines of the ledger: their file, their states, and what of it is stale."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from suite.errors import UserError
from suite.study import records
from suite.study.published import Number, read_rows

State = Literal["reproduced", "outside", "contradicted", "not runnable here", "out of scope"]
STATES: dict[State, str] = {
    "reproduced": "computed or measured here, and within the tolerance.",
    "outside": "computed or measured here under one stated reading, and not within the tolerance.",
    "contradicted": "every reading that the source's own words allow was computed, and none is within the tolerance.",
    "not runnable here": "not measured on what it needs. The command that would do it is given.",
    "out of scope": "no command here would do it; the method, model, data or statement that is missing is named.",
}
UNMEASURED = ("not runnable here", "out of scope")
UPDATE = "suite ledger --update"
CAUSES = {"published_digest": "its published row changed", "record_digest": "its record changed"}


class Line(Number):
    """A published number, and what it is here: measured, and measured less published, in the unit; all of it is text.

    The digests are of the published row with what it asks for, and of what was measured from.
    """

    state: State
    measured: str = ""
    off_by: str = ""
    remark: str = ""
    published_digest: str = ""
    record_digest: str = ""

    @property
    def paper(self) -> str:
        """Whose number it is."""
        return self.id.partition("-")[0]


def read_lines(path: Path) -> list[Line]:
    """Read the committed ledger; UserError if it is missing or damaged."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; make it with: {UPDATE}")
    lines: dict[str, Line] = {}
    for place, line in read_rows(path, Line):
        if lines.setdefault(line.id, line) is not line:
            raise UserError(f"{place}: duplicate id {line.id!r}; make it with: {UPDATE}")
    return list(lines.values())


def write_lines(path: Path, lines: Sequence[Line]) -> None:
    """Write the ledger as CSV, without columns that no line needs."""
    columns = [name for name in Line.model_fields if any(getattr(line, name) for line in lines)]
    records.write(path, columns, (line.model_dump(include=set(columns)) for line in lines))


def stale(committed: Sequence[Line], now: Sequence[Line]) -> list[str]:
    """A sentence for each line of the committed ledger that is not what its sources give now."""
    before, after = ({line.id: line for line in lines} for lines in (committed, now))
    gone = [f"{name}: in the ledger, but published nowhere any more" for name in before.keys() - after.keys()]
    new = [f"{name}: published, but not in the ledger" for name in after.keys() - before.keys()]
    both = [name for name in before.keys() & after.keys() if before[name] != after[name]]
    return sorted([*gone, *new, *(f"{name}: {_change(before[name], after[name])}" for name in both)])


def digest(*parts: bytes) -> str:
    """The first twelve hexadecimal digits of SHA-256."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _change(before: Line, after: Line) -> str:
    """What changed, the cause first."""
    changed = {name: text for name, text in after if getattr(before, name) != text}
    causes = [CAUSES[name] for name in changed if name in CAUSES]
    texts = [
        f"{name} is {text or 'empty'} now, the ledger says {getattr(before, name) or 'nothing'}"
        for name, text in changed.items()
        if name not in CAUSES
    ]
    return "; ".join([*causes, *texts])
