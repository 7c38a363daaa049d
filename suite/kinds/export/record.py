"""The record of `suite export`, `findings.csv`: a line for each deployed model, compiled and exported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from suite.kinds.export import KIND
from suite.measure.export import Finding
from suite.reduction.registry import reduces_nothing
from suite.report.statistics.aggregates import spread
from suite.study import records

Line = dict[str, str]  # of the record; empty where nothing was measured
MODEL = ("task", "backbone", "method", "fusion")
FIELDS = (
    *(*MODEL, "path", "status", "reason", "batch_sizes", "difference", "largest_logit", "same_class", "same_kept"),
    *("draws", "recompiled", "speed_median", "speed_low", "speed_high", "speed_timing_warnings"),
)


def line_of(model: dict[str, str], path: str, status: Literal["works", "fails", "skipped"], found: Finding) -> Line:
    """The line of a finding about a model, given by the fields `MODEL`; numbers at full precision."""
    rounds = spread(found.speed) if found.speed else None
    values = asdict(found) | {f"speed_{name}": getattr(rounds, name, None) for name in ("median", "low", "high")}
    values |= {"batch_sizes": " ".join(map(str, found.batch_sizes))}
    texts = {
        name: "" if value is None else value if isinstance(value, str) else repr(value)
        for name, value in values.items()
    }
    return {name: (model | {"path": path, "status": status} | texts)[name] for name in FIELDS}


def model_of(line: Line) -> tuple[str, ...]:
    """Task, backbone, method and fusion."""
    return tuple(line[field] for field in MODEL)


@dataclass(frozen=True)
class Model:
    """A row of the table: one deployed model, compiled and exported, with its line of the record for each path."""

    task: str
    backbone: str
    method: str
    fusion: str
    paths: Mapping[str, Line]

    @property
    def name(self) -> str:
        """What a row is called, beside its backbone."""
        return self.method if self.fusion == "none" else f"{self.method} + {self.fusion}"


def lines(folder: Path) -> list[Model]:
    """The models of a folder's record."""
    return models(read_findings(folder))


def models(found: Iterable[Line]) -> list[Model]:
    """Lines of the record, put together by model."""
    by_model: dict[tuple[str, ...], dict[str, Line]] = {}
    for line in found:
        by_model.setdefault(model_of(line), {})[line["path"]] = line
    return [Model(**dict(zip(MODEL, model, strict=True)), paths=paths) for model, paths in by_model.items()]


def read_findings(folder: Path) -> list[Line]:
    """The lines of a folder's record."""
    return records.lines(folder / KIND.record, FIELDS, KIND.command)


def keep(new: Sequence[Line], origin: Mapping[str, Any], folder: Path) -> None:
    """Put lines into the record, in place of earlier ones of the same models.

    `provenance.json` says which models each run is the origin of. It is written after the record: if a process is
    killed between the two, the next one refuses what is left, and says what helps.

    UserError if the record that is there cannot be used.
    """
    made = {model_of(line): origin for line in new}
    earlier = read_findings(folder) if (folder / KIND.record).is_file() else []
    kept = [line for line in earlier if model_of(line) not in made] + list(new)
    kept.sort(key=lambda line: (line["task"], line["backbone"], not reduces_nothing(line["method"]), *model_of(line)))
    records.write(folder / KIND.record, FIELDS, kept)
    ran = records.merge(records.runs(folder) if earlier else [], made, made_key="models")
    records.write_provenance(folder, {"runs": ran})
