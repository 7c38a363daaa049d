"""What studies of speed say about published numbers: of a GPU, because that is what those are of."""

from __future__ import annotations

from pathlib import Path

from suite.errors import UserError, suggest
from suite.kinds.speed.lines import Line, Measured, summarise
from suite.kinds.speed.rounds import asked_for, read_rounds
from suite.kinds.speed.table import GPU
from suite.study.load import load

RESULTS = Path("results")
NUMBERS = {"times unpruned": "x", "images/s": "1000 im/s"}  # what can be asked for, and in which unit


def speed_value(asked: str, unit: str) -> tuple[float | None, bytes, str]:
    """What a study of speed measured on the first GPU of its record, as `STUDY: BACKBONE: ROW: NUMBER`.

    Returns:
        The value, None while no GPU was measured that is to be trusted; the record that it rests on; and what was
        measured besides, which is said beside the number while there is none, and decides nothing.

    Raises:
        UserError: for a study, backbone, row or number that is not there, another unit, or an edited record.
    """
    parts = asked.split(": ")
    if len(parts) != 4:
        raise UserError(f"{asked!r} does not name a measured speed; write STUDY: BACKBONE: ROW: NUMBER")
    name, backbone, row, number = parts
    study, path = load(name).study, RESULTS / name / "rounds.csv"
    rows = [f"{one.name}: {own}" for one in study.backbones for own in ("unpruned", *(each.name for each in one.rows))]
    if f"{backbone}: {row}" not in rows:
        raise UserError(f"the study {name} has no row {f'{backbone}: {row}'!r}; {suggest(f'{backbone}: {row}', rows)}")
    if number not in NUMBERS:
        raise UserError(f"a study of speed has no {number!r}; {suggest(number, NUMBERS)}")
    if unit != NUMBERS[number]:
        raise UserError(f"{number} are in {NUMBERS[number]}, and the published number in {unit!r}")
    rounds, _ = asked_for(study, read_rounds(path.parent))
    lines = [line for line in summarise(study, rounds) if (line.backbone, line.row) == (backbone, row)]
    found = [(line, line.measured) for line in lines if line.measured]
    trusted = [own for line, own in found if line.setup.device_type == "cuda" and not own.timing_warnings]
    value = _number(trusted[0], number) if trusted else None
    remarks = [] if row == "unpruned" or number != "times unpruned" else [_remark(*one) for one in found]
    return value, path.read_bytes() if path.is_file() else b"", "; ".join(remarks)


def _number(found: Measured, number: str) -> float | None:
    if number == "times unpruned":
        return found.unpruned.median
    return found.rate / 1000 if found.rate else None


def _remark(line: Line, own: Measured) -> str:
    """What was measured on a device; images per second of a processor say nothing about a GPU's, and are not kept."""
    kind, times = GPU[line.setup.device_type], f"{own.unpruned.median:.2f}x"
    if own.timing_warnings:
        return f"on a {kind} ({line.setup.device}) {times}, not to be trusted there, which decides nothing"
    return f"on a {kind} ({line.setup.device}) {times}, which neither reproduces nor contradicts it"
