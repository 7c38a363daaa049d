"""The table of published and computed costs, described once; `suite.report.render` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from suite.measure.macs import Macs
from suite.report.costs import Figure, Line
from suite.report.layout import Block, Column, Note, Row, Table
from suite.study.configuration import CONVENTIONS, CostRow

FIELDS = [convention.replace(" ", "_") for convention in CONVENTIONS]
COUNTS = (
    *(f"gmacs_{field}" for field in FIELDS),
    *(f"gflops_{field}" for field in Macs._fields),
    *(f"change_{field}" for field in FIELDS),
)
COLUMNS = (
    *(Column(name, form="record", fields=(name,)) for name in Figure._fields),
    *(Column(name, form="record", fields=(name,)) for name in COUNTS),
    Column("source table", "where", align="left"),
    Column("model", "backbone", align="left"),
    Column("what", "setting", align="left"),
    Column("published", "published"),
    Column("full", "full"),
    Column("linear", "linear"),
    Column("norms", "norms"),
    Column("computed", "computed"),
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
    verdicts = ("fits", "near", "off", "not computed")
    count = {verdict: sum(line.verdict == verdict for line in lines) for verdict in verdicts}
    return [
        Note(
            f"{count['fits']} of {len(lines)} published figures fit, {count['near']} are near, {count['off']} are off, "
            f"{count['not computed']} are not computed. A figure fits if the computed one rounds to what is printed; "
            f"it is near if it does not, but is within {lines[0].tolerance:g} %."
        ),
        Note(
            "full, linear: computed GMACs of one image, or their change against the unpruned model. 1 GMAC is 1e9 "
            "multiply-accumulates; 1 GMAC is 2 GFLOPs. full counts every matrix product and convolution, linear leaves "
            "out the two matrix products of the attention; neither counts norms, softmax or activations. norms: G "
            "operations of norms, 5 for each value that enters a LayerNorm, as fvcore counts them; `with norms` they "
            "are added, an operation like a multiply-accumulate, and there are no FLOPs of it."
        ),
        Note(
            "read as: the convention, and MACs or FLOPs, in which most figures of the same source fit, of several the "
            "plainest; what else fits is in table.csv. computed: the figure read so; off by: computed less published."
        ),
    ]


def off(table: Table) -> Table:
    """What a terminal shows: the figures that do not fit, how many fit, and the notes that these need."""
    rows = tuple(row for row in table.rows() if row.values["verdict"] in ("near", "off"))
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
    taken = line.taken()
    if line.counts is None or line.unpruned is None or taken is None:
        return {}
    changes = [100 * (count / whole - 1) for count, whole in zip(line.counts, line.unpruned, strict=True)]
    gigas = [count / 1e9 for count in line.counts]
    flops = [2 * giga for giga, _ in zip(gigas, Macs._fields, strict=False)]
    is_change = line.figure.unit == "%"
    shown = [f"{change:+.1f} %" for change in changes] if is_change else [f"{giga:.4g}" for giga in gigas]
    deviation = line.deviation(taken)
    also = [reading.name for reading in line.readings() if line.fits(reading) and reading != taken]
    digits = len(line.figure.value.partition(".")[2]) + 2  # two more than are printed
    return {
        **dict(zip(COUNTS, [*gigas, *flops, *changes], strict=True)),
        **dict(zip(Macs._fields, shown, strict=False)),
        "norms": None if is_change else f"{line.counts.norms / 1e9:.3g}",
        "computed": f"{taken.value:{'+' if is_change else ''}.{digits}f}{' %' if is_change else ''}",
        "read_as": taken.name,
        "deviation": deviation,
        "off by": f"{deviation:+.2f} {'pp' if is_change else '%'}",
        "also_fits": "; ".join(also),
    }
