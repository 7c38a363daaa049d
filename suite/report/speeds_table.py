"""The table of published and measured speed-ups: as markdown, as CSV and for the terminal, from the same lines."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from tabulate import tabulate

from suite.report.speeds import Line, Setup, devices_not_measured
from suite.report.statistics import Spread
from suite.study.speed_study import SpeedStudy

COLUMNS = ("backbone", "row", "batch", "published", "measured", "IQR", "vs eager", "by MACs", "realised / MACs")
MISSING, TAINTED, SECOND_HAND = "–", "‡", "°"
GPU = {"cpu": "processor", "cuda": "GPU"}


def title(setup: Setup) -> str:
    """What was measured on, and how, in a line."""
    threads = f", {setup.threads} thread{'s' if setup.threads != '1' else ''}" if setup.device_type == "cpu" else ""
    ways = [name for name, said in (("compiled", setup.compiled), ("CUDA graphs", setup.graph)) if said == "true"]
    return ", ".join([f"{setup.device} ({GPU[setup.device_type]}){threads}", setup.precision, *ways])


def columns(setup: Setup) -> tuple[str, ...]:
    """Names of the columns; images per second are a GPU's only."""
    return (*COLUMNS, *(["images/s"] if setup.device_type == "cuda" else []), "note")


def cells_of(line: Line, notes: Sequence[str]) -> tuple[str, ...]:
    """One line of the table as text."""
    found, gpu = line.measured, line.setup.device_type == "cuda"
    mark = SECOND_HAND if line.published and line.published.evidence != "primary" else ""
    published = f"{line.ratio}x{mark}" if line.ratio else MISSING
    note = f"[{notes.index(line.note) + 1}]" if line.note else ""
    start = (line.backbone, line.row, line.batch_size or MISSING, published)
    if found is None:
        return (*start, line.status, *[MISSING] * (len(columns(line.setup)) - len(start) - 2), note)
    return (
        *start,
        f"{found.unpruned.median:.2f}x{f' {TAINTED}' if found.tainted else ''}",
        f"{found.unpruned.low:.2f}–{found.unpruned.high:.2f}",
        f"{found.eager.median:.2f}x",
        f"{found.macs:.2f}x",
        f"{found.realised:.2f}",
        *([f"{found.rate:.0f}" if found.rate else MISSING] if gpu else []),
        note,
    )


def markdown(study: SpeedStudy, lines: Sequence[Line]) -> str:
    """A table for each device, and what there is to say."""
    notes, parts = notes_of(lines), []
    for setup in dict.fromkeys(line.setup for line in lines):
        body = [cells_of(line, notes) for line in lines if line.setup == setup]
        names = columns(setup)
        align = ["left", "left", *["right"] * (len(names) - 3), "left"]
        table = tabulate(body, names, tablefmt="pipe", disable_numparse=True, colalign=align)
        parts.append(f"**{title(setup)}**\n\n{table}\n")
    said = [*explanations(study, lines), *numbered(notes)]
    return "\n".join([*parts, "\n".join(f"- {sentence}" for sentence in said) + "\n"])


def terminal(lines: Sequence[Line]) -> list[Table]:
    """The same tables for a terminal."""
    notes, tables = notes_of(lines), []
    for setup in dict.fromkeys(line.setup for line in lines):
        table = Table(box=box.SIMPLE, padding=0, title=title(setup), title_justify="left")
        for index, name in enumerate(columns(setup)):
            table.add_column(name.replace(" ", "\n", 1), justify="right" if index > 1 else "left", no_wrap=index > 1)
        for line in lines:
            if line.setup == setup:
                table.add_row(*cells_of(line, notes))
        tables.append(table)
    return tables


def notes_of(lines: Sequence[Line]) -> list[str]:
    """The notes of all rows, once each; the tables refer to them by number."""
    return list(dict.fromkeys(line.note for line in lines if line.note))


