"""What decides the result of a cell of a study that trains; a cell's id is the hash of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from suite.data.dataset import DataSet, data_set, data_sets
from suite.measure.numerics import Numerics
from suite.reduction.settings import Fusion
from suite.strict import Strict
from suite.study.schema import Backbone
from suite.tasks.task import Task, task


class DataIdentity(Strict):
    """A data set: what the study says of it, without its place on this machine, and the digest of its contents."""

    recipe: dict[str, Any]
    digest: str


class Identity(Strict):
    """Attributes:
    kind: `base`, the model that others start from; `accuracy`, one method that is trained and scored; `speed`.
    method, version, code: name and version of the method; of one that is named by its file also the code's digest.
    removed: patches removed in each block; empty for none in any.
    data, recipe, seed, start: of cells that train; `start` is the id of a base cell or the digest of a file.
    numerics: with which instruction sets it trains; stated where it is not `native`.
    track_scores: whether scores are looked at after each epoch; stated if so.
    speed, device_name: how a speed cell is timed, and on what.
    """

    kind: Literal["base", "accuracy", "speed"]
    protocol: int
    task: str
    backbone: Backbone
    classes: int
    device: str
    precision: str
    threads: int
    device_name: str = ""
    method: str = "none"
    version: int = 0
    code: str = ""
    settings: dict[str, Any] = {}
    removed: tuple[int, ...] = ()
    fusion: Fusion = "none"
    data: DataIdentity | None = None
    recipe: dict[str, Any] = {}
    seed: int = 0
    start: str = ""
    numerics: Numerics = "native"
    track_scores: bool = False
    speed: dict[str, Any] = {}

    @property
    def goal(self) -> Task:
        """The task itself."""
        return task(self.task)

    @property
    def training(self) -> Any:
        """The training recipe."""
        return self.goal.recipe(**self.recipe, device=self.device, precision=self.precision)

    def content(self) -> dict[str, Any]:
        """What is hashed: all that was stated."""
        return self.model_dump(mode="json", exclude_unset=True)

    def data_set(self, places: Mapping[str, str]) -> DataSet:
        """What the cell trains on and is scored on, where it is on this machine."""
        assert self.data is not None
        named = data_sets()[self.data.recipe["recipe"]].PLACES
        return data_set(self.data.recipe | {name: place for name, place in places.items() if name in named})
