"""Behind a number of a study of speed: the rounds of its row, and of the row beside it, on one device."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from suite.kinds.speed.lines import Line, summarise
from suite.kinds.speed.rounds import Round, asked_for, read_rounds
from suite.kinds.speed.table import COLUMNS, speed_table, title
from suite.report.layout import MISSING
from suite.report.render import as_csv
from suite.report.trace.found import Trace, Used, by_name, look_up, with_runs
from suite.study.load import load_speed

ROUND = "each is the unpruned model's time over the row's, timed in turns in one process"
PARTS = f"median, first and third quartile of the rounds; {ROUND}"


class Origin(NamedTuple):
    """What a column is made of: how, and the field of a round; of the row beside it too, if so."""

    how: str
    metric: str
    compare_to: bool = False


SAID = Origin("as the study and its record say", "")
PRINTED = ("published", "published_id", "throughput", "speedup", "evidence", "source", "published_compare_to")
MEASURED = {
    "measured": Origin(f"median of the rounds; {ROUND}", "speedup"),
    "median": Origin(f"median of the rounds; {ROUND}", "speedup"),
    "quartiles": Origin(f"first and third quartile of the rounds; {ROUND}", "speedup"),
    "eager": Origin(f"{PARTS}; the unpruned model has timm's eager attention", "speedup_eager"),
    "macs": Origin("multiply-accumulates of the unpruned model over the row's (convention `full`)", "macs_ratio"),
    "realised": Origin("the measured median over the ratio by MACs", "speedup"),
    "rate": Origin("batch size over the median of the rounds' seconds, of a GPU only", "seconds"),
    "rounds": Origin("how many there are", "speedup"),
    "timing_warnings": Origin("by the rounds, and by what the machine did meanwhile", "speedup"),
    "compare_to ratio": Origin(
        "median, first and third quartile of the rounds; each is the row's speed over that of the row beside it in the "
        "same round",
        "speedup",
        compare_to=True,
    ),
}


def trace_speed(folder: Path, row: str, column: str) -> Trace:
    """What is behind a number of a study of speed; a row is called BACKBONE ROW, and [BATCH, DEVICE] if several are.

    Raises:
        UserError: for a row or a column that is not there, or a record that cannot be read.
    """
    study = load_speed(folder.name)
    rounds, _ = asked_for(study, read_rounds(folder))
    line = look_up("row", row, _by_name(summarise(study, rounds)), folder)
    named = look_up("column", column, by_name(COLUMNS), folder)
    table = speed_table(folder.name, study, [line])
    (values,), (shown,) = csv.DictReader(io.StringIO(as_csv(table))), table.rows()
    text = named.shown(shown.text(named.column), values)
    facts = {"row": f"{line.backbone} {line.row}", "column": column, **named.exact(values)}
    if named.column.key in PRINTED:
        return Trace(text, facts | _published(line, study.published))
    if line.measured is None:
        return Trace(text, facts | {"made": ", ".join(filter(None, (line.status, line.note)))})
    origin = MEASURED.get(named.column.key, SAID)
    facts |= {"made": origin.how, "measured on": title(line.setup)}
    facts |= {"kernels": line.measured.kernels, "record": str(folder / "rounds.csv")}
    facts |= {"metric": origin.metric} if origin.metric else {}
    facts |= {"not to be trusted": line.measured.timing_warnings} if line.measured.timing_warnings else {}
    names = [line.row, *([line.compare_to] if origin.compare_to and line.compare_to else [])]
    cells = [cell for name in names for cell in _cells(line, name, rounds, origin.metric)]
    return with_runs(folder, text, facts, cells)


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
        values = tuple(float(one[metric]) for one in own if metric and one["cell_id"] == cell_id and one[metric])
        yield Used(cell_id, row, MISSING, "done", values, "s" if metric == "seconds" else "x")
