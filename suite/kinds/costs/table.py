"""The table of published and computed costs, described once; `suite.report.render` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from suite.kinds.costs.figures import FIELDS as PUBLISHED
from suite.kinds.costs.figures import Line
from suite.measure.macs import Macs
from suite.report.layout import Block, Column, Note, Row, Table
from suite.study.configuration import CONVENTIONS, CostRow

FIELDS = [convention.replace(" ", "_") for convention in CONVENTIONS]
COUNTS = (
    *(f"gmacs_{field}" for field in FIELDS),
    *(f"gflops_{field}" for field in Macs._fields),
    *(f"change_{field}" for field in FIELDS),
)
COLUMNS = (
    *(Column(name, form="record", fields=(name,)) for name in PUBLISHED),
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
    notes = numbered_notes(line.row.note for line in lines)
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


def texts(record: Mapping[str, Any], notes: Sequence[str]) -> dict[str, str | None]:
    """What readers see of a figure, by key of the column, None where there is nothing.

    Args:
        record: the figure's fields as the CSV has them; numbers may be their texts.
        notes: all notes of the table, in order.
    """
    unit, name, value = record["unit"], record["metric"], record["value"]
    whole = record["method"] in ("No merging", "No pruning")
    printed = " %" if unit == "%" else f" {name}" if name.startswith("G") else f" G{name}"
    setting, resolution = record["setting"], record["resolution"]
    found = {
        "source table": record["where"],
        "model": record["backbone"] if whole else f"{record['backbone']}, {record['method']}",
        "what": f"{setting} @ {resolution}" if resolution else setting,
        "published": value + printed,
        "read_as": record["read_as"] or None,
        "verdict": record["verdict"],
        "note number": f"[{notes.index(record['note']) + 1}]" if record["note"] else "",
    }
    return found | (_computed_texts(record) if record["read_as"] else {})


def numbered_notes(notes: Iterable[str]) -> list[str]:
    """The notes of figures as the table numbers them: each once, in order."""
    return [note for note in dict.fromkeys(notes) if note]


def column_read(record: Mapping[str, Any]) -> str:
    """The field that holds the reading that was taken."""
    convention, _, unit = record["read_as"].replace(" with norms", "_with_norms").partition(", ")
    return f"change_{convention}" if record["unit"] == "%" else f"{unit.lower()}_{convention}"


def _computed_texts(record: Mapping[str, Any]) -> dict[str, str | None]:
    """What was computed, in the figure's own unit."""
    is_change, sign = record["unit"] == "%", "+" if record["unit"] == "%" else ""
    digits = len(record["value"].partition(".")[2]) + 2  # two more than are printed
    norms = float(record["gmacs_full_with_norms"]) - float(record["gmacs_full"])
    shown = {
        field: f"{float(record[f'change_{field}']):+.1f} %" if is_change else f"{float(record[f'gmacs_{field}']):.4g}"
        for field in Macs._fields
    }
    return {
        **shown,
        "norms": None if is_change else f"{norms:.3g}",
        "computed": f"{float(record[column_read(record)]):{sign}.{digits}f}{' %' if is_change else ''}",
        "off by": f"{float(record['deviation']):+.2f} {'pp' if is_change else '%'}",
    }


def _values(line: Line, notes: Sequence[str]) -> dict[str, Any]:
    record = _record(line)
    return record | texts(record, notes)


def _record(line: Line) -> dict[str, Any]:
    """A figure's fields as the CSV has them."""
    return {
        **{name: getattr(line.figure, name) for name in PUBLISHED},
        "verdict": line.verdict,
        "computed_as": line.row.model if isinstance(line.row, CostRow) else None,
        "note": line.row.note,
        "read_as": "",
        **_computed(line),
    }


def _computed(line: Line) -> dict[str, Any]:
    """What was computed, as numbers; nothing if the figure is left out."""
    taken = line.taken()
    if line.counts is None or line.unpruned is None or taken is None:
        return {}
    changes = [100 * (count / whole - 1) for count, whole in zip(line.counts, line.unpruned, strict=True)]
    gigas = [count / 1e9 for count in line.counts]
    flops = [2 * giga for giga, _ in zip(gigas, Macs._fields, strict=False)]
    also = [reading.name for reading in line.readings() if line.fits(reading) and reading != taken]
    return {
        **dict(zip(COUNTS, [*gigas, *flops, *changes], strict=True)),
        "read_as": taken.name,
        "deviation": line.deviation(taken),
        "also_fits": "; ".join(also),
    }
