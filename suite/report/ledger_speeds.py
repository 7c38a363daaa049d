"""What studies of speed say about published numbers: of a GPU, because that is what those are of."""

from __future__ import annotations

from pathlib import Path

from suite.errors import UserError, suggest
from suite.report.speeds import Line, Measured, summarise
from suite.study.load import load_speed
from suite.study.speed_rounds import asked_for, read_rounds

RESULTS = Path("results")
NUMBERS = {"times unpruned": "x", "images/s": "1000 im/s"}  # what can be asked for, and in which unit


def speed_value(asked: str, unit: str) -> tuple[float | None, bytes, str]:
    """What a study of speed measured on the first GPU of its record, as `STUDY: BACKBONE: ROW: NUMBER`.

    Returns:
        The value, None while no GPU was measured; the record that it rests on; and what a processor measured, which is
        said beside the number and decides nothing.

    Raises:
        UserError: for a study, backbone, row or number that is not there, another unit, or an edited record.
    """
    parts = asked.split(": ")
    if len(parts) != 4:
        raise UserError(f"{asked!r} does not name a measured speed; write STUDY: BACKBONE: ROW: NUMBER")
    name, backbone, row, number = parts
    study, path = load_speed(name), RESULTS / name / "rounds.csv"
    rows = [f"{one.name}: {own}" for one in study.backbones for own in ("unpruned", *(each.name for each in one.rows))]
    if f"{backbone}: {row}" not in rows:
        raise UserError(f"the study {name} has no row {f'{backbone}: {row}'!r}; {suggest(f'{backbone}: {row}', rows)}")
    if number not in NUMBERS:
        raise UserError(f"a study of speed has no {number!r}; {suggest(number, NUMBERS)}")
    if unit != NUMBERS[number]:
        raise UserError(f"{number} are in {NUMBERS[number]}, and the published number in {unit!r}")
    rounds, _ = asked_for(study, read_rounds(path.parent))
    lines = [line for line in summarise(study, rounds) if (line.backbone, line.row) == (backbone, row)]
    gpu, processor = (
        next((line for line in lines if line.measured and line.setup.device_type == kind), None)
        for kind in ("cuda", "cpu")
    )
    value = _number(gpu.measured, number) if gpu and gpu.measured else None
    return value, path.read_bytes() if path.is_file() else b"", _remark(processor, number, row)


def _number(found: Measured, number: str) -> float | None:
    if number == "times unpruned":
        return found.unpruned.median
    return found.rate / 1000 if found.rate else None


def _remark(line: Line | None, number: str, row: str) -> str:
    """What a processor measured; its images per second say nothing about a GPU's, and are not kept."""
    if line is None or line.measured is None or number != "times unpruned" or row == "unpruned":
        return ""
    doubt = ", not to be trusted there" if line.measured.tainted else ""
    times = f"{line.measured.unpruned.median:.2f}x{doubt}"
    return f"on a processor ({line.setup.device}) {times}, which neither reproduces nor contradicts it"