def numbered(notes: Sequence[str]) -> list[str]:
    """Notes as the tables refer to them."""
    return [f"[{number}] {note}" for number, note in enumerate(notes, 1)]


def explanations(study: SpeedStudy, lines: Sequence[Line]) -> list[str]:
    """What the columns mean, what was and was not measured, and every mark that was set."""
    found = [
        "Measured: images per second over those of the unpruned timm model with the same fused attention, median of "
        "rounds, with its inter-quartile range; vs eager: over those with timm's eager attention. All rows of a "
        "backbone and both unpruned models took turns in one process. Weights and images are random, methods deployed.",
        "By MACs: how much faster it would be if only multiply-accumulates counted (convention `full`). Realised / "
        "MACs: measured over that.",
        "Published: throughput over that of the unpruned model in the same table where both are printed (so to within "
        "about a hundredth), else the speed-up as printed. GPU, precision and batch size of the source are not known. "
        f"{SECOND_HAND}: read in a text about the source. {study.published} has every figure as printed.",
        f"Measured on: {'; '.join(title(setup) for setup in dict.fromkeys(line.setup for line in lines))}.",
    ]
    found += [
        f"{'A GPU' if name == 'cuda' else 'A processor'}: not measured." for name in devices_not_measured(study, lines)
    ]
    found += [sentence for line in lines if (sentence := _beside(line))]
    tainted = [line for line in lines if line.measured and line.measured.tainted]
    reasons: dict[str, list[str]] = {}
    for line in tainted:
        assert line.measured is not None
        reasons.setdefault(line.measured.tainted, []).append(f"{line.backbone} {line.row} ({line.setup.device})")
    return [*found, *(f"{TAINTED} {', '.join(where)}: {reason}." for reason, where in reasons.items())]


def write_csv(path: Path, lines: Sequence[Line]) -> None:
    """The table as CSV, at full precision."""
    about = "backbone row batch_size status published_id published_ratio throughput speedup evidence source"
    numbers = "rounds measured_median measured_low measured_high eager_median eager_low eager_high macs_ratio"
    numbers += " realised_of_macs images_per_second kernels tainted beside beside_median beside_low beside_high"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*Setup.__annotations__, *about.split(), *numbers.split(), "published_beside", "note"])
        for line in lines:
            figure, setup = line.published, [getattr(line.setup, key) for key in Setup.__annotations__]
            printed = [figure.values.get("throughput", ""), figure.values.get("speedup", "")] if figure else ["", ""]
            source = [figure.evidence, figure.source] if figure else ["", ""]
            where = [*setup, line.backbone, line.row, line.batch_size, line.status]
            published = [figure.id if figure else "", line.ratio, *printed, *source]
            beside = "" if line.published_beside is None else line.published_beside
            writer.writerow([*where, *published, *_numbers(line), beside, line.note])


def _numbers(line: Line) -> list[object]:
    found = line.measured
    if found is None:
        return [*[""] * 12, line.beside, *[""] * 3]
    rate = "" if found.rate is None else found.rate
    return [
        *(found.unpruned.n, *_spread(found.unpruned), *_spread(found.eager), found.macs, found.realised, rate),
        *(found.kernels, found.tainted, line.beside, *_spread(found.beside)),
    ]


def _spread(found: Spread | None) -> list[object]:
    return [found.median, found.low, found.high] if found else [""] * 3


def _beside(line: Line) -> str:
    """The ratio of a row to another, in a sentence; empty where there is none."""
    if not line.beside or line.measured is None:
        return ""
    where = f"{line.row} over {line.beside}, {line.backbone}, {line.setup.device}, batch of {line.batch_size}"
    ratio = line.measured.beside
    if ratio is None:
        return f"{where}: not timed side by side."
    published = "" if line.published_beside is None else f"; published {line.published_beside:.3f}, of throughputs"
    return f"{where}, round by round: {ratio.median:.3f}x ({ratio.low:.3f}–{ratio.high:.3f}){published}."
