"""Behind a number of a study of speed: the rounds of its row, and of the row beside it, on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from suite.errors import UserError
from suite.report.layout import MISSING
from suite.report.speeds import Line, Measured, summarise
from suite.report.speeds_table import title
from suite.report.statistics import Spread
from suite.report.trace.found import Trace, Used, look_up, with_runs
from suite.study.load import load_speed
from suite.study.speed_rounds import Round, asked_for, read_rounds

ROUNDS = "median of the rounds; each is the unpruned model's time over the row's, timed in turns in one process"


class Origin(NamedTuple):
    """What a column is made of: its names, how, the field of a round, and how a measured row shows it."""

    names: tuple[str, ...]
    how: str
    metric: str
    show: Callable[[Measured], str]
    beside: bool = False  # made of the row beside it too


ORIGINS = (
    Origin(("measured", "measured_median"), ROUNDS, "times_unpruned", lambda found: _times(found.unpruned)),
    Origin(
        ("IQR", "measured_low", "measured_high"),
        "first and third quartile of the rounds",
        "times_unpruned",
        lambda found: _range(found.unpruned),
    ),
    Origin(
        ("vs eager", "eager_median", "eager_low", "eager_high"),
        f"{ROUNDS}; the unpruned model has timm's eager attention",
        "times_eager",
        lambda found: f"{_times(found.eager)} ({_range(found.eager)})",
    ),
    Origin(
        ("by MACs", "macs_ratio"),
        "multiply-accumulates of the unpruned model over the row's, by closed formula (convention `full`)",
        "macs_ratio",
        lambda found: f"{found.macs:.2f}x",
    ),
    Origin(
        ("realised / MACs", "realised_of_macs"),
        "the measured median over the ratio by MACs",
        "times_unpruned",
        lambda found: f"{found.realised:.2f}",
    ),
    Origin(
        ("images/s", "images_per_second"),
        "batch size over the median of the rounds' seconds, of a GPU only",
        "seconds",
        lambda found: f"{found.rate:.0f}" if found.rate else MISSING,
    ),
    Origin(
        ("beside", "beside_median", "beside_low", "beside_high"),
        "median of the rounds; each is the row's speed over that of the row beside it, in the same round",
        "times_unpruned",
        lambda found: f"{_times(found.beside)} ({_range(found.beside)})" if found.beside else MISSING,
        beside=True,
    ),
)
PUBLISHED = ("published", "published_ratio")


def trace_speed(folder: Path, row: str, column: str) -> Trace:
    """What is behind a number of a study of speed; a row is called BACKBONE ROW, and [BATCH, DEVICE] if several are.

    Raises:
        UserError: for a row or a column that is not there, or a record that cannot be read.
    """
    study = load_speed(folder.name)
    rounds, _ = asked_for(study, read_rounds(folder))
    line = look_up("row", row, _by_name(summarise(study, rounds)), folder)
    by_column = {name: origin for origin in ORIGINS for name in origin.names} | dict.fromkeys(PUBLISHED)
    origin = look_up("column", column, by_column, folder)
    facts = {"row": f"{line.backbone} {line.row}", "column": column}
    if origin is None:
        return Trace(f"{line.ratio}x" if line.ratio else MISSING, facts | _published(line, study.published))
    if line.measured is None:
        raise UserError(
            f"{line.backbone} {line.row} has no {column}: {line.status}{f', {line.note}' * bool(line.note)}"
        )
    facts |= {"made": origin.how, "metric": origin.metric, "measured on": title(line.setup)}
    facts |= {"kernels": line.measured.kernels, "record": str(folder / "rounds.csv")}
    facts |= {"not to be trusted": line.measured.tainted} if line.measured.tainted else {}
    names = [line.row, *([line.beside] if origin.beside and line.beside else [])]
    cells = [cell for name in names for cell in _cells(line, name, rounds, origin.metric)]
    return with_runs(folder, origin.show(line.measured), facts, cells)


def _by_name(lines: Sequence[Line]) -> dict[str, Line]:
    """Lines by the shortest name that no other has."""
    named: dict[str, list[Line]] = {}
    for line in lines:
        short = f"{line.backbone} {line.row}"
        for name in (short, f"{short} [{line.batch_size}]", f"{short} [{line.batch_size}, {line.setup.device}]"):
            named.setdefault(name, []).append(line)
    return {name: own[0] for name, own in named.items() if len(own) == 1}


def _published(line: Line, source: Path) -> dict[str, str]:
    if line.published is None:
        return {"made": "no published figure belongs to this row"}
    made = "throughput over that of the unpruned model where both are printed, else the speed-up as printed"
    printed = {name: value for name, value in asdict(line.published).items() if name != "values" and value}
    return {"made": made, **printed, **line.published.values, "file": str(source)}


def _cells(line: Line, row: str, rounds: Sequence[Round], metric: str) -> Iterator[Used]:
    """The cell of a row with the value of every round; an empty one was not measured."""
    about = asdict(line.setup) | {"backbone": line.backbone, "batch_size": line.batch_size, "row": row}
    own = [one for one in rounds if all(one[name] == value for name, value in about.items())]
    for cell_id in dict.fromkeys(one["cell_id"] for one in own):
        values = tuple(float(one[metric]) for one in own if one["cell_id"] == cell_id and one[metric])
        yield Used(cell_id, row, MISSING, "done", values, "s" if metric == "seconds" else "x")


def _times(found: Spread) -> str:
    return f"{found.median:.2f}x"


def _range(found: Spread) -> str:
    return f"{found.low:.2f}–{found.high:.2f}"
