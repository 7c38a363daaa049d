"""The table of published and measured speed-ups, described once; `suite.report.render` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from suite.kinds.speed.lines import Line, Setup, devices_not_measured
from suite.kinds.speed.rounds import Round, asked_for, read_rounds
from suite.kinds.speed.schema import SpeedStudy
from suite.report.layout import MISSING, SECOND_HAND, UNRELIABLE, Block, Column, Note, Row, Table, recorded
from suite.report.statistics.aggregates import Spread
from suite.report.trace import Used
from suite.study.load import load

GPU = {"cpu": "processor", "cuda": "GPU"}


def _shown(measured: float | str) -> str:
    """A ratio, or why there is none."""
    return measured if isinstance(measured, str) else f"{measured:.2f}x"


SAID = "as the study and its record say"
PRINTED = "throughput over that of the unpruned model where both are printed, else the speed-up as printed"
ROUND = "each is the unpruned model's time over the row's, timed interleaved in one process"
PARTS = tuple(f"{which} of the rounds; {ROUND}" for which in ("median", "first quartile", "third quartile"))
EAGER = tuple(f"{part}; the unpruned model has timm's eager attention" for part in PARTS)
COMPARED = tuple(
    f"{which} of the rounds; each is the row's speed over that of the row it is compared to, in the same round"
    for which in ("median", "first quartile", "third quartile")
)
OF_PUBLISHED = ("published_id", "throughput", "speedup", "evidence", "source", "published_compare_to")


def _columns() -> Iterator[Column]:
    yield from recorded(*Setup.__annotations__, how=SAID)
    yield Column("row", "row", align="left", fields=("row",), how=SAID)
    yield Column("backbone", "backbone", align="left", fields=("backbone",), how=SAID)
    yield Column("batch", "batch", fields=("batch_size",), how=SAID)
    yield from recorded("status", how=SAID)
    yield from recorded("published_id", how="printed by the source")
    yield Column("published", "published", "{}x".format, fields=("published_ratio",), how=PRINTED)
    yield from recorded(*OF_PUBLISHED[1:-1], how="printed by the source")
    yield Column("rounds", form="record", fields=("rounds",), how="how many there are", metric="speedup")
    yield Column("measured", "measured", _shown, how=PARTS[0], metric="speedup")
    yield Column("median", form="record", fields=("measured_median",), how=PARTS[0], metric="speedup")
    both, ends = "{0[0]:.2f}–{0[1]:.2f}".format, ("measured_low", "measured_high")
    quartiles = f"first and third quartile of the rounds; {ROUND}"
    yield Column("quartiles", "IQR", both, fields=ends, optional=True, how=quartiles, parts=PARTS[1:], metric="speedup")
    yield Column(
        "eager",
        "vs. eager",
        "{0[0]:.2f}x".format,
        fields=("eager_median", "eager_low", "eager_high"),
        optional=True,
        how=EAGER[0],
        parts=EAGER,
        metric="speedup_eager",
    )
    macs = "MACs of the unpruned model over the row's (convention `full`)"
    yield Column("macs", "by MACs", "{:.2f}x".format, fields=("macs_ratio",), how=macs, metric="macs_ratio")
    share, realised = "{:.2f}".format, "the measured median over the ratio by MACs"
    yield Column("realised", "measured / MACs", share, fields=("realised_of_macs",), how=realised, metric="speedup")
    rate = "batch size over the median of the rounds' seconds, of a GPU only"
    yield Column("rate", "images/s", "{:.0f}".format, fields=("images_per_second",), how=rate, metric="seconds")
    yield from recorded("kernels", how=SAID)
    warned = "by the rounds, and by what the machine did meanwhile"
    yield Column("timing_warnings", form="record", fields=("timing_warnings",), how=warned, metric="speedup")
    yield from recorded("compare_to", how=SAID)
    yield Column(
        "compare_to ratio",
        form="record",
        fields=("compare_to_median", "compare_to_low", "compare_to_high"),
        how=COMPARED[0],
        parts=COMPARED,
        metric="speedup",
    )
    yield from recorded("published_compare_to", how="ratio of both throughputs, as printed by the source")
    yield from recorded("note", how=SAID)
    yield Column("note number", "note", align="left", how=SAID)


COLUMNS = tuple(_columns())


def title(setup: Setup) -> str:
    """What was measured on, and how, in a line."""
    threads = f", {setup.threads} thread{'s' if setup.threads != '1' else ''}" if setup.device_type == "cpu" else ""
    ways = [name for name, said in (("compiled", setup.compiled), ("CUDA graphs", setup.graph)) if said == "true"]
    return ", ".join([f"{setup.device} ({GPU[setup.device_type]}){threads}", setup.precision, *ways])


def table(name: str, lines: Sequence[Line]) -> Table:
    """The table of the study `name` in `studies/`: a block for each device."""
    study: SpeedStudy = load(name).study
    numbered = list(dict.fromkeys(line.note for line in lines if line.note))
    setups = list(dict.fromkeys(line.setup for line in lines))
    blocks = [
        Block(title(setup), tuple(_row(line, numbered) for line in lines if line.setup == setup)) for setup in setups
    ]
    caption = f"Study `{name}`: published and measured speed-ups of each row. {'; '.join(map(title, setups))}."
    notes = (*_notes(study, lines), *(Note(note, f"[{number}]") for number, note in enumerate(numbered, 1)))
    return Table(name, caption, COLUMNS, tuple(blocks), notes, apart=True)


def _row(line: Line, numbered: Sequence[str]) -> Row:
    figure, found = line.published, line.measured
    values: dict[str, Any] = {
        **{name: getattr(line.setup, name) for name in Setup.__annotations__},
        "backbone": line.backbone,
        "row": line.row,
        "batch": line.batch_size or None,
        "status": line.status,
        "published": line.ratio.text if line.ratio else None,
        "measured": line.status,
        "compare_to": line.compare_to,
        "published_compare_to": line.published_compare_to,
        "note": line.note,
        "note number": f"[{numbered.index(line.note) + 1}]" if line.note else "",
    }
    marks: dict[str, str] = {}
    if figure is not None:
        printed = {name: figure.values.get(name) for name in ("throughput", "speedup")}
        values |= printed | {"published_id": figure.id, "evidence": figure.evidence, "source": figure.source}
        marks |= {"published": SECOND_HAND} if line.second_hand else {}
    if found is not None:
        values |= {
            "rounds": found.unpruned.n,
            "measured": found.unpruned.median,
            "median": found.unpruned.median,
            "quartiles": (found.unpruned.low, found.unpruned.high),
            "eager": _numbers(found.eager),
            "macs": found.macs,
            "realised": found.realised,
            "rate": found.rate,
            "kernels": found.kernels,
            "timing_warnings": found.timing_warnings,
            "compare_to ratio": _numbers(found.compare_to),
        }
        marks |= {"measured": UNRELIABLE} if found.timing_warnings else {}
    return Row(values, marks, _details(line))


def _details(line: Line) -> dict[str, dict[str, str]]:
    """What a trace says besides: where a published figure is from, and what was measured how."""
    printed: dict[str, str] = {}
    if line.published:
        printed = {name: str(own) for name, own in asdict(line.published).items() if name != "values" and own}
        printed |= line.published.values
    printed = printed or {"published": "no figure belongs to this row"}
    details = dict.fromkeys(("published", *OF_PUBLISHED), printed)
    if line.measured is None:
        return details | {"": {"status": line.status, "note": line.note}}
    own = {"measured on": title(line.setup), "kernels": line.measured.kernels}
    return details | {"": own | {"timing warnings": line.measured.timing_warnings}}


def _notes(study: SpeedStudy, lines: Sequence[Line]) -> Iterator[Note]:
    """What the columns mean, what was and was not measured, and every mark that was set."""
    yield Note(
        "Measured: images per second over those of the unpruned timm model with the same fused attention, median of "
        "rounds, with its inter-quartile range; vs. eager: over those with timm's eager attention. All rows of a "
        "backbone and both unpruned models were timed interleaved in one process. Random weights and images; deployed "
        "methods."
    )
    yield Note(
        "By MACs: how much faster it would be if only multiply-accumulates counted (convention `full`). Measured / "
        "MACs: share of that which is reached."
    )
    yield Note(
        "Published: throughput over that of the unpruned model in the same table where both are printed (so to within "
        "about two hundredths), else the speed-up as printed. GPU, precision and batch size of the source are "
        f"unknown. `{study.published}` has every figure as printed."
    )
    if any(line.second_hand for line in lines):
        yield Note("read in a text about the source.", SECOND_HAND)
    yield Note(f"Measured on: {'; '.join(title(setup) for setup in dict.fromkeys(line.setup for line in lines))}.")
    for name in devices_not_measured(study, lines):
        yield Note(f"{'A GPU' if name == 'cuda' else 'A processor'}: not measured.")
    yield from (Note(sentence) for line in lines if (sentence := _compared(line)))
    yield from _about_timing_warnings(lines)


def _about_timing_warnings(lines: Sequence[Line]) -> Iterator[Note]:
    """Why timings are unreliable: each reason in the long form, where they stand in the short one."""
    reasons: dict[str, list[str]] = {}
    for line in lines:
        if line.measured and line.measured.timing_warnings:
            where = f"{line.backbone} {line.row}, batch of {line.batch_size} ({line.setup.device})"
            reasons.setdefault(line.measured.timing_warnings, []).append(where)
    if reasons:
        where = "`table.html` and `table.csv` (`timing_warnings`)"
        yield Note(f"unreliable timing; reason in {where}.", UNRELIABLE, only="short")
    for reason, rows in reasons.items():
        yield Note(f"{'; '.join(rows)}: {reason}.", UNRELIABLE, only="long")


def _numbers(found: Spread | None) -> tuple[float, float, float] | None:
    return (found.median, found.low, found.high) if found else None


def _compared(line: Line) -> str:
    """The ratio of a row to another, in a sentence; empty where there is none."""
    if not line.compare_to or line.measured is None:
        return ""
    where = f"{line.row} over {line.compare_to}, {line.backbone}, {line.setup.device}, batch of {line.batch_size}"
    ratio = line.measured.compare_to
    if ratio is None:
        return f"{where}: not timed in one session."
    published = (
        "" if line.published_compare_to is None else f"; published {line.published_compare_to:.3f}, of throughputs"
    )
    return f"{where}, round by round: {ratio.median:.3f}x ({ratio.low:.3f}–{ratio.high:.3f}){published}."


def label(line: Line) -> str:
    """Backbone and row; batch and device in brackets."""
    return f"{line.backbone} {line.row} [{line.batch_size}, {line.setup.device}]"


def cells(folder: Path, lines: Sequence[Line], line: Line, key: str, field: str) -> list[Used]:
    """The cells of the row, and of the row that it is compared to where the column is about both."""
    if line.measured is None or key in ("published", *OF_PUBLISHED):
        return []
    rounds, _ = asked_for(load(folder.name).study, read_rounds(folder))
    names = [line.row, *([line.compare_to] if key == "compare_to ratio" and line.compare_to else [])]
    metric = next(column.metric for column in COLUMNS if column.key == key)
    return [cell for name in names for cell in _cells(line, name, rounds, metric)]


def _cells(line: Line, row: str, rounds: Sequence[Round], metric: str) -> Iterator[Used]:
    """The cell of a row with the value of every round; an empty one was not measured."""
    wanted = asdict(line.setup) | {"backbone": line.backbone, "batch_size": line.batch_size, "row": row}
    own = [one for one in rounds if all(one[name] == value for name, value in wanted.items())]
    for cell_id in dict.fromkeys(one["cell_id"] for one in own):
        values = tuple(float(one[metric]) for one in own if metric and one["cell_id"] == cell_id and one[metric])
        yield Used(cell_id, row, MISSING, "done", values, "s" if metric == "seconds" else "x")
