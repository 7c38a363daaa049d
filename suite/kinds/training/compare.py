"""Two records, or two rows, compared: over new trainings, over new images too, and as the models that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from suite.errors import UserError, suggest
from suite.kinds.training.checks import OF_TRAINING
from suite.kinds.training.results import read_curves
from suite.kinds.training.summary import read_record
from suite.report.layout import Block, Column, Note, Row, Table
from suite.report.statistics.crossed import crossed_interval, mcnemar_p, over_images
from suite.report.statistics.intervals import Mean, mean
from suite.report.statistics.significance import ALPHA, correct
from suite.seeds import seed_for
from suite.study import images
from suite.study.cells import shown
from suite.study.sides import Side
from suite.tasks.task import Images, task

DIFFERENT, SAME = "differs", "consistent"


@dataclass(frozen=True)
class Scored:
    """A cell with a score: its id, the digest of its data, the score, and all values but those of what it cost."""

    cell_id: str
    data: str
    score: float
    values: tuple[object, ...]


Scores = dict[int, Scored]  # by seed


@dataclass(frozen=True)
class Compared:
    """One row.

    Attributes:
        task: whose score it is.
        label: the row, with its schedule where there are several.
        scores: means over the shared seeds, of both sides.
        seeds: those that both have.
        equal: cells that are equal to the bit: every score and the loss of every epoch.
        trainings: second minus first, over the seeds; None with one seed.
        interval: of the same over new images too; None where no images were kept.
        models: seeds in which the two models differ over images (p < 0.05, Holm over seeds); None likewise.
        p: of `trainings`, Holm-corrected for all rows; None where there is no test.
    """

    task: str
    label: str
    scores: tuple[float, float]
    seeds: int
    equal: int
    trainings: Mean | None
    interval: tuple[float, float] | None = None
    models: int | None = None
    p: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the rows differ by what other trainings would give."""
        if self.trainings is None:
            return "one seed: no interval"
        return DIFFERENT if self.p is not None and self.p < ALPHA else SAME


def compared(one: Side, other: Side) -> list[Compared]:
    """Compare the rows that both sides have, or the two rows that they name.

    Raises:
        UserError: if a record cannot be used, or both have no row, seed or task in common.
    """
    if bool(one.row) != bool(other.row):
        raise UserError(f"{one.name} and {other.name}: name a row of both, or of neither")
    first, second = (_rows(found) for found in (one, other))
    several = len({key[:2] for key in first}) < len(first)
    shared = [
        _compared(label, several, (one, first[label]), (other, second[label]))
        for label in first
        if label in second and first[label].keys() & second[label].keys()
    ]
    if not shared:
        raise UserError(f"{one.name} and {other.name} have no row with a score of the same task and seed in common")
    tested = [found.trainings.p if found.trainings else None for found in shared]
    ps = iter(correct([p for p in tested if p is not None]))
    found = [replace(row, p=None if p is None else next(ps)) for row, p in zip(shared, tested, strict=True)]
    return sorted(found, key=lambda row: row.scores)


def _rows(found: Side) -> dict[tuple[str, ...], Scores]:
    """Scored cells by seed, of every row, under task, row and schedule; of one that is asked for, under the task."""
    frame, curves = read_record(found.folder), read_curves(found.folder)
    curves = curves[~curves["metric"].str.contains("/")]  # what was looked at besides
    cells = frame[(frame["kind"] == "accuracy") & ~frame["metric"].isin(OF_TRAINING)]
    if found.row and found.row not in set(cells["row"]):
        raise UserError(f"{found.name}: there is no row {found.row!r}; {suggest(found.row, set(cells['row']))}")
    if found.row and cells[cells["row"] == found.row]["schedule"].nunique() > 1:
        raise UserError(f"{found.name}: {found.row} has several schedules; compare the records, or rows with one")
    rows: dict[tuple[str, ...], Scores] = {}
    for cell_id, own in cells.groupby("cell_id"):
        first = own.iloc[0]
        score = own[own["metric"] == task(first["task"]).headline.last]["value"]
        if found.row in ("", first["row"]) and len(score) and np.isfinite(score.iloc[0]):
            key = (first["task"],) if found.row else (first["task"], first["row"], first["schedule"])
            left = [*own.sort_values(["metric", "repetition"])["value"], *curves[curves["cell_id"] == cell_id]["value"]]
            scored = Scored(str(cell_id), first["data"], float(score.iloc[0]), tuple(left))
            rows.setdefault(key, {})[int(first["seed"])] = scored
    return rows


