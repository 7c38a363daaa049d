"""All that a method's file needs: `from suite.methods import ...`.

A method is one file with a class `Settings` and one subclass of `Method`, or of `ScoringMethod` where it only gives
each patch a score. Shape letters: B images, P prefix tokens, N patches now, N0 patches at the start, D channels,
H heads.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from suite.reduction.blocks import attend, attend_by, attention_map, class_logits, feed_forward, project, run
from suite.reduction.merging import MergingMethod, MergingSettings
from suite.reduction.method import (
    Context,
    Criterion,
    Method,
    Observed,
    ObservedLast,
    Output,
    UnmetNeed,
    initialise,
    paired,
)
from suite.reduction.mixing import MixingMethod, MixingSettings
from suite.reduction.projection import Projection
from suite.reduction.schedule import Schedule
from suite.reduction.scoring import ScoringMethod, split
from suite.reduction.settings import Fusion, MethodSettings, Place, ScoringSettings, Stage
from suite.reduction.tokens import Tokens, others, take

__all__ = [
    "Annotated",
    "ClassVar",
    "Context",
    "Criterion",
    "Field",
    "Fusion",
    "Literal",
    "MergingMethod",
    "MergingSettings",
    "Method",
    "MethodSettings",
    "MixingMethod",
    "MixingSettings",
    "Observed",
    "ObservedLast",
    "Output",
    "Place",
    "Projection",
    "Schedule",
    "ScoringMethod",
    "ScoringSettings",
    "Stage",
    "Tensor",
    "Tokens",
    "UnmetNeed",
    "attend",
    "attend_by",
    "attention_map",
    "class_logits",
    "feed_forward",
    "initialise",
    "nn",
    "others",
    "paired",
    "project",
    "run",
    "split",
    "take",
]
