"""What a task is: everything that studies, measurements and tables ask of it.

A task is one folder, whose `__init__` says `TASK = Task(...)`: a folder of `suite/tasks/`, or the module of an entry
point of the group `cropr_suite.tasks` in another package. Importing it loads nothing heavy: functions import what they
need. A study names it as `task: NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from suite import plugins
from suite.errors import named
from suite.reduction.settings import Fusion, MethodSettings
from suite.tasks.recipe import TrainingRecipe
from suite.tasks.resume import Saved

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from suite.data.dataset import DataSet
    from suite.reduction.attention import TimmModule
    from suite.reduction.model import ReducedModel

Images = Mapping[str, "np.ndarray[Any, Any]"]
ReadOut = Callable[["ReducedModel"], "nn.Module"]
PACKAGE, GROUP = "suite.tasks", "cropr_suite.tasks"


@dataclass(frozen=True)
class Metric:
    """A score on the validation set; higher is better.

    Attributes:
        name: in records, with `_last` for the last epoch and, of the headline metric, `_best` for the best one.
        label, short: how figures and tables call it.
        unit: such as "%".
        note: what a table says of it: "Accuracy: top-1 of the last epoch".
        limits: smallest and largest possible value.
        decimals: that tables show.
    """

    name: str
    label: str
    short: str
    unit: str = "%"
    note: str = ""
    limits: tuple[float, float] = (0, 100)
    decimals: int = 1

    @property
    def last(self) -> str:
        """Its value in the last epoch, in records."""
        return f"{self.name}_last"

    @property
    def best(self) -> str:
        """Its value in the best epoch, in records."""
        return f"{self.name}_best"

    @property
    def axis(self) -> str:
        """What stands at an axis of a figure."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def difference(self, percent: str = "pp") -> str:
        """The unit of a difference of two scores; `percent` is what it is called where the score is in %."""
        return percent if self.unit == "%" else self.unit


@dataclass(frozen=True)
class Epoch:
    """What one epoch left behind.

    Attributes:
        epoch: its number, from 0.
        loss: mean training loss.
        learning_rate: at its end.
        scores: of the validation set, by the name of the metric.
        parts: scores of parts of the validation set, such as classes, in the unit of the first metric; their names
            begin with the task's `parts`.
        images: of every validation image, in their order, what the task's `rescore` needs; arrays, (images, ...). Of
            the last epoch only, once others are added.
    """

    epoch: int
    loss: float
    learning_rate: float
    scores: Mapping[str, float]
    parts: Mapping[str, float] = field(default_factory=dict)
    images: Images = field(default_factory=dict, compare=False)


def add(epochs: list[Epoch], new: Epoch) -> None:
    """Add an epoch; those before lose what they say of images, which no result needs and every state would keep."""
    epochs[:] = [*(replace(epoch, images={}) for epoch in epochs), new]


@dataclass(frozen=True)
class Training:
    """What a training is given besides the model.

    Attributes:
        data: what it trains on and is scored on.
        recipe: an instance of the task's recipe class.
        seed: of the order of the data.
        report: called after every epoch.
        scratch: folder for temporary files; None for the system's.
        scored: called with the model that was scored, after every epoch.
        saved: where it stands is kept there now and then, and it goes on from there; by default nowhere.
    """

    data: DataSet
    recipe: Any
    seed: int
    report: Callable[[Epoch], None] = lambda _epoch: None
    scratch: Path | None = None
    scored: Callable[[ReducedModel, Epoch], None] = lambda _model, _epoch: None
    saved: Saved = field(default_factory=lambda: Saved(None, 0))


def _one_output_per_class(task: Task, data: DataSet) -> int:
    return data.targets[task.target]


def itself(model: nn.Module) -> nn.Module:
    """The model, for a task that reads what it computes."""
    return model