def _compared(key: tuple[str, ...], several: bool, first: tuple[Side, Scores], second: tuple[Side, Scores]) -> Compared:
    (one, these), (other, those) = first, second
    pairs = [(these[seed], those[seed]) for seed in sorted(these.keys() & those.keys())]
    drawn = [(images.read(one.folder, a.cell_id), images.read(other.folder, b.cell_id)) for a, b in pairs]
    whole = [(a, b) for a, b in drawn if a is not None and b is not None]
    same = len(whole) == len(pairs) and all(a.data == b.data for a, b in pairs)
    interval, models = _over_images(key, whole) if same else (None, None)
    return Compared(
        task=key[0],
        label=_label(key, several) or f"{one.name} to {other.name}",
        scores=(float(np.mean([a.score for a, _ in pairs])), float(np.mean([b.score for _, b in pairs]))),
        seeds=len(pairs),
        equal=sum(a.values == b.values for a, b in pairs),
        trainings=mean([b.score - a.score for a, b in pairs]),
        interval=interval,
        models=models,
    )


def _label(key: tuple[str, ...], several: bool) -> str:
    """The row, with its schedule where there are several; empty where single rows are compared."""
    _, row, schedule = key if key[1:] else (*key, "", "")
    return f"{row} [{shown(schedule)}]" if several else row


def _over_images(
    key: tuple[str, ...], pairs: Sequence[tuple[Images, Images]]
) -> tuple[tuple[float, float] | None, int | None]:
    """The interval over trainings and images, and in how many seeds the two models differ over images."""
    goal = task(key[0])
    if goal.rescore is None:
        return None, None
    generator = np.random.default_rng(seed_for("comparison", *key))
    drawn = over_images(goal.rescore, pairs, generator)
    interval = crossed_interval(drawn, generator) if len(pairs) > 1 else None
    right = goal.right
    ps = [mcnemar_p(right(a), right(b)) for a, b in pairs] if right else [_bootstrap_p(own) for own in drawn.T]
    return interval, sum(p < ALPHA for p in correct(ps))


def _bootstrap_p(drawn: NDArray[np.float64]) -> float:
    """The two-sided p that a difference is 0, of its bootstrap draws."""
    below, above = ((drawn <= 0).mean(), (drawn >= 0).mean())
    return float(min(1.0, 2 * min(below, above) + 1 / len(drawn)))


def comparison_table(one: Side, other: Side, found: Sequence[Compared]) -> Table:
    """What was compared, as a table."""
    headline = task(found[0].task).headline
    unit, digits, more = headline.difference(), f".{headline.decimals}f", f"+.{headline.decimals + 1}f"
    signed, score = f"{{0[0]:+{digits}}} to {{0[1]:+{digits}}}".format, f"{{:{digits}}}".format
    kept, equal = any(row.interval for row in found), sum(row.equal for row in found)
    heading = f"difference ({unit})" if unit else "difference"
    short = [Path(found.name).name for found in (one, other)]
    headings = short if short[0] != short[1] else [one.name, other.name]
    columns = (
        Column("row", "row", align="left", fields=("row",)),
        Column("seeds", "seeds", optional=True, fields=("seeds",)),
        Column("first", headings[0], score, fields=("first",)),
        Column("second", headings[1], score, fields=("second",)),
        Column("difference", heading, f"{{:{more}}}".format, fields=("difference",)),
        Column("trainings", "95 % interval, new trainings", signed, fields=("trainings_low", "trainings_high")),
        Column("images", "and new images", signed, fields=("images_low", "images_high")),
        Column("p", "p (Holm)", "{:.2g}".format, fields=("p",)),
        Column("models", "models differ", optional=True, fields=("models_differ",)),
        Column("equal", "equal to the bit", optional=True, fields=("equal",)),
        Column("verdict", "verdict", align="left", fields=("verdict",)),
    )
    rows = tuple(_row(row) for row in found)
    total = sum(row.seeds for row in found)
    notes = [
        Note(
            f"Difference: mean over seeds of {other.name} less {one.name}, with Student's t: what new trainings give."
        ),
        Note(f"p: of that, two-sided, Holm-corrected for all rows; below {ALPHA:g} the rows differ."),
        Note(f"{equal} of {total} cells are equal to the bit: every score, and the loss of every epoch."),
    ]
    if kept:
        notes[1:1] = [
            Note("And new images: crossed bootstrap over seeds and validation images."),
            Note(
                f"Models differ: in so many seeds these two models differ over images (p < {ALPHA:g}, Holm over seeds)."
            ),
        ]
    return Table("comparison", f"{one.name} and {other.name}, row by row", columns, (Block("", rows),), tuple(notes))


def _row(found: Compared) -> Row:
    over = found.trainings
    return Row(
        {
            "row": found.label,
            "seeds": found.seeds,
            "first": found.scores[0],
            "second": found.scores[1],
            "difference": found.scores[1] - found.scores[0],
            "trainings": (over.low, over.high) if over else None,
            "images": found.interval,
            "p": found.p,
            "models": found.models,
            "equal": found.equal,
            "verdict": found.verdict,
        }
    )
