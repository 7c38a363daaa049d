"""The table of published and computed costs: as markdown and as CSV, from the same lines."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from suite.report.costs import Figure, Line
from suite.study.configuration import CostRow

COLUMNS = ("where", "backbone", "setting", "published", "full", "linear", "read as", "off by", "verdict", "note")
MISSING = "–"


def notes_of(lines: Sequence[Line]) -> list[str]:
    """The notes of all rows, once each, in the order of the lines; the table refers to them by number."""
    return list(dict.fromkeys(line.row.note for line in lines if line.row.note))


def cells_of(line: Line, notes: Sequence[str]) -> tuple[str, ...]:
    """One line of the table as text."""
    figure, nearest = line.figure, line.nearest()
    backbone = (
        figure.backbone if figure.method in ("No merging", "No pruning") else f"{figure.backbone}, {figure.method}"
    )
    unit = " %" if figure.unit == "%" else f" {figure.name}" if figure.name.startswith("G") else f" G{figure.name}"
    computed = {reading.name: f"{reading.value:+.1f} %" for reading in line.readings()}
    if figure.unit == "G" and line.macs is not None:
        computed = {"full": f"{line.macs.full / 1e9:.4g}", "linear": f"{line.macs.linear / 1e9:.4g}"}
    return (
        figure.where,
        backbone,
        f"{figure.setting} @ {figure.resolution}" if figure.resolution else figure.setting,
        figure.value + unit,
        computed.get("full", MISSING),
        computed.get("linear", MISSING),
        MISSING if nearest is None else nearest.name,
        MISSING if nearest is None else f"{line.deviation(nearest):+.1f} {'pp' if figure.unit == '%' else '%'}",
        line.verdict,
        f"[{notes.index(line.row.note) + 1}]" if line.row.note else "",
    )


def explanations(lines: Sequence[Line]) -> list[str]:
    """What the columns mean, how many figures fit, and the notes."""
    count = {verdict: sum(line.verdict == verdict for line in lines) for verdict in ("fits", "off", "not computed")}
    return [
        f"{count['fits']} of {len(lines)} published figures fit, {count['off']} are off, {count['not computed']} are "
        f"not computed. A figure fits within {lines[0].tolerance:g} % of the published one, or if it rounds to what is "
        "printed.",
        "full, linear: computed GMACs of one image, or their change against the unpruned model. 1 GMAC is 1e9 "
        "multiply-accumulates; 1 GMAC is 2 GFLOPs. full counts every matrix product and convolution, linear leaves out "
        "the two matrix products of the attention; neither counts norms, softmax or activations.",
        "read as: the convention, and MACs or FLOPs, in which the published figure is nearest to the computed one; off "
        "by: computed less published.",
        *numbered(notes_of(lines)),
    ]


def numbered(notes: Sequence[str]) -> list[str]:
    """Notes as the table refers to them."""
    return [f"[{number}] {note}" for number, note in enumerate(notes, 1)]


def markdown(lines: Sequence[Line]) -> str:
    """The table and its explanations as markdown."""
    notes = notes_of(lines)
    align = ["left"] * 3 + ["right"] * 3 + ["left", "right", "left", "left"]
    rows = [cells_of(line, notes) for line in lines]
    body = tabulate(rows, COLUMNS, tablefmt="pipe", disable_numparse=True, colalign=align)
    return body + "\n\n" + "\n".join(f"- {said}" for said in explanations(lines)) + "\n"


def write_csv(path: Path, lines: Sequence[Line]) -> None:
    """The table as CSV, at full precision; deviations in percent, those of changes in percentage points."""
    fields = "gmacs_full gmacs_linear gflops_full gflops_linear change_full change_linear read_as deviation verdict"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*Figure._fields, *fields.split(), "also_fits", "computed_as", "note"])
        for line in lines:
            nearest = line.nearest()
            also = [reading.name for reading in line.readings() if line.fits(reading) and reading != nearest]
            writer.writerow(
                [*line.figure, *_numbers(line)]
                + (["", ""] if nearest is None else [nearest.name, line.deviation(nearest)])
                + [
                    line.verdict,
                    "; ".join(also),
                    line.row.model if isinstance(line.row, CostRow) else "",
                    line.row.note,
                ]
            )


def _numbers(line: Line) -> list[object]:
    if line.macs is None or line.unpruned is None:
        return [""] * 6
    counts = [factor * macs / 1e9 for factor in (1, 2) for macs in line.macs]
    return [*counts, *(100 * (macs / whole - 1) for macs, whole in zip(line.macs, line.unpruned, strict=True))]
