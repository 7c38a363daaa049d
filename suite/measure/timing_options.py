"""What a study may say about its speed cells. Nothing heavy is imported here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from suite.strict import Strict

DeviceType = Literal["cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]


def _counts(value: tuple[int, ...]) -> tuple[int, ...]:
    if min(value, default=1) < 1 or len(set(value)) < len(value):
        raise ValueError(f"batch sizes are different counts from 1, found {list(value)}")
    return value


Counts = Annotated[tuple[int, ...], AfterValidator(_counts)]


class Speed(Strict):
    """How speed is measured: each method beside the unpruned models, `rounds` times, on random images.

    batch_size: images at a time; one number, or a list, of which each is a cell of its own.
    precision: of weights and images.
    compile: through torch.compile.
    graph: replayed from CUDA graphs.
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
    def _graphs_are_of_gpus(self) -> Speed:
        if self.graph and self.device == "cpu":
            message = "CUDA graphs are replayed on a GPU only; leave it out, or say device: cuda"
            raise PydanticCustomError("at_key", "{message}", {"key": "graph", "message": message})
        return self
