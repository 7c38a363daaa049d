"""How each number of a study's table is made, in words, and of which cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from suite.kinds.training.checks import SCORES
from suite.kinds.training.summary import Line
from suite.kinds.training.table import further_key
from suite.report.layout import Column

TEST = "Wilcoxon's signed-rank test of paired seeds, two-sided and exact"
NAMED = "as the study's file and the record call it"
ROUNDS = "over the rounds; each is images per second over those of the unpruned model, timed beside it"


class Origin(NamedTuple):
    """What a column is made of: cells of a kind and one of their metrics, of the row alone or of others too.

    `parts` say how each of the fields is made where the column has several; `how` says what is shown below its heading.
    """

    kind: Literal["accuracy", "speed"]
    metric: str
    how: str
    rows: Literal["own", "control", "compared", "schedule"] = "own"
    parts: tuple[str, ...] = ()
    batch: int | None = None  # of speed cells; None where the record says none

    def of(self, column: Column, field: str) -> str:
        """How a field of the column is made; without one, what is shown below the heading."""
        return self.parts[column.fields.index(field)] if field and self.parts else self.how


def compared(lines: Sequence[Line]) -> list[Line]:
    """The rows over whose comparisons p is corrected."""
    return [line for line in lines if line.comparison and line.comparison.p is not None]


def origins(line: Line, lines: Sequence[Line]) -> dict[str, Origin]:
    """What each column of a line of a study's table, which has these lines, is made of, by its key."""
    return _words() | _scores(SCORES[line.task]) | _comparisons(SCORES[line.task], len(compared(lines))) | _speeds(line)


def _words() -> dict[str, Origin]:
    """What a row is called, and what became of its cells."""
    return {
        "label": Origin("accuracy", "", f"the row, with its schedule where the study has several, {NAMED}"),
        "row": Origin("accuracy", "", f"the row, {NAMED}"),
        "schedule": Origin("accuracy", "", "patches that each block removes"),
        "method": Origin("accuracy", "", f"the method, {NAMED}"),
        "tried": Origin("accuracy", "", "seeds that were tried, failed ones included"),
        "control": Origin("accuracy", "", "the row of random pruning that this one is compared with", "control"),
        "problem": Origin("accuracy", "", "why cells failed or were skipped"),
    }


def _scores(score: str) -> dict[str, Origin]:
    """Of the row's own seeds, and of the published score."""
    median, quartiles = "median over the seeds", ("first quartile over the seeds", "third quartile over the seeds")
    drawn = "interval by the bootstrap of the median over the seeds"
    return {
        "n": Origin("accuracy", score, "cells with a score"),
        "lost": Origin("accuracy", score, "seeds without a score, by what became of them"),
        "seeds": Origin("accuracy", score, "cells with a score, of all that were tried"),
        "score": Origin("accuracy", score, median),
        "interval": Origin("accuracy", score, drawn, parts=_ends(drawn)),
        "quartiles": Origin("accuracy", score, "first and third quartile over the seeds", parts=quartiles),
        "middle": Origin("accuracy", score, "inter-quartile mean: the mean of the middle half of the seeds"),
        "published": Origin("accuracy", score, "printed by the source"),
        "difference": Origin("accuracy", score, f"{median} less the published score"),
        "verdict": Origin("accuracy", score, "the published score beside the interval of the median"),
        "tokens": Origin("accuracy", "tokens_fewest", "the same in every seed"),
        "macs": Origin("accuracy", "macs_full", "the same in every seed; 1 GMAC is 1e9"),
    }


def _comparisons(score: str, family: int) -> dict[str, Origin]:
    """With the row's control, of which the study has so many that p is corrected for."""
    gap = "median over the seeds that both have of the row less its control"
    gaps = "interval by the bootstrap of that median of the row less its control"
    improved = "interval of that share over the seeds; see the note below the table"
    won = ("seeds in which the row is above its control", "seeds tried in which its control has a score")
    corrected = f"corrected after Holm for all {family} comparisons with a control"
    every_pair = f"{TEST} of every two rows of the schedule, corrected after Holm for all these pairs"
    least = f"what p is at least with these seeds, {corrected}"
    return {
        "won": Origin(
            "accuracy",
            score,
            f"{won[0]}, of those that were tried and in which the control has a score",
            "control",
            won,
        ),
        "pairs": Origin("accuracy", score, "seeds in which both the row and its control have a score", "control"),
        "gap": Origin("accuracy", score, gap, "control"),
        "gap interval": Origin("accuracy", score, gaps, "control", _ends(gaps)),
        "improvement": Origin("accuracy", score, "share of all pairs of runs in which the row's is above", "control"),
        "improvement interval": Origin("accuracy", score, improved, "control", _ends(improved)),
        "uncorrected": Origin("accuracy", score, f"{TEST}, before Holm's correction", "control"),
        "p": Origin("accuracy", score, f"{TEST}, {corrected}", "compared"),
        "smallest p": Origin("accuracy", score, least, "compared"),
        "group": Origin("accuracy", score, every_pair, "schedule"),
    }


def _speeds(line: Line) -> dict[str, Origin]:
    """With each batch size."""
    parts = (f"median {ROUNDS}", f"first quartile {ROUNDS}", f"third quartile {ROUNDS}")
    eager = tuple(f"{part}, which has timm's eager attention" for part in parts)
    doubt = "why the speed is not to be trusted, as its cell says; nothing if nothing speaks against it"
    found = {
        "speed": Origin("speed", "speed_ratio", parts[0], parts=parts, batch=line.batch),
        "eager": Origin("speed", "speed_ratio_eager", eager[0], parts=eager, batch=line.batch),
        "timing_warnings": Origin("speed", "speed_ratio", doubt, batch=line.batch),
    }
    for one in line.further:
        found[further_key(one.batch)] = Origin("speed", "speed_ratio", parts[0], parts=parts, batch=one.batch)
        found[f"timing_warnings {one.batch}"] = Origin("speed", "speed_ratio", doubt, batch=one.batch)
    return found


def _ends(of: str) -> tuple[str, str]:
    return (f"lower end of the {of}", f"upper end of the {of}")
