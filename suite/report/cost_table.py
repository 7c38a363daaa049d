"""The table of published and computed costs, described once; `suite.report.render` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from suite.report.costs import Figure, Line
from suite.report.layout import Block, Column, Note, Row, Table
from suite.study.configuration import CostRow

COUNTS = ("gmacs_full", "gmacs_linear", "gflops_full", "gflops_linear", "change_full", "change_linear")
COLUMNS = (
    *(Column(name, form="record", fields=(name,)) for name in Figure._fields),
    *(Column(name, form="record", fields=(name,)) for name in COUNTS),
    Column("source table", "where", align="left"),
    Column("model", "backbone", align="left"),
    Column("what", "setting", align="left"),
    Column("published", "published"),
    Column("full", "full"),
    Column("linear", "linear"),
    Column("read_as", "read as", align="left", fields=("read_as",)),
    Column("off by", "off by"),
    Column("deviation", form="record", fields=("deviation",)),
    Column("verdict", "verdict", align="left", fields=("verdict",)),
    *(Column(name, form="record", fields=(name,)) for name in ("also_fits", "computed_as", "note")),
    Column("note number", "note", align="left"),
)


def cost_table(name: str, lines: Sequence[Line]) -> Table:
    """A row for each published figure, under the name of the table's folder in `results/`."""
    notes = list(dict.fromkeys(line.row.note for line in lines if line.row.note))
    block = Block("", tuple(Row(_values(line, notes)) for line in lines))
    caption = "Published costs of token reduction beside computed ones."
    return Table(name, caption, COLUMNS, (block,), (*_explanations(lines), *_numbered(notes)))


def _explanations(lines: Sequence[Line]) -> list[Note]:
    """How many figures fit, and what the columns mean."""
    count = {verdict: sum(line.verdict == verdict for line in lines) for verdict in ("fits", "off", "not computed")}
    return [
        Note(
            f"{count['fits']} of {len(lines)} published figures fit, {count['off']} are off, {count['not computed']} "
            f"are not computed. A figure fits within {lines[0].tolerance:g} % of the published one, or if it rounds to "
            "what is printed."
        ),
        Note(
            "full, linear: computed GMACs of one image, or their change against the unpruned model. 1 GMAC is 1e9 "
            "multiply-accumulates; 1 GMAC is 2 GFLOPs. full counts every matrix product and convolution, linear leaves "
            "out the two matrix products of the attention; neither counts norms, softmax or activations."
        ),
        Note(
            "read as: the convention, and MACs or FLOPs, in which the published figure is nearest to the computed one; "
            "off by: computed less published."
        ),
    ]


def off(table: Table) -> Table:
    """What a terminal shows: the figures that are off, how many fit, and the notes that these need."""
    rows = tuple(row for row in table.rows() if row.values["verdict"] == "off")
    numbers = {row.values["note number"] for row in rows}
    notes = (table.notes[0], *(note for note in table.notes if note.mark in numbers - {""}))
    return Table(table.name, table.caption, table.columns, (Block("", rows),), notes)


def _numbered(notes: Sequence[str]) -> list[Note]:
    return [Note(note, f"[{number}]") for number, note in enumerate(notes, 1)]


def _values(line: Line, notes: Sequence[str]) -> dict[str, Any]:
    figure = line.figure
    whole = figure.method in ("No merging", "No pruning")
    unit = " %" if figure.unit == "%" else f" {figure.name}" if figure.name.startswith("G") else f" G{figure.name}"
    values: dict[str, Any] = {
        **figure._asdict(),
        "source table": figure.where,
        "model": figure.backbone if whole else f"{figure.backbone}, {figure.method}",
        "what": f"{figure.setting} @ {figure.resolution}" if figure.resolution else figure.setting,
        "published": figure.value + unit,
        "verdict": line.verdict,
        "computed_as": line.row.model if isinstance(line.row, CostRow) else None,
        "note": line.row.note,
        "note number": f"[{notes.index(line.row.note) + 1}]" if line.row.note else "",
    }
    return values | _computed(line)


def _computed(line: Line) -> dict[str, Any]:
    """What was computed, as numbers in the figure's own unit and as text; nothing if the figure is left out."""
    nearest = line.nearest()
    if line.macs is None or line.unpruned is None or nearest is None:
        return {}
    changes = [100 * (macs / whole - 1) for macs, whole in zip(line.macs, line.unpruned, strict=True)]
    counts = [factor * macs / 1e9 for factor in (1, 2) for macs in line.macs]
    is_change = line.figure.unit == "%"
    shown = [f"{change:+.1f} %" for change in changes] if is_change else [f"{macs / 1e9:.4g}" for macs in line.macs]
    deviation = line.deviation(nearest)
    also = [reading.name for reading in line.readings() if line.fits(reading) and reading != nearest]
    return {
        **dict(zip(COUNTS, [*counts, *changes], strict=True)),
        **dict(zip(line.macs._fields, shown, strict=True)),
        "read_as": nearest.name,
        "deviation": deviation,
        "off by": f"{deviation:+.1f} {'pp' if is_change else '%'}",
        "also_fits": "; ".join(also),
    }
