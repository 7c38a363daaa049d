"""How models are timed: one set of options for studies, commands and speed cells. Nothing heavy is imported here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from suite.strict import Strict

DeviceType = Literal["cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]
UNPRUNED, UNPRUNED_EAGER = "unpruned", "unpruned (eager)"  # names of the references


def _counts(value: tuple[int, ...]) -> tuple[int, ...]:
    if min(value, default=1) < 1 or len(set(value)) < len(value):
        raise ValueError(f"batch sizes are different counts from 1, found {list(value)}")
    return value


Counts = Annotated[tuple[int, ...], AfterValidator(_counts)]


class TimingOptions(Strict):
    """How models are timed: interleaved with the unpruned models, `rounds` times, on random images.

    batch_size: images at a time; one number, or a list, of which each is a measurement of its own.
    precision: of weights and images.
    compile: through torch.compile.
    graph: replayed from CUDA graphs.
    rounds: that are recorded, after `warmup_rounds` that are not.
    threads: of the processor.
    """

    batch_size: Counts = Field((256,), min_length=1)
    rounds: int = Field(20, ge=5)
    warmup_rounds: int = Field(3, ge=1)
    threads: int = Field(1, ge=1)
    device: DeviceType = "cpu"
    precision: Precision = "float32"
    compile: bool = False
    graph: bool = False

    @field_validator("batch_size", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else (value,)

    @model_validator(mode="after")
    def _graphs_are_of_gpus(self) -> TimingOptions:
        if self.graph and self.device == "cpu":
            message = "CUDA graphs are replayed on a GPU only; leave it out, or say device: cuda"
            raise PydanticCustomError("at_key", "{message}", {"key": "graph", "message": message})
        return self

    @property
    def batch(self) -> int:
        """The batch size; ValueError if there are several; choose one with `at`."""
        (size,) = self.batch_size
        return size

    def at(self, batch_size: int) -> TimingOptions:
        """The same for one batch size."""
        return self.model_copy(update={"batch_size": (batch_size,)})
