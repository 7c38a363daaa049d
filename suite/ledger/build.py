"""The ledger: what each published number is here, and what that rests on.

A published number is a row of `results/published/PAPER.csv`, written down from its source. What it asks for here stands
in its column `asks`: a probe, which computes it (see `probes`), a row of a study's table, or one of a study of speed.
Nothing measured is typed.
Figures of studies of costs come from their own tables.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

from suite.errors import UserError, suggest
from suite.ledger.lines import CONTRADICTED, NOT_RUN, NOT_TAKEN, OUTSIDE, REPRODUCED, Line, digest, read_rows
from suite.ledger.probes import PROBES, Progress, Value, probe
from suite.ledger.speeds import speed_value
from suite.ledger.studies import cost_lines, cost_studies, study_value

PUBLISHED = Path("results/published")
OTHER_TABLES = ("scores.csv", "speed.csv")  # read by `report.scores` and `study.published`
OTHERWISE = " || "  # between the readings of one number, the stated one first
STUDIES = ("study", "speed")  # what may not be measured yet
NAMED = " = "  # between a reading's name and what it asks


class Entry(NamedTuple):
    """A published number as its source prints it, and how it is to be compared.

    `value`: a number, or whole numbers separated by spaces. `differs`: what a measurement here would do otherwise.
    `tolerance`: in the unit, and `tolerance_from` how it was chosen. `asks`: what measures it; empty if nothing does,
    then `needs` says what is missing and `command` what would do it; without a command it is not taken on.
    """

    id: str
    table: str
    row: str
    method: str
    backbone: str
    pretraining: str
    dataset: str
    resolution: str
    setting: str
    metric: str
    value: str
    unit: str
    seeds: str
    statistic: str
    source: str
    evidence: str
    differs: str
    tolerance: str
    tolerance_from: str
    asks: str
    needs: str
    command: str

    @property
    def paper(self) -> str:
        """The file it stands in."""
        return self.id.partition("-")[0]

    @property
    def readings(self) -> dict[str, str]:
        """What would measure it, by the reading's name; the stated reading comes first and needs no name."""
        asked = self.asks.split(OTHERWISE) if self.asks else []
        return {each.rpartition(NAMED)[0]: each.rpartition(NAMED)[2] for each in asked}


def read_entries(folder: Path = PUBLISHED) -> list[Entry]:
    """All published numbers, but for those of studies of costs and of `OTHER_TABLES`.

    Raises:
        UserError: naming file and line of whatever is wrong.
    """
    others = {study.published.resolve() for study in cost_studies().values()}
    others |= {(folder / name).resolve() for name in OTHER_TABLES}
    files = [path for path in sorted(folder.glob("*.csv")) if path.resolve() not in others]
    if not files:
        raise UserError(f"there are no published numbers: no CSV files in {folder}")
    entries: dict[str, Entry] = {}
    for path in files:
        for number, row in read_rows(path, Entry._fields):
            entry = Entry(*row)
            _check(entry, f"{path}:{number}", path.stem)
            if entries.setdefault(entry.id, entry) is not entry:
                raise UserError(f"{path}:{number}: the id {entry.id} stands twice")
    return list(entries.values())


def compute(entries: list[Entry], progress: Progress = lambda done, of: None) -> list[Line]:
    """The ledger's lines: every entry, and every figure of the studies of costs that no entry replaces.

    An entry with the id of such a figure takes its place: it adds readings.

    Raises:
        UserError: for an entry that asks for a study, row, column or probe that is not there.
    """
    costs = cost_lines()
    by_id = {entry.id: entry for entry in entries}
    for cost in costs:
        twin = by_id.get(cost.id)
        if twin and (twin.value, twin.unit) != (cost.published, cost.unit):
            raise UserError(f"{cost.id}: {twin.value} {twin.unit} here is {cost.published} {cost.unit} in the costs")
    lines = []
    for done, entry in enumerate(entries, 1):
        lines.append(_line(entry))
        progress(done, len(entries))
    return sorted([*lines, *(cost for cost in costs if cost.id not in by_id)], key=lambda line: line.paper)


def state_of(entry: Entry, values: list[Value]) -> tuple[str, str]:
    """State and remark of an entry, from what its readings gave, the stated one first; see `ledger_lines.STATES`.

    A number that is known at second hand is never contradicted: what its source says is not known to the word.
    """
    if not values:
        return (NOT_RUN if entry.command else NOT_TAKEN), ""
    fitting = [abs(_off(entry, value)) <= float(entry.tolerance) for value in values]
    if fitting[0]:
        return REPRODUCED, ""
    named = zip(entry.readings, values, strict=True)
    others = "; ".join(f"{name}: {shown(value)} {entry.unit}" for name, value in list(named)[1:])
    if any(fitting):
        return OUTSIDE, f"another reading would fit; readings besides the stated one: {others}"
    if len(values) == 1:
        return OUTSIDE, ""
    return (CONTRADICTED if entry.evidence == "primary" else OUTSIDE), f"no other reading fits either: {others}"