def _any(*_arguments: Any) -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: what a study says as `task:`.
        target: what it learns from, one of the targets that a data set offers.
        metrics: its scores; the first is the headline, by which methods are compared.
        train: trains a model from the weights it has; returns one `Epoch` for each. Raises `loop.TrainingFailed`.
        read_out: a reduced model as it is timed, counted and exported: a module from images to predictions.
        read_out_unpruned: the same on the untouched timm model.
        predict: predictions for images, (B, 3, height, width), padded to the model's size, of which the first rows and
            columns (the last argument) are no padding; one value for each, ready for JSON.
        recipe: the class of its training recipes.
        parts: what the names of scores of parts, such as classes, begin with; empty if it has none.
        part, part_score: how figures call one of them, and its score.
        dense: whether it reads every patch, so that removed ones must be brought back.
        fusions: the ways of bringing removed patches back that it can read.
        outputs: outputs of the model's head for a data set; by default one for each class of the target.
        usual_outputs: the same where no data set is named, as in a measurement of speed.
        whole_patches: whether images are padded to whole patches of the model.
        prepare: changes a backbone before it is trained.
        check_backbone: refuses a backbone that it cannot read (TypeError or ValueError).
        check_method: refuses a method's settings, for so many patches (ValueError).
        check_recipe: refuses a training recipe for a data set (ValueError).
        examples: the first images of the validation set, (3, height, width), 0 to 255, as a model is shown them, and
            their label maps, (height, width), or None.
        rescore: the headline score of weighted images, from what the last `Epoch` says of each: of `images` and
            weights, (draws, images), scores, (draws,). None for a task whose scores cannot be made of images.
        right: from the same, whether the model was right about each image, (images,), where that is the score.
    """

    name: str
    target: str
    metrics: tuple[Metric, ...]
    train: Callable[[ReducedModel, Training], Sequence[Epoch]]
    read_out: ReadOut
    read_out_unpruned: Callable[[TimmModule], nn.Module]
    predict: Callable[[ReducedModel, Tensor, tuple[int, int]], list[Any]]
    examples: Callable[[DataSet, int], tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]] | None]]
    recipe: type[TrainingRecipe] = TrainingRecipe
    parts: str = ""
    part: str = "class"
    part_score: str = "score"
    dense: bool = False
    fusions: tuple[Fusion, ...] = ("none", "last-layer")
    outputs: Callable[[Task, DataSet], int] = _one_output_per_class
    usual_outputs: int = 1000
    whole_patches: bool = False
    prepare: Callable[[TimmModule], None] = _any
    check_backbone: Callable[[TimmModule], None] = _any
    check_method: Callable[[MethodSettings, int], None] = _any
    check_recipe: Callable[[Any, DataSet], None] = _any
    rescore: Callable[[Images, np.ndarray[Any, Any]], np.ndarray[Any, Any]] | None = None
    right: Callable[[Images], np.ndarray[Any, Any]] | None = None

    @property
    def headline(self) -> Metric:
        """The metric by which methods are compared."""
        return self.metrics[0]

    def check_fusion(self, fusion: str) -> None:
        """Refuse a fusion that it does not read.

        Raises:
            ValueError: with those that it does.
        """
        if fusion not in self.fusions:
            raise ValueError(f"{self.name} does not read {fusion} fusion; valid: {', '.join(self.fusions)}")


def tasks() -> dict[str, Task]:
    """Every task by name."""
    found: dict[str, Task] = plugins.every(PACKAGE, GROUP, "TASK")
    return found


def task(name: str) -> Task:
    """The task of that name.

    Raises:
        UserError: if there is none, with the nearest names.
    """
    return named(name, tasks(), "task")


def recorded_metrics() -> dict[str, Metric]:
    """The metrics of every task, by the names that they have in records."""
    found = {metric.last: metric for one in tasks().values() for metric in one.metrics}
    return found | {one.headline.best: one.headline for one in tasks().values()}


def is_of_part(metric: str) -> bool:
    """Whether a metric of a record is that of a part, such as a class."""
    return metric.startswith(tuple(one.parts for one in tasks().values() if one.parts))


def _known(name: str) -> str:
    return task(name).name


TaskName = Annotated[str, AfterValidator(_known)]  # one that there is
