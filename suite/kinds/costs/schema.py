"""What a study of costs may say: published costs beside computed ones. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from suite.strict import Strict
from suite.study.configuration import Configuration
from suite.study.published import Excluded
from suite.study.schema import MethodName

Convention = Literal["full", "linear", "full with norms", "linear with norms"]  # the fields of `measure.count`
CONVENTIONS: tuple[Convention, ...] = ("full", "linear", "full with norms", "linear with norms")


class CostRow(Configuration):
    """How published figures are computed.

    `published`: ids in the table of published figures, or patterns of them (`*`). `convention`: by which their source
    must have counted; without it the one in which most figures of the source fit is taken. `cut`: it cuts digits
    instead of rounding. `note`: what is known about a miss.
    """

    method: MethodName = "none"
    published: tuple[str, ...] = Field(min_length=1)
    convention: Convention | None = None
    cut: bool = False
    note: str = ""

    @property
    def model(self) -> str:
        """What is computed, as JSON; equal for rows of the same model."""
        return self.model_dump_json(exclude={"published", "convention", "cut", "note"}, exclude_defaults=True)


class CostStudy(Strict):
    """Published costs beside computed ones.

    A figure fits if the computed one rounds, or is cut, to what is printed; within `tolerance` percent it is at least
    near. `excluded`: published figures that nothing here can compute, and why.
    """

    question: str
    kind: Literal["costs"]
    published: Path
    tolerance: float = Field(gt=0)
    rows: tuple[CostRow, ...] = Field(min_length=1)
    excluded: tuple[Excluded, ...] = ()
