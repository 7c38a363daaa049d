"""The figures of a study with training; drawing one imports what is heavy."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from suite.study.kind import Drawing


def _by(module: str, function: str) -> Callable[[Path, Sequence[Any], Path], None]:
    """Draw by a function of results and path in a module of this folder."""

    def draw(folder: Path, lines: Sequence[Any], path: Path) -> None:
        from suite.kinds.training.results import Results
        from suite.report.style import drawable

        shown = [replace(line, label=drawable(line.label)) for line in lines]
        getattr(importlib.import_module(f"{__name__}.{module}"), function)(Results(folder, shown), path)

    return draw


DRAWINGS = {
    "pareto": Drawing(
        "Score against speed and cost",
        "Each mark is a row of the table: up is better, to the right is faster, to the left has fewer "
        "multiply-accumulates. Bars are inter-quartile ranges, of the score over seeds and of the speed over rounds. "
        "The dashed line is the Pareto front of the medians. Hollow marks have unreliable timings (‡ in the table) and "
        "are not on the front.",
        _by("pareto", "draw_pareto"),
    ),
    "ranks": Drawing(
        "Ranks over seeds",
        "Critical-difference diagram: mean rank of each reduced row over seeds, further left is better. Bars join "
        "rows without a significant difference by the table's test (paired t-tests, Holm-corrected). Ranks say "
        "nothing about how large a difference is.",
        _by("ranks", "draw_ranks"),
    ),
    "lengths": Drawing(
        "Score over the length of training",
        "Validation score of the last epoch over the updates of fine-tuning, each point a training of its own with the "
        "whole decay: median over seeds, shaded from the lowest to the highest seed.",
        _by("lengths", "draw_lengths"),
    ),
    "classes": Drawing(
        "Classes that gain and lose",
        "Score of each class (in segmentation IoU) minus that of the unpruned model and of random pruning: "
        "median over seeds. Red is worse than the reference, blue is better, bold has the same sign in every "
        "seed.",
        _by("classes", "draw_classes"),
    ),
    "curves-score": Drawing(
        "Score while training",
        "Validation score after each epoch: median over seeds, shaded from the lowest to the highest seed, the other "
        "rows in grey.",
        _by("curves", "draw_scores"),
    ),
    "curves-loss": Drawing(
        "Training loss",
        "Mean training loss of each epoch: median over seeds, shaded from the lowest to the highest seed. What a "
        "method adds to the task's loss is included, so each panel has its own scale.",
        _by("curves", "draw_losses"),
    ),
    "scores": Drawing(
        "What scores follow",
        "After each epoch, on validation images under the full schedule: how much of the variance of scores within an "
        "image the position explains, how scores correlate with objects, how many patches with an object are left "
        "after the last removal, how far the vector that scores has turned, and how often auxiliary heads are right "
        "(mean over classes). Mean over blocks, median over seeds.",
        _by("scores", "draw_track"),
    ),
    "tokens": Drawing(
        "Tokens in each block",
        "Number of tokens that attention and MLP compute in each block, per image in the deployed model, class token "
        "included.",
        _by("tokens", "draw_tokens"),
    ),
    "agreement": Drawing(
        "Do seeds keep the same patches?",
        "Jaccard index of the patches that two runs keep after each block. Solid: the same image under two seeds. "
        "Dashed: the same seed on two images. Dotted: chance. Solid above dashed: the method looks at the image; both "
        "high: it prefers positions; solid near dotted: what it keeps depends on the seed. Where patches idle and may "
        "return, as in IdleViT, a block keeps those that it computes.",
        _by("agreement", "draw_agreement"),
    ),
    "maps": Drawing(
        "Kept patches and predictions",
        "When each patch left, and what the model predicts, for a few images and the lowest seed: bright patches stay "
        "to the end, dark ones leave first. An illustration, no evidence. Where patches idle and may return, as in "
        "IdleViT, it shows when they left for good.",
        _by("maps", "draw_study_maps"),
    ),
}
