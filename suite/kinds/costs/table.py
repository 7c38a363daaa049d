"""The table of published and computed costs, described once; `suite.report.render` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from suite.errors import UserError
from suite.kinds.costs.figures import FIELDS as FIGURE
from suite.kinds.costs.figures import Line, read_published
from suite.kinds.costs.schema import CONVENTIONS
from suite.report.layout import Block, Column, Note, Row, Table, recorded
from suite.study.kind import Loaded
from suite.study.load import RESULTS
from suite.study.published import TableFigure, half_a_unit

PLAIN = ("full", "linear")  # conventions without norms
FIELDS = [convention.replace(" ", "_") for convention in CONVENTIONS]
COUNTS = (
    *(f"gmacs_{field}" for field in FIELDS),
    *(f"gflops_{field}" for field in PLAIN),
    *(f"change_{field}" for field in FIELDS),
)
PUBLISHED = "printed by the source"
COUNTED = (
    "by torch, each matrix product and convolution of one image, while the deployed model runs without weights; in "
    "linear without the two products of the attention (suite/measure/count.py)"
)
HALF = "half a unit of the last printed digit"
CHOSEN = "the convention, and MACs or FLOPs, in which most figures of the same source fit"


def _columns() -> Iterator[Column]:
    yield from recorded(*FIGURE, how=PUBLISHED)
    yield from recorded(*COUNTS, how=COUNTED)
    yield Column("source table", "where", align="left", how=PUBLISHED)
    yield Column("model", "backbone", align="left", how=PUBLISHED)
    yield Column("what", "setting", align="left", how=PUBLISHED)
    yield Column("published", "published", how=PUBLISHED)
    yield from (Column(name, name, how=COUNTED) for name in (*PLAIN, "norms", "computed"))
    yield Column("read_as", "read as", align="left", fields=("read_as",), how=CHOSEN)
    yield Column("off by", "off by", how="computed minus published")
    yield from recorded("deviation", how="computed minus published")
    how = "fits if the computed figure rounds to what is printed; near if it does not, but is within the tolerance"
    yield Column("verdict", "verdict", align="left", fields=("verdict",), how=how)
    yield from recorded("also_fits", how="other readings that round to what is printed")
    yield from recorded("computed_as", "note", "cut", how="as the study says")
    yield Column("note number", "note", align="left", how="as the study says")


COLUMNS = tuple(_columns())


def cost_table(name: str, lines: Sequence[Line]) -> Table:
    """A row for each published figure, under the name of the table's folder in `results/`."""
    notes = list(dict.fromkeys(line.note for line in lines if line.note))
    block = Block("", tuple(_row(line, notes) for line in lines))
    caption = "Published costs of token reduction beside computed ones."
    numbered = (Note(note, f"[{number}]") for number, note in enumerate(notes, 1))
    return Table(name, caption, COLUMNS, (block,), (*_explanations(lines), *numbered))


def _explanations(lines: Sequence[Line]) -> list[Note]:
    """How many figures fit, and what the columns mean."""
    verdicts = ("fits", "near", "off", "not computed")
    count = {verdict: sum(line.verdict == verdict for line in lines) for verdict in verdicts}
    return [
        Note(
            f"{count['fits']} of {len(lines)} published figures fit, {count['near']} are near, {count['off']} are off, "
            f"{count['not computed']} are not computed. Fits: the computed figure rounds to the printed one, "
            f"or is cut to it where its source cuts; near: it "
            f"does not, but is within {lines[0].tolerance:g} %."
        ),
        Note(
            "full, linear: computed GMACs of one image, or their change against the unpruned model; 1 GMAC is 1e9 "
            "multiply-accumulates, 2 GFLOPs. full: all matrix products and convolutions; linear: without the two "
            "matrix products of the attention; neither counts norms, softmax or activations. norms: G operations of "
            "norms, 5 per value that enters a LayerNorm, as in fvcore; `with norms` adds them to the MACs."
        ),
        Note(
            "read as: the convention, and MACs or FLOPs, in which most figures of the same source fit, of several the "
            "plainest; what else fits is in table.csv. computed: in that reading; off by: computed minus published."
        ),
    ]


