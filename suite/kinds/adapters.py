"""Kinds of study as far as loading needs them, until every folder here has its KIND; to be deleted then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from suite.study.kind import Kind

Problem = tuple[tuple[str | int, ...], str]


def _none(*_arguments: Any) -> Any:
    raise NotImplementedError


def _kind(name: str, record: str, schema: Any, problems: Any) -> Kind:
    return Kind(name, record, _none, _none, _none, _none, _none, schema=schema, problems=problems)


def _adapters() -> dict[str, Kind]:
    from suite.kinds.costs.schema import CostStudy
    from suite.kinds.speed.schema import SpeedStudy
    from suite.kinds.training.schema import Study

    def training(study: Study) -> Iterator[Problem]:
        from suite.kinds.training.problems import problems

        return problems(study)

    def speed(study: SpeedStudy) -> Iterator[Problem]:
        from suite.kinds.speed.checks import problems

        return problems(study)

    return {
        "training": _kind("training", "cells.csv", Study, training),
        "speed": _kind("speed", "rounds.csv", SpeedStudy, speed),
        "costs": _kind("costs", "figures.csv", CostStudy, lambda _study: iter(())),
    }


ADAPTERS = _adapters()