def shown(value: Value) -> str:
    """A measured value as text: whole numbers in full, others to six digits."""
    return " ".join(str(part) if isinstance(part, int) else f"{part:.6g}" for part in value)


def _line(entry: Entry) -> Line:
    try:
        found = [_measure(reading, entry.unit) for reading in entry.readings.values()]
    except UserError as error:
        raise UserError(f"{entry.id}: {error}") from error
    values = [each.value for each in found if each.value is not None]
    if len(values) < len(found):
        values = []
    state, remark = state_of(entry, values)
    said = [remark, *(each.remark for each in found if not values)]
    return Line(
        id=entry.id,
        table=entry.table,
        row=entry.row,
        method=entry.method,
        backbone=entry.backbone,
        setting=entry.setting,
        metric=entry.metric,
        published=entry.value,
        unit=entry.unit,
        measured=shown(values[0]) if values else "",
        off_by=f"{_off(entry, values[0]):.6g}" if values else "",
        tolerance=entry.tolerance,
        tolerance_from=entry.tolerance_from,
        state=state,
        remark="; ".join(filter(None, said)),
        differs=entry.differs,
        needs="" if values else entry.needs,
        command=entry.command,
        evidence=entry.evidence,
        source=entry.source,
        published_digest=digest(*(field.encode() for field in entry)),
        record_digest=digest(*(each.record for each in found)) if found else "",
    )


class _Found(NamedTuple):
    """A value in the unit, None if its study has not measured it yet; what it rests on; what is said beside it."""

    value: Value | None
    record: bytes
    remark: str = ""


def _measure(reading: str, unit: str) -> _Found:
    kind, _, asked = reading.partition(": ")
    if kind not in STUDIES:
        return _Found(probe(kind, asked, unit), reading.encode())
    value, record, remark = (*study_value(asked), "") if kind == "study" else speed_value(asked, unit)
    return _Found(None if value is None else (value,), record, remark)


def _off(entry: Entry, value: Value) -> float:
    """Measured less published; for a list of numbers, how many of them differ."""
    published = [Decimal(part) for part in entry.value.split()]
    if len(published) == len(value) == 1:
        return float(Decimal(str(value[0])) - published[0])
    if len(published) != len(value):
        return float(max(len(published), len(value)))
    return float(sum(a != b for a, b in zip(published, value, strict=True)))


def _check(entry: Entry, where: str, paper: str) -> None:
    """Refuse an entry that says too little to be checked.

    Raises:
        UserError: with the place and the cure.
    """
    if entry.paper != paper or entry.id == paper:
        raise UserError(f"{where}: the id {entry.id!r} must begin with the file's name: {paper}-")
    for name in ("source", "table", "method", "metric", "unit", "tolerance_from"):
        if not getattr(entry, name).strip():
            raise UserError(f"{where}: {entry.id} has no {name}; a published number needs one")
    if entry.evidence not in ("primary", "secondary"):
        raise UserError(f"{where}: {entry.id}: the evidence is primary or secondary, found {entry.evidence!r}")
    parts = entry.value.split()
    if not parts or not all(_is_number(part) for part in parts):
        raise UserError(f"{where}: {entry.id}: the value {entry.value!r} is not a number")
    if not _is_number(entry.tolerance) or Decimal(entry.tolerance) < 0:
        raise UserError(f"{where}: {entry.id}: the tolerance {entry.tolerance!r} is not a number from 0")
    if len(entry.readings) != entry.asks.count(OTHERWISE) + bool(entry.asks):
        raise UserError(f"{where}: {entry.id}: each reading besides the stated one needs a name of its own: NAME = ...")
    for reading in entry.readings.values():
        kind = reading.partition(": ")[0]
        if kind not in (*STUDIES, *PROBES):
            raise UserError(f"{where}: {entry.id} asks for {kind!r}; {suggest(kind, [*STUDIES, *PROBES])}")
    of_study = any(reading.partition(": ")[0] in STUDIES for reading in entry.readings.values())
    if (of_study or not entry.asks) and not entry.needs.strip():
        raise UserError(f"{where}: {entry.id} has no needs; say what measuring it takes, such as a GPU")
    if of_study and not entry.command.strip():
        raise UserError(f"{where}: {entry.id} has no command; say what measures it, such as suite run quickstart")


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False
