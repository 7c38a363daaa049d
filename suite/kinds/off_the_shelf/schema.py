"""What a study without training may say. Nothing heavy is imported here."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from suite.data.classes import in_a_study
from suite.data.dataset import Split
from suite.data.folder import in_any_folders
from suite.data.images import Images
from suite.data.labelled import Labelled
from suite.data.sources import open_images
from suite.errors import UserError
from suite.kinds.training.schema import Rows, Seed
from suite.measure.timing_options import TimingOptions
from suite.strict import Strict
from suite.study.schema import Backbone, Budget, ScheduleRule

Share = Annotated[float, Field(gt=0, lt=1)]


class Neighbours(Strict):
    """Classes by the nearest training images, for a model without a head: arXiv 2104.14294, appendix F.1.

    count: of neighbours that vote.
    images: of the training images, spread evenly; all by default.
    """

    count: int = Field(20, ge=1)
    images: int | None = Field(None, ge=1)


class Pictures(Images):
    """Images to compare models on, all that `suite evaluate` reads of `source`, prepared as `Images` are in evaluation.

    images: how many of them, spread evenly; all by default.
    labels: whether `source` has a folder for each class of the model; without, every image in it or in its folders is
        taken, and there is loyalty but no accuracy.
    groups: a regular expression whose first group, found in the name of a file from `source` on, says which images
        belong together, such as crops of one photograph; then intervals are over these, each with the mean of its
        images.
    neighbours: classes are those of the nearest training images, which lie in `source` too.
    """

    CHECKS: ClassVar[frozenset[str]] = Images.CHECKS | {"groups"}

    images: int | None = Field(None, ge=1)
    neighbours: Neighbours | None = None
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

    @model_validator(mode="after")
    def _neighbours_have_classes(self) -> Pictures:
        if self.neighbours and not self.labels:
            raise ValueError("neighbours vote for classes; leave out labels: false")
        return self

    @model_validator(mode="after")
    def _no_classes_unread(self) -> Pictures:
        unread = [name for name in ("classes", "order", "torchvision") if getattr(self, name) is not None]
        if unread and not self.labels:
            raise ValueError(f"labels: false takes images of a folder without classes; leave out {', '.join(unread)}")
        return self

    @property
    def targets(self) -> dict[str, int]:
        return super().targets if self.labels else {}

    def labelled(self, split: Split = "validation") -> Labelled:
        """The pictures, without classes where the study says that there are none; those of training vote.

        Raises:
            UserError: if they are not there, or not in order.
        """
        found = super().labelled(split) if self.labels else _unlabelled(self.source.resolve())
        voting = self.neighbours is not None and split == "train"
        return _spread(found, self.neighbours.images if self.neighbours and voting else self.images)

    def _lying(self, split: Split) -> Labelled:
        if self.neighbours:
            return super()._lying(split)
        try:
            return _opened(self.source.resolve(), self.classes or self.order)
        except UserError as error:
            raise UserError(in_a_study(str(error))) from error

    def digest(self) -> str:
        if self.missing():
            return "missing"
        voting = self.labelled("train").digest if self.neighbours else ""
        return hashlib.sha256((self.labelled().digest + voting).encode()).hexdigest()[:16]

    def check(self, advanced: Callable[[int, int], None] = lambda _done, _total: None) -> list[str]:
        """Decode every image once, by all processors.

        Raises:
            UserError: naming all that cannot be read rightly, or has no group.
        """
        parts = [self.labelled(), *([self.labelled("train")] if self.neighbours else [])]
        self.groups_of(parts[0])
        for part in parts:
            part.check(advanced)
        return [line for part in parts for line in part.said]

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
            UserError: for a name that the pattern does not fit, or images without names of their own.
        """
        names = [name for name, _ in found.names()]
        if self.groups is not None and len(names) != len(found):
            raise UserError(f"data.groups: the images of {found.where} have no names of their own; leave it out")
        if self.groups is None:
            return names if len(names) == len(found) else [str(number) for number in range(len(found))]
        matches = {name: re.search(self.groups, name) for name in names}
        if missed := [name for name, match in matches.items() if match is None or match[1] is None]:
            raise UserError(
                f"data.groups: {self.groups!r} is not found in {missed[0]} and {len(missed) - 1} more names"
            )
        return [match[1] for name in names if (match := matches[name])]


def _spread(found: Labelled, count: int | None) -> Labelled:
    """So many of the pictures, as evenly spread as can be."""
    if count is None or count >= len(found):
        return found
    kept = [number * len(found) // count for number in range(count)]

    def names() -> list[tuple[str, int]]:
        every = found.names()
        return [every[index] for index in kept] if len(every) == len(found) else [*every, ("of these", len(kept))]

    return replace(found, pictures=[found.pictures[index] for index in kept], labels=found.labels[kept], names=names)


_unlabelled = functools.lru_cache(maxsize=1)(in_any_folders)
_opened = functools.lru_cache(maxsize=1)(open_images)


class Other(Strict):
    """Another model, unpruned, on the same images: such as a smaller one at the cost of a pruned one.

    name: of its row; by default that of the backbone.
    start, start_weights: as those of the study; its head must have the same classes.
    """

    name: str = ""
    backbone: Backbone
    start: Path
    start_weights: str | None = Field(None, min_length=1)

    @property
    def label(self) -> str:
        return self.name or self.backbone.name


class OffTheShelfStudy(Strict):
    """Methods on weights as they are, each compared image by image with the unpruned model.

    finetune: `none` is all it can be; it is said so that a reader sees it.
    start: a file of weights or `timm/MODEL.TAG`, as in a study that trains; its head must fit.
    classes: outputs of the head; 0 for a model without one, which has loyalty of features alone.
    budgets: shares of the unpruned model's multiply-accumulates; each method gets a schedule that meets them.
    schedules: rules for all methods, beside `budgets` or instead of them.
    seeds: of methods that draw, such as random pruning; all others run once.
    models: others that stand beside them, without reduction; skipped where their weights are not on this machine.
    decoder: a program of torch.export that makes a map, (B, 1, height, width), of normalised features of patches,
        (B, D, rows, columns); maps are then compared with those of the unpruned model.
    speed: how each row is timed beside the unpruned model; not at all by default.
    smaller_images: whether a control stands beside them that shrinks the image to the same cost.
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
    models: tuple[Other, ...] = ()
    decoder: Path | None = None
    speed: TimingOptions | None = None
    batch_size: int = Field(32, ge=1)
    threads: int = Field(1, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"

    @field_validator("speed")
    @classmethod
    def _one_batch(cls, value: TimingOptions | None) -> TimingOptions | None:
        if value is not None and len(value.batch_size) > 1:
            raise ValueError("one batch_size is timed here; leave all but one out")
        return value

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
