"""Compute a study of costs: every model that a published figure is of is counted on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from suite.errors import UserError
from suite.kinds.costs.figures import RECORD, Cost, Line, choose, lines, read_published, write_record
from suite.kinds.costs.schema import CostRow, CostStudy
from suite.measure.count import count
from suite.measure.tokens import unexpected_tokens
from suite.reduction.attention import TimmModule
from suite.reduction.model import ReducedModel
from suite.study.kind import Loaded
from suite.study.load import RESULTS
from suite.study.provenance import provenance
from suite.study.published import Excluded, Number, match
from suite.study.records import write_provenance
from suite.terminal import track

if TYPE_CHECKING:
    from rich.console import Console

Watch = Callable[[Sequence[CostRow]], Iterable[CostRow]]


def check(loaded: Loaded) -> str:
    """Build every model; returns how many published figures a study has. UserError as `compute`."""
    models = Models()
    figures = read_published(loaded.study.published)
    for row in _assign(loaded.study, figures).values():
        if isinstance(row, CostRow):
            models.build(row)
    return f"{len(figures)} published figures"


def plan(loaded: Loaded) -> list[Mapping[str, Any]]:
    """A mapping for each model: the figures that are of it, and whether the record has them."""
    folder = RESULTS / loaded.name
    recorded = {line.figure.id: line.computed_as for line in lines(folder)} if (folder / RECORD).is_file() else {}
    rows = _assign(loaded.study, read_published(loaded.study.published))
    found: dict[str, list[str]] = {}
    for name, row in rows.items():
        if isinstance(row, CostRow):
            found.setdefault(row.model, []).append(name)
    return [
        {
            "status": "done" if all(recorded.get(name) == model for name in names) else "to run",
            "figures": ", ".join(names),
            "model": model,
        }
        for model, names in found.items()
    ]


def run(loaded: Loaded, console: Console, _in_process: bool = False) -> int:
    """Compute every figure and write the record `results/NAME/figures.csv`; returns the exit code."""
    computed = compute(loaded.study, partial(track, what="models", total=len(loaded.study.rows), console=console))
    folder = RESULTS / loaded.name
    write_record(folder, computed)
    write_provenance(folder, {"runs": [provenance()]})
    return 0


def compute(study: CostStudy, watch: Watch = iter) -> list[Line]:
    """A line for every published figure, in their order; `watch` hands on the rows, one by one.

    UserError for ids that do not fit the table of published figures, a row that cannot be computed, or a model that
    does not keep to its schedule.
    """
    figures, models = read_published(study.published), Models()
    rows = _assign(study, figures)
    costs = {row.model: models.costs(row) for row in watch(study.rows)}
    found = []
    for figure in figures:
        row = rows[figure.id]
        if isinstance(row, CostRow):
            stated = row.convention or ""
            found.append(Line(figure, study.tolerance, row.note, row.model, stated, *costs[row.model], cut=row.cut))
        else:
            found.append(Line(figure, study.tolerance, row.note))
    return choose(found)


def _assign(study: CostStudy, figures: Sequence[Number]) -> dict[str, CostRow | Excluded]:
    """The row of each figure; every figure must have one, and every pattern must name some."""
    every: list[CostRow | Excluded] = [*study.rows, *study.excluded]
    patterns = [((number,), pattern) for number, row in enumerate(every) for pattern in row.published]
    named, wrong = match(patterns, [figure.id for figure in figures], study.published)
    if wrong:
        raise UserError(wrong[0][1])
    return {name: every[int(number)] for name, (number,) in named.items()}


class Models:
    """Models of rows, which share backbones; each is counted once."""

    def __init__(self) -> None:
        self.backbones: dict[str, TimmModule] = {}
        self.counted: dict[str, Cost] = {}

    def build(self, row: CostRow) -> tuple[ReducedModel, ReducedModel]:
        """The model of a row and the unpruned one; UserError naming the row if one cannot be built."""
        key = f"{row.backbone.model_dump_json()} {row.classes}"
        try:
            if key not in self.backbones:
                self.backbones[key] = row.build_backbone()
            backbone = self.backbones[key]
            return row.build(backbone=backbone), row.unpruned().build(backbone=backbone)
        except UserError as error:
            raise UserError(f"the row of {', '.join(row.published)}: {error}") from error

    def costs(self, row: CostRow) -> tuple[Cost, Cost]:
        """Of the model of a row and of the unpruned one; UserError if the model does not keep to its schedule."""
        reduced, unpruned = self.build(row)
        return self._cost(row, row.model, reduced), self._cost(row, row.unpruned().model_dump_json(), unpruned)

    def _cost(self, row: CostRow, key: str, model: ReducedModel) -> Cost:
        if key not in self.counted:
            counted = count(model, row.read_out)
            if wrong := unexpected_tokens(model, counted.tokens):
                raise UserError(f"the row of {', '.join(row.published)}: {'; '.join(wrong)}")
            self.counted[key] = Cost(int(counted.macs.full), int(counted.macs.linear), counted.norms)
        return self.counted[key]
