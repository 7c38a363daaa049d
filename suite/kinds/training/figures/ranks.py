"""Mean ranks over seeds in a critical-difference diagram (Demšar, JMLR 7, 2006), with the table's own test."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.text import Text

from suite.errors import UserError
from suite.kinds.training.figures.looks import looks
from suite.kinds.training.results import Results
from suite.kinds.training.summary import schedules, scores_of
from suite.report.statistics.groups import pairwise_p
from suite.report.statistics.significance import ALPHA
from suite.report.style import TWO_COLUMNS, canvas


@dataclass(frozen=True)
class Ranks:
    """Reduced rows of one schedule ranked in every seed: 1 is best, ties share a mean rank.

    Attributes:
        mean: mean rank of each row, best first.
        seeds: how many seeds were ranked.
        p: of every two rows, corrected for all pairs of the schedule as the table's groups are.
        excluded: rows without a score in some seed.
    """

    mean: pd.Series[float]
    seeds: int
    p: pd.DataFrame
    excluded: list[str]


def rank(scores: Mapping[str, Mapping[int, float]]) -> Ranks:
    """Rank scores of rows by seed; higher is better.

    Raises:
        UserError: with fewer than two seeds or two rows to compare.
    """
    table = pd.DataFrame({row: own for row, own in scores.items() if own}).T
    seeds = table.shape[1]
    if seeds < 2:
        raise UserError(f"ranks are compared over seeds, and the study has {seeds}; give it more seeds")
    whole = table.dropna()
    if len(whole) < 2:
        raise UserError(f"{len(whole)} rows have a score in each of {seeds} seeds; ranks compare two or more")
    mean = whole.rank(ascending=False).mean(axis=1).sort_values(kind="stable")
    p = pd.DataFrame(1.0, mean.index, mean.index)
    found = pairwise_p(scores)
    for one, other in itertools.combinations(mean.index, 2):
        p.loc[one, other] = p.loc[other, one] = found.get((one, other), found.get((other, one), 1.0))
    return Ranks(mean, seeds, p, sorted(set(scores) - set(whole.index)))


def draw_ranks(results: Results, path: Path) -> None:
    """A diagram for each schedule; a schedule without one says why below them."""
    from scikit_posthocs import critical_difference_diagram

    found: dict[str, Ranks] = {}
    reasons: dict[str, UserError] = {}
    cells = results.frame[results.frame["kind"] == "accuracy"]
    for schedule in schedules(results.lines):
        try:
            found[schedule] = rank(scores_of(cells, schedule))
        except UserError as error:
            reasons[schedule] = error
    if not found:
        raise next(iter(reasons.values()), UserError("no reduced row has a score yet; resume with: suite run"))
    style = looks(results.lines)
    heights = [0.9 + 0.16 * len(ranks.mean) for ranks in found.values()]
    size, records = (TWO_COLUMNS, sum(heights) + 0.3), results.records()
    with canvas(path, len(found), 1, size=size, height_ratios=heights, records=records) as (figure, axes):
        for axis, (schedule, ranks) in zip(axes[:, 0], found.items(), strict=True):
            labels = [results.label(str(row), schedule) or str(row) for row in ranks.mean.index]
            numbers = range(len(labels))  # the library draws sets of names, and those of texts differ in every process
            critical_difference_diagram(
                ranks.mean.set_axis(numbers),
                ranks.p.set_axis(numbers).set_axis(numbers, axis=1),
                ax=axis,
                alpha=ALPHA,
                label_fmt_left="{label} ({rank:.1f}) ",
                label_fmt_right=" ({rank:.1f}) {label}",
                label_props={"fontsize": 7},
                color_palette={number: style[name].colour for number, name in enumerate(labels)},
                marker_props={"s": 14},
            )
            for text in axis.texts:
                _name(text, labels)
            axis.grid(visible=False)
            notes = [f"schedule {schedule}" if len(schedules(results.lines)) > 1 else "", f"{ranks.seeds} seeds"]
            notes.append(f"without all seeds, left out: {', '.join(ranks.excluded)}" if ranks.excluded else "")
            axis.set_title("; ".join(filter(None, notes)), fontsize=7)
        missing = [f"schedule {schedule}: not drawn, {reason}" for schedule, reason in reasons.items()]
        note = "mean rank over seeds, 1 is best; bars join rows without a significant difference"
        figure.supxlabel("\n".join([note, *missing]), fontsize=7)


def _name(text: Text, labels: Sequence[str]) -> None:
    """Put the label of a row in place of its number; ranks stand in brackets."""
    text.set_text(re.sub(r"(?<![(.\d])\d+(?![.\d)])", lambda found: labels[int(found[0])], text.get_text()))
