"""What the file of a study that trains may say. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from suite.data.dataset import DataSet, data_set
from suite.errors import UserError
from suite.measure.numerics import Numerics
from suite.measure.timing_options import TimingOptions
from suite.strict import Strict
from suite.study.cells import How
from suite.study.schema import Backbone, MethodRow, Name, ScheduleRule, label_of
from suite.tasks.recipe import TrainingRecipe
from suite.tasks.task import Task, TaskName, task

Recipe = TypeVar("Recipe", bound=TrainingRecipe)
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**53)]  # as the record has them: larger ones are rounded there


class Row(MethodRow):
    """One row of the table: a method with its settings. A bare name stands for the method with its defaults."""

    name: Name = ""

    @property
    def label(self) -> str:
        return self.name or label_of(self.method, self.fusion)


def _with_defaults(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [{"method": item} if isinstance(item, str) else item for item in value]


Rows = Annotated[tuple[Row, ...], BeforeValidator(_with_defaults)]


class Base(Strict, Generic[Recipe]):
    """The model that cells start from, trained without reduction: one for each seed, which all rows of it share.

    shared: one for all seeds, that of seed 0. Then the spread over seeds is that of fine-tuning only, and its intervals
        say nothing about another base.
    """

    recipe: Recipe
    shared: bool = False


class Study(Strict):
    """One question: what is fixed and what varies. The file's name is the study's name.

    Cells start from the `base` model of their seed, or all from the weights in the file `start`, of torch or
    safetensors (timm's, of MAE, DeiT, DINOv2 or EVA-02, or of Hugging Face's ViT, DeiT or DINOv2), or from timm's
    weights `timm/MODEL.TAG` in Hugging Face's cache. Embeddings of patches and positions are resized as timm does; the
    head is new unless the file has one for as many classes. `start_weights` says which weights of the file, where it
    has several: `model_ema`, say; by default the raw ones.

    focus: names of the rows that the question is about, which the page of the study summarises.
    task: its name; the task says what a recipe may say.
    data: name and settings of a data set.
    numerics: instruction sets that models are trained with, see `suite.measure.numerics`; speed is always `native`.
    lengths: epochs of fine-tuning, each a training of its own with the whole decay, instead of `finetune.epochs`.
    checkpoint_minutes: how often a training writes down where it stands, so that a killed cell goes on from there.
    keep: whether the weights of every row's models are kept, of the `last` or the `best` epoch, see `suite weights`.
    track_scores: also record, after each epoch, what the scores of patches follow, see `suite.measure.scores`.
    """

    question: str
    kind: Literal["training"] = "training"
    focus: tuple[str, ...] = ()
    task: TaskName
    data: DataSet
    backbone: Backbone
    base: Base[Any] | None = None
    start: Path | None = None
    start_weights: str | None = Field(None, min_length=1)
    finetune: TrainingRecipe
    lengths: tuple[Annotated[int, Field(ge=1)], ...] = ()
    schedules: tuple[ScheduleRule, ...] = Field(min_length=1)
    methods: Rows = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field(min_length=1)
    speed: TimingOptions | None = None
    numerics: Numerics = "native"
    track_scores: bool = False
    checkpoint_minutes: float = Field(How().checkpoint_minutes, ge=0)
    keep: Literal["last", "best"] | None = None

    @property
    def goal(self) -> Task:
        """The task itself."""
        return task(self.task)

    @property
    def how(self) -> How:
        """What of its trainings changes no result."""
        return How(self.checkpoint_minutes, self.keep or "")

    @property
    def finetunings(self) -> dict[str, TrainingRecipe]:
        """The recipes by what labels of schedules say of their length, which is nothing without `lengths`."""
        if not self.lengths:
            return {"": self.finetune}
        recipe = type(self.finetune)
        return {
            f"{epochs} epochs": recipe.model_validate(self.finetune.model_dump() | {"epochs": epochs})
            for epochs in self.lengths
        }

    @property
    def classes(self) -> int:
        """Outputs of the backbone's head."""
        return self.goal.outputs(self.goal, self.data)

    @field_validator("data", mode="before")
    @classmethod
    def _named_data_set(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        try:
            return data_set(value)
        except UserError as error:
            raise PydanticCustomError("at_key", "{message}", {"key": "recipe", "message": str(error)}) from error

    @field_validator("base", "finetune", mode="before")
    @classmethod
    def _recipe_of_the_task(cls, value: Any, info: ValidationInfo) -> Any:
        if value == "none" and info.field_name == "finetune":
            raise ValueError("a study that trains nothing is of another kind; say kind: off-the-shelf")
        if not isinstance(value, dict):
            return value
        name = info.data.get("task")
        if name is None:  # refused already, and another task may know other keys
            return None if info.field_name == "base" else TrainingRecipe(epochs=1, learning_rate=1)
        recipe = task(name).recipe
        return Base[recipe].model_validate(value) if info.field_name == "base" else recipe.model_validate(value)  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _one_beginning(self) -> Study:
        if (self.base is None) == (self.start is None):
            raise ValueError(
                "cells start either from a `base` model that is trained first or from a file of weights, `start`; "
                f"found {'neither' if self.base is None else 'both'}"
            )
        if self.start is None and self.start_weights is not None:
            raise ValueError("start_weights names weights in the file `start`, and there is none; leave it out")
        return self
