"""What a study without training may say. Nothing heavy is imported here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from suite.data.dataset import Split
from suite.data.folder import in_any_folders
from suite.data.images import Images
from suite.data.labelled import Labelled
from suite.data.sources import open_images
from suite.errors import UserError
from suite.kinds.training.schema import Rows, Seed
from suite.strict import Strict
from suite.study.schema import Backbone, Budget, ScheduleRule

Share = Annotated[float, Field(gt=0, lt=1)]


class Pictures(Images):
    """Images to compare models on, all that `suite evaluate` reads of `source`, prepared as `Images` are in evaluation.

    labels: whether `source` has a folder for each class of the model; without, every image in it or in its folders is
        taken, and there is loyalty but no accuracy.
    groups: a regular expression whose first group, found in the name of a file from `source` on, says which images
        belong together, such as crops of one photograph; then intervals are over these, each with the mean of its
        images.
    """

    CHECKS: ClassVar[frozenset[str]] = Images.CHECKS | {"groups"}

    labels: bool = True
    groups: str | None = None

    @field_validator("groups")
    @classmethod
    def _a_pattern(cls, value: str | None) -> str | None:
        try:
            groups = re.compile(value).groups if value is not None else 1
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        if not groups:
            raise ValueError("a group in ( ) must say which part of a name tells photographs apart")
        return value

    @property
    def targets(self) -> dict[str, int]:
        return super().targets if self.labels else {}

    def labelled(self, split: Split = "validation") -> Labelled:
        """The pictures, without classes where the study says that there are none; there is one split.

        Raises:
            UserError: if they are not there, or not in order.
        """
        if not self.labels:
            return in_any_folders(self.source)
        if self.torchvision:
            return super().labelled("validation")
        return open_images(self.source, self.classes or self.order)

    def digest(self) -> str:
        return "missing" if self.missing() else self.labelled().digest[:16]

    def check(self, advanced: Callable[[int, int], None] = lambda _done, _total: None) -> list[str]:
        """Decode every image once, by all processors.

        Raises:
            UserError: naming all that cannot be read rightly, or has no group.
        """
        found = self.labelled()
        self.groups_of(found)
        found.check(advanced)
        return found.said

    def check_outputs(self, classes: int) -> None:
        """Refuse images of another number of classes than the model's.

        Raises:
            UserError: with both numbers.
        """
        if (found := len(self.labelled().classes)) != classes:
            raise UserError(
                f"data: {self.source} has {found} classes and the model {classes}; give the folder of the classes that "
                "it was trained on, name all of them in a file, `classes`, or say `labels: false`"
            )

    def groups_of(self, found: Labelled) -> list[str]:
        """What each image belongs to: by default to itself alone.

        Raises:
            UserError: for a name that the pattern does not fit.
        """
        names = [name for name, _ in found.names()]
        if self.groups is None:
            return [str(number) for number in range(len(names))]
        matches = {name: re.search(self.groups, name) for name in names}
        if missed := [name for name, match in matches.items() if match is None or match[1] is None]:
            raise UserError(
                f"data.groups: {self.groups!r} is not found in {missed[0]} and {len(missed) - 1} more names"
            )
        return [match[1] for name in names if (match := matches[name])]


class OffTheShelfStudy(Strict):
    """Methods on weights as they are, each compared image by image with the unpruned model.

    finetune: `none` is all it can be; it is said so that a reader sees it.
    start: a file of weights or `timm/MODEL.TAG`, as in a study that trains; its head must fit.
    classes: outputs of the head; 0 for a model without one, which has loyalty of features alone.
    budgets: shares of the unpruned model's multiply-accumulates; each method gets a schedule that meets them.
    schedules: rules for all methods, beside `budgets` or instead of them.
    seeds: of methods that draw, such as random pruning; all others run once.
    smaller_images: whether a control stands beside them that shrinks the image to at most the same cost.
    """

    question: str
    kind: Literal["off-the-shelf"]
    finetune: Literal["none"] = "none"
    task: Literal["classification"] = "classification"
    data: Pictures
    backbone: Backbone
    classes: int = Field(1000, ge=0)
    start: Path
    start_weights: str | None = Field(None, min_length=1)
    budgets: tuple[Share, ...] = ()
    schedules: tuple[ScheduleRule, ...] = ()
    methods: Rows = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    smaller_images: bool = True
    batch_size: int = Field(32, ge=1)
    threads: int = Field(1, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"

    @property
    def rules(self) -> dict[str, ScheduleRule]:
        """All schedules by what tables call them, budgets first."""
        budgets = [ScheduleRule(budget=Budget(macs=share)) for share in self.budgets]
        return {name_of(rule): rule for rule in (*budgets, *self.schedules)}

    @model_validator(mode="after")
    def _some_schedule(self) -> OffTheShelfStudy:
        if not self.budgets and not self.schedules:
            raise ValueError("say how much methods remove: budgets, such as [0.9, 0.7, 0.5], or schedules")
        return self


def name_of(rule: ScheduleRule) -> str:
    """What tables call a schedule: its name, its budget, or its rule."""
    if rule.name or rule.budget:
        return rule.name or (rule.budget.label if rule.budget else "")
    said = rule.model_dump(mode="json", exclude_unset=True)
    return ", ".join(f"{name} {' '.join(map(str, x)) if isinstance(x, list) else x}" for name, x in said.items())
