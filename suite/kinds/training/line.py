"""One row of a study's table, with all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from suite.kinds.training.row_cells import Speed, TrainingCost
from suite.reduction.registry import reduces_nothing
from suite.report.statistics.aggregates import Spread
from suite.report.statistics.comparisons import Comparison
from suite.report.statistics.intervals import Mean
from suite.report.statistics.significance import ALPHA
from suite.study.cells import LENGTH


@dataclass(frozen=True)
class Versus:
    """A row against random pruning.

    Attributes:
        control: the row of random pruning that it is compared with; empty without one.
        reason: why it is not compared; empty if it is, and for what needs no control.
        won: seeds in which it is above its control, of those tried in which the control has a score; None without one.
        comparison: seed by seed, in the unit of a difference of scores; p is not corrected there.
        mark: of seeds that have no pair.
    """

    control: str = ""
    reason: str = ""
    won: tuple[int, int] | None = None
    comparison: Comparison | None = None
    mark: str = ""


@dataclass(frozen=True)
class Line:
    """One row of the study's table.

    Attributes:
        label: how tables and figures call it: the row, and the schedule where the study has several.
        score: the headline metric of the task in the last epoch, over seeds. None if no seed finished.
        seeds: how many seeds were tried, failed ones included.
        tokens: the shortest sequence that any block computes, prefix tokens included.
        macs: multiply-accumulates per image, all matrix products counted.
        speeds: one for each batch size, the largest first.
        problem: why a seed failed or was skipped; empty if none did.
        interval: of the score over seeds, by Student's t; None with one seed.
        iqm: inter-quartile mean of the scores that `score` is of.
        failed: seeds without a score by what became of them: diverged, failed or skipped. A seed diverged if its
            training was stopped because numbers were not finite (`tasks.loop.TrainingFailed`), or if its score is not.
        marks: what else must be said about it: seeds that are missing, a spread or a test that there cannot be.
        block: the row of random pruning whose block it stands in: its control, and itself for that control; empty for
            the unpruned model and where there is none.
        same_start: whether its seeds all started from the same weights, so that they differ in fine-tuning only.
        own_rate: the learning rate of parameters that the backbone does not have, where the study says one.
        in_focus: whether its comparison is one of the family that the study is about; others are exploratory.
        gap: the difference from its control, in the family with an interval that holds for all of it at once.
        p: of that comparison, after Holm's correction for the family; None outside of it, and with one seed.
        training: what training it cost.
        gain: of the score for every doubling of the epochs since the next shorter training of the row; None without.
        group: letters; reduced rows of the same schedule that share one do not differ significantly.
    """

    label: str
    row: str
    schedule: str
    method: str
    task: str
    score: Spread | None
    seeds: int
    tokens: float | None
    macs: float | None
    speeds: tuple[Speed, ...] = (Speed(),)
    problem: str = ""
    interval: Mean | None = None
    iqm: float | None = None
    failed: tuple[tuple[str, int], ...] = ()
    marks: tuple[str, ...] = ()
    block: str = ""
    versus: Versus = Versus()
    same_start: bool = False
    own_rate: float | None = None
    in_focus: bool = False
    gap: Mean | None = None
    p: float | None = None
    training: TrainingCost = field(default_factory=TrainingCost)
    gain: float | None = None
    group: str = ""

    @property
    def epochs(self) -> int | None:
        """Of fine-tuning, where the study has several lengths."""
        found = LENGTH.search(self.schedule)
        return int(found[1]) if found else None

    @property
    def unpruned(self) -> bool:
        """Whether its method reduces nothing."""
        return reduces_nothing(self.method)

    @property
    def speed(self) -> Spread | None:
        """Images per second over those of the unpruned model, with the largest batch size; None if not measured."""
        return self.speeds[0].fused

    @property
    def timing_warnings(self) -> str:
        """Why that speed is unreliable; empty if nothing speaks against it."""
        return self.speeds[0].timing_warnings

    @property
    def comparison(self) -> Comparison | None:
        """With its control, seed by seed."""
        return self.versus.comparison

    @property
    def below_random(self) -> bool:
        """Whether it failed to beat random pruning in some seed."""
        return self.versus.won is not None and self.versus.won[0] < self.versus.won[1]

    @property
    def differs(self) -> bool:
        """Whether it differs significantly from its control, as one of the family."""
        return self.p is not None and self.p < ALPHA