def published(loaded: Loaded, rows: Sequence[Mapping[str, Any]]) -> Iterator[TableFigure]:
    """The published figures, each with the row and the convention that computes it."""
    figures, name, path = read_published(loaded.study.published), loaded.name, loaded.study.published
    if [(row["id"], row["value"], row["unit"]) for row in rows] != [(one.id, one.value, one.unit) for one in figures]:
        raise UserError(f"{RESULTS / name} was not made from {path}; make it again with: suite run {name}")
    for figure, row in zip(figures, rows, strict=True):
        share, why = (2, "a unit of the last printed digit, which is cut") if row["cut"] else (1, HALF)
        more = {"where": figure.where.partition(", ")[2], "tolerance": f"{share * half_a_unit(figure.value):.6g}"}
        more |= {"tolerance_from": why}
        if row["read_as"]:
            number = figure.model_copy(update=more | {"command": f"suite run {name}"})
            remark = ". ".join(filter(None, (f"read as {row['read_as']}", row["note"])))
            yield TableFigure(number, {"id": figure.id}, _column_read(row), remark)
        else:
            needs = f"a model that can be computed: {row['note']}"
            yield TableFigure(figure.model_copy(update=more | {"needs": needs}), {"id": figure.id})


def _column_read(record: Mapping[str, Any]) -> str:
    """The field that holds the reading that was taken."""
    convention, _, unit = record["read_as"].replace(" with norms", "_with_norms").partition(", ")
    return f"change_{convention}" if record["unit"] == "%" else f"{unit.lower()}_{convention}"


def _row(line: Line, notes: Sequence[str]) -> Row:
    record = {name: getattr(line.figure, name) for name in FIGURE} | _computed(line)
    record |= {"verdict": line.verdict, "computed_as": line.computed_as or None, "note": line.note}
    named = ("where", "method", "backbone", "setting", "metric", "value", "unit", "source", "evidence")
    details = {name: str(record[name] or "") for name in (*named, "computed_as", "read_as", "note")}
    number = {"note number": f"[{notes.index(line.note) + 1}]" if line.note else ""}
    return Row(record | number | _texts(record), details={"": details})


def _computed(line: Line) -> dict[str, Any]:
    """What was computed, as numbers; nothing if the figure is excluded."""
    taken = line.taken()
    if line.cost is None or line.unpruned is None or taken is None:
        return {"read_as": ""}
    pairs = zip(line.cost.conventions, line.unpruned.conventions, strict=True)
    changes = [100 * (count / whole - 1) for count, whole in pairs]
    gigas = [count / 1e9 for count in line.cost.conventions]
    flops = [2 * giga for giga, _ in zip(gigas, PLAIN, strict=False)]
    also = [name for name, value in line.readings().items() if line.fits(value) and name != line.read_as]
    return {
        **dict(zip(COUNTS, [*gigas, *flops, *changes], strict=True)),
        "read_as": line.read_as,
        "deviation": line.deviation(taken),
        "also_fits": "; ".join(also),
        "cut": "cut" if line.cut else "",
    }


def _texts(record: Mapping[str, Any]) -> dict[str, str | None]:
    """What readers see of a figure, by key of the column, None where there is nothing."""
    whole, name = record["method"] in ("No merging", "No pruning"), record["metric"]
    printed = " %" if record["unit"] == "%" else f" {name}" if name.startswith("G") else f" G{name}"
    setting, resolution = record["setting"], record["resolution"]
    found = {
        "source table": record["where"],
        "model": record["backbone"] if whole else f"{record['backbone']}, {record['method']}",
        "what": f"{setting} @ {resolution}" if resolution else setting,
        "published": record["value"] + printed,
        "read_as": record["read_as"] or None,
    }
    return found | (_computed_texts(record) if record["read_as"] else {})


def _computed_texts(record: Mapping[str, Any]) -> dict[str, str | None]:
    """What was computed, in the figure's own unit, with two more digits than are printed."""
    digits, taken = len(record["value"].partition(".")[2]) + 2, record[_column_read(record)]
    if record["unit"] == "%":
        shown = {field: f"{record[f'change_{field}']:+.1f} %" for field in PLAIN}
        return {**shown, "computed": f"{taken:+.{digits}f} %", "off by": f"{record['deviation']:+.2f} pp"}
    shown = {field: f"{record[f'gmacs_{field}']:.4g}" for field in PLAIN}
    norms = f"{record['gmacs_full_with_norms'] - record['gmacs_full']:.3g}"
    return {**shown, "norms": norms, "computed": f"{taken:.{digits}f}", "off by": f"{record['deviation']:+.2f} %"}
