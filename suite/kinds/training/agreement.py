"""Several records of one study, such as of several machines, and whether they say the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats

from suite.errors import UserError
from suite.kinds.training.compare import DIFFERENT, Compared, compared, comparison_table
from suite.kinds.training.facts import differs_significantly
from suite.kinds.training.line import Line
from suite.kinds.training.summary import lines_of
from suite.report.layout import Block, Column, Note, Row, Table
from suite.report.statistics.intervals import LEVEL
from suite.report.statistics.significance import ALPHA, correct
from suite.report.style import TWO_COLUMNS, canvas, drawable
from suite.study.sides import Comparison, Side
from suite.tasks.task import task

Pair = tuple[str, str]  # names of two records


@dataclass(frozen=True)
class Agreement:
    """What every two of several records say of each other.

    Attributes:
        lines: of each record, by its name.
        pairs: the rows of every two records, compared.
    """

    lines: Mapping[str, Sequence[Line]]
    pairs: Mapping[Pair, Sequence[Compared]]

    @property
    def inside(self) -> tuple[int, int]:
        """Of how many rows of pairs 0 lies in the interval of the difference, and of how many there is one.

        Rows that are equal to the bit say nothing and do not count.
        """
        rows = [row for rows in self.pairs.values() for row in rows if row.equal < row.seeds]
        found = [row.trainings for row in rows if row.trainings]
        return sum(one.low <= 0 <= one.high for one in found), len(found)

    @property
    def p_inside(self) -> float:
        """That so few lie inside by chance, if each does in 95 %."""
        inside, total = self.inside
        return float(stats.binomtest(inside, total, LEVEL, alternative="less").pvalue) if total else 1.0

    @property
    def differing(self) -> list[tuple[Pair, str]]:
        """Rows that differ between two records after Holm's correction for all rows of all pairs."""
        found = [(pair, row) for pair, rows in self.pairs.items() for row in rows if row.trainings]
        raw = [row.trainings.p for _, row in found if row.trainings]
        return [(pair, row.label) for (pair, row), p in zip(found, correct(raw), strict=True) if p < ALPHA]

    @property
    def swapped(self) -> list[tuple[Pair, Pair]]:
        """Rows that a record says differ, and that stand the other way round in another: both records, both rows."""
        found = []
        for (name, lines), (other, others) in itertools.permutations(self.lines.items(), 2):
            means = {line.label: line.score.median for line in others if line.score}
            for one, two in itertools.combinations(lines, 2):
                if not (differs_significantly(one, two) and one.score and two.score):
                    continue
                if not {one.label, two.label} <= means.keys():
                    continue
                if (one.score.median - two.score.median) * (means[one.label] - means[two.label]) < 0:
                    found.append(((name, other), (one.label, two.label)))
        return found

    @property
    def agrees(self) -> bool:
        """Whether 0 lies inside as often as it must, no row differs, and no two change places."""
        return self.p_inside >= 0.01 and not self.differing and not self.swapped


def compare(sides: Sequence[Side]) -> Comparison:
    """Two records row by row, or every two of several."""
    folders = [one.folder for one in sides]
    if len(sides) > 2:
        among = agreement(sides)
        return Comparison(agreement_table(among), not among.agrees, partial(draw_agreement, among, folders))
    found = compared(sides[0], sides[1])
    table = comparison_table(sides[0], sides[1], found)
    differs = any(row.verdict == DIFFERENT for row in found)
    return Comparison(table, differs, lambda path: draw_agreement(agreement(sides), folders, path))


def agreement(sides: Sequence[Side]) -> Agreement:
    """Compare every two records.

    Raises:
        UserError: as `compared`.
    """
    if any(side.row for side in sides) or len({side.name for side in sides}) < len(sides):
        raise UserError("three records or more, or a figure of two, are compared whole: name each once, and no rows")
    pairs = {(one.name, other.name): compared(one, other) for one, other in itertools.combinations(sides, 2)}
    return Agreement({side.name: lines_of(side.folder) for side in sides}, pairs)


def agreement_table(found: Agreement) -> Table:
    """A row for each row of the study, a column for each record: median over seeds; and what all pairs say."""
    labels = [line.label for line in next(iter(found.lines.values()))]
    medians = {
        name: {line.label: line.score.median for line in lines if line.score} for name, lines in found.lines.items()
    }
    columns = [Column("row", "row", align="left", fields=("row",))]
    columns += [Column(name, Path(name).name, "{:.1f}".format, fields=(Path(name).name,)) for name in medians]
    rows = tuple(
        Row({"row": label} | {name: scores.get(label) for name, scores in medians.items()}) for label in labels
    )
    inside, total = found.inside
    cells = sum(row.seeds for compared in found.pairs.values() for row in compared)
    equal = sum(row.equal for compared in found.pairs.values() for row in compared)
    swapped = [" and ".join(rows) for _, rows in found.swapped]
    notes = [
        Note("Median over seeds. All below is of every two records, row by row, over seeds; pairs share records."),
        Note(
            f"0 lies in the {100 * LEVEL:g} % interval of the difference in {inside} of {total} "
            f"({100 * inside / max(total, 1):.1f} %); p that so few do by chance: {found.p_inside:.2g}."
        ),
        Note(f"After Holm's correction {len(found.differing)} differ{_named(label for _, label in found.differing)}."),
        Note(f"Rows said to differ that change places: {len(found.swapped)}{_named(swapped)}."),
        Note(f"{equal} of {cells} pairs of cells are equal to the bit."),
    ]
    return Table("agreement", "Records of one study", tuple(columns), (Block("", rows),), tuple(notes))


def draw_agreement(found: Agreement, folders: Sequence[Path], path: Path) -> None:
    """Each row's mean over seeds with its interval, record by record."""
    labels = [line.label for line in next(iter(found.lines.values()))]
    size, records = (TWO_COLUMNS, 0.4 + 0.32 * len(labels)), [folder / "cells.csv" for folder in folders]
    with canvas(path, 1, 1, size=size, records=records) as (figure, axes):
        axis = axes[0, 0]
        for place, (name, lines) in enumerate(found.lines.items()):
            by_label = {line.label: line.interval for line in lines if line.interval and line.label in labels}
            height = np.array([labels.index(label) for label in by_label]) + (place - len(found.lines) / 2) / 8
            middle = np.array([one.mean for one in by_label.values()])
            half = middle - np.array([one.low for one in by_label.values()])
            axis.errorbar(middle, height, xerr=half, fmt="o", markersize=3, capsize=2, label=drawable(Path(name).name))
        axis.set_yticks(range(len(labels)), map(drawable, labels))
        axis.invert_yaxis()
        score = task(next(iter(found.lines.values()))[0].task).headline.axis
        axis.set_xlabel(f"{score}: mean over seeds and {100 * LEVEL:g} % interval")
        figure.legend(loc="outside lower center", ncols=len(found.lines))


def _named(labels: Iterable[str]) -> str:
    names = sorted(set(labels))
    return f": {', '.join(names)}" if names else ""
