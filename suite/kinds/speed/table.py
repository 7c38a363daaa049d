"""The table of published and measured speed-ups, described once; `suite.report.render` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from suite.kinds.speed.lines import Line, Setup, devices_not_measured
from suite.kinds.speed.schema import SpeedStudy
from suite.report.layout import SECOND_HAND, TAINTED, Block, Column, Note, Row, Table
from suite.report.statistics import Spread

GPU = {"cpu": "processor", "cuda": "GPU"}


def _shown(measured: float | str) -> str:
    """A ratio, or why there is none."""
    return measured if isinstance(measured, str) else f"{measured:.2f}x"


COLUMNS = (
    *(Column(name, form="record", fields=(name,)) for name in Setup.__annotations__),
    Column("backbone", "backbone", align="left", fields=("backbone",)),
    Column("row", "row", align="left", fields=("row",)),
    Column("batch", "batch", fields=("batch_size",)),
    Column("status", form="record", fields=("status",)),
    Column("published_id", form="record", fields=("published_id",)),
    Column("published", "published", "{}x".format, fields=("published_ratio",)),
    *(Column(name, form="record", fields=(name,)) for name in ("throughput", "speedup", "evidence", "source")),
    Column("rounds", form="record", fields=("rounds",)),
    Column("measured", "measured", _shown),
    Column("median", form="record", fields=("measured_median",)),
    Column("quartiles", "IQR", "{0[0]:.2f}–{0[1]:.2f}".format, fields=("measured_low", "measured_high"), spare=True),
    Column("eager", "vs eager", "{0[0]:.2f}x".format, fields=("eager_median", "eager_low", "eager_high"), spare=True),
    Column("macs", "by MACs", "{:.2f}x".format, fields=("macs_ratio",)),
    Column("realised", "realised / MACs", "{:.2f}".format, fields=("realised_of_macs",)),
    Column("rate", "images/s", "{:.0f}".format, fields=("images_per_second",)),
    *(Column(name, form="record", fields=(name,)) for name in ("kernels", "timing_warnings", "compare_to")),
    Column("compare_to ratio", form="record", fields=("compare_to_median", "compare_to_low", "compare_to_high")),
    *(Column(name, form="record", fields=(name,)) for name in ("published_compare_to", "note")),
    Column("note number", "note", align="left"),
)


def title(setup: Setup) -> str:
    """What was measured on, and how, in a line."""
    threads = f", {setup.threads} thread{'s' if setup.threads != '1' else ''}" if setup.device_type == "cpu" else ""
    ways = [name for name, said in (("compiled", setup.compiled), ("CUDA graphs", setup.graph)) if said == "true"]
    return ", ".join([f"{setup.device} ({GPU[setup.device_type]}){threads}", setup.precision, *ways])


def speed_table(name: str, study: SpeedStudy, lines: Sequence[Line]) -> Table:
    """A block for each device, under the name of the table's folder in `results/`."""
    numbered = list(dict.fromkeys(line.note for line in lines if line.note))
    setups = list(dict.fromkeys(line.setup for line in lines))
    blocks = [
        Block(title(setup), tuple(_row(line, numbered) for line in lines if line.setup == setup)) for setup in setups
    ]
    caption = f"Study `{name}`: published and measured speed-ups of each row. {'; '.join(map(title, setups))}."
    notes = (*_notes(study, lines), *(Note(note, f"[{number}]") for number, note in enumerate(numbered, 1)))
    return Table(name, caption, COLUMNS, tuple(blocks), notes)


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
        marks |= {"measured": TAINTED} if found.timing_warnings else {}
    return Row(values, marks)


def _notes(study: SpeedStudy, lines: Sequence[Line]) -> Iterator[Note]:
    """What the columns mean, what was and was not measured, and every mark that was set."""
    yield Note(
        "Measured: images per second over those of the unpruned timm model with the same fused attention, median of "
        "rounds, with its inter-quartile range; vs eager: over those with timm's eager attention. All rows of a "
        "backbone and both unpruned models took turns in one process. Weights and images are random, methods deployed."
    )
    yield Note(
        "By MACs: how much faster it would be if only multiply-accumulates counted (convention `full`). Realised / "
        "MACs: measured over that."
    )
    yield Note(
        "Published: throughput over that of the unpruned model in the same table where both are printed (so to within "
        "about two hundredths), else the speed-up as printed. GPU, precision and batch size of the source are not "
        "known. "
        f"`{study.published}` has every figure as printed."
    )
    if any(line.second_hand for line in lines):
        yield Note("read in a text about the source.", SECOND_HAND)
    yield Note(f"Measured on: {'; '.join(title(setup) for setup in dict.fromkeys(line.setup for line in lines))}.")
    for name in devices_not_measured(study, lines):
        yield Note(f"{'A GPU' if name == 'cuda' else 'A processor'}: not measured.")
    yield from (Note(sentence) for line in lines if (sentence := _compared(line)))
    yield from _about_timing_warnings(lines)


def _about_timing_warnings(lines: Sequence[Line]) -> Iterator[Note]:
    """Why speeds are not to be trusted: each reason in the long form, where they stand in the short one."""
    reasons: dict[str, list[str]] = {}
    for line in lines:
        if line.measured and line.measured.timing_warnings:
            where = f"{line.backbone} {line.row}, batch of {line.batch_size} ({line.setup.device})"
            reasons.setdefault(line.measured.timing_warnings, []).append(where)
    if reasons:
        where = "`table.html`, in `table.csv` (`timing_warnings`) and in `suite trace`"
        yield Note(f"a speed that is not to be trusted; why stands in {where}.", TAINTED, only="short")
    for reason, rows in reasons.items():
        yield Note(f"{'; '.join(rows)}: {reason}.", TAINTED, only="long")


def _numbers(found: Spread | None) -> tuple[float, float, float] | None:
    return (found.median, found.low, found.high) if found else None


def _compared(line: Line) -> str:
    """The ratio of a row to another, in a sentence; empty where there is none."""
    if not line.compare_to or line.measured is None:
        return ""
    where = f"{line.row} over {line.compare_to}, {line.backbone}, {line.setup.device}, batch of {line.batch_size}"
    ratio = line.measured.compare_to
    if ratio is None:
        return f"{where}: not timed side by side."
    published = (
        "" if line.published_compare_to is None else f"; published {line.published_compare_to:.3f}, of throughputs"
    )
    return f"{where}, round by round: {ratio.median:.3f}x ({ratio.low:.3f}–{ratio.high:.3f}){published}."
