"""What a study found, as MLflow's page shows it: metrics of rows, and views that compare methods and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from suite.report.checks import SCORES
from suite.report.statistics import Spread
from suite.report.summary import Line

CURVES = {"classification": "epoch/acc1", "segmentation": "epoch/miou"}
ALL = 1000  # runs that a chart shows


def row_metrics(lines: Sequence[Line]) -> dict[tuple[str, str], dict[str, float]]:
    """By row and schedule: medians and quartiles over seeds, seeds, cost; what was not measured is left out.

    Five digits, because MLflow's page shows all there are; `table.csv` has all.
    """
    return {
        (line.row, line.schedule): {name: float(f"{value:.5g}") for name, value in _metrics(line).items()}
        for line in lines
    }


def views(lines: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """Two views by name: `methods` compares rows by their medians, `seeds` cells, grouped by row.

    A view is what MLflow's page keeps when a person saves one: filter, order, columns and charts.
    """
    task = lines[0].task
    score, median = SCORES[task], f"{SCORES[task]}/median"
    scores = [median, f"{score}/q25", f"{score}/q75"]
    costs = ["tokens_fewest", "gmacs", "speed_ratio/median"]
    methods = [
        _scatter("speed_ratio/median", median),
        _scatter("gmacs", median),
        _parallel(["method", "fusion", "schedule"], [*costs, median]),
        *(_chart("BAR", metric, metricKey=metric) for metric in (median, "speed_ratio/median")),
    ]
    seeds = [
        _chart("LINE", CURVES[task], metricKey=CURVES[task], selectedMetricKeys=[CURVES[task]], xAxisKey="step"),
        _chart("BAR", score, metricKey=score),
        _parallel(["method", "fusion", "schedule", "seed"], ["tokens_fewest", "gmacs", score]),
    ]
    several = len({line.schedule for line in lines if line.method != "none"}) > 1
    keys = [{"mode": "param", "groupByData": name} for name in (("row", "schedule") if several else ("row",))]
    by_row = {"aggregateFunction": "average", "groupByKeys": keys}
    return {
        "methods": _view("row", median, ["method", "fusion", "schedule"], [*scores, "seeds", *costs], methods),
        "seeds": _view("accuracy", score, ["row", "schedule", "seed"], [score, "tokens_fewest", "gmacs"], seeds)
        | {"groupBy": by_row},
    }


def _metrics(line: Line) -> dict[str, float]:
    """The score first: a comparison in MLflow's page begins with it."""
    found = _spread(SCORES[line.task], line.accuracy) | _spread("speed_ratio", line.speed)
    found["seeds"] = line.accuracy.n if line.accuracy else 0
    if line.interval:
        found |= {f"{SCORES[line.task]}/ci95_{end}": getattr(line.interval, end) for end in ("low", "high")}
    if line.won:
        found["seeds_above_random"] = line.won[0]
    if line.tokens is not None:
        found["tokens_fewest"] = line.tokens
    if line.macs is not None:
        found["gmacs"] = line.macs / 1e9
    return found


def _spread(name: str, spread: Spread | None) -> dict[str, float]:
    if spread is None:
        return {}
    return {f"{name}/median": spread.median, f"{name}/q25": spread.low, f"{name}/q75": spread.high}


def _view(
    kind: str, order: str, parameters: Sequence[str], metrics: Sequence[str], charts: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "searchFilter": f'tags.kind = "{kind}"',
        "orderByKey": f"metrics.`{order}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [f"params.`{name}`" for name in parameters] + [f"metrics.`{name}`" for name in metrics],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOWALL",
        "compareRunCharts": charts,
        "compareRunSections": [{"uuid": "compared", "name": "Comparison", "display": True, "isReordered": True}],
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "viewMaximized": False,
        "runListHidden": False,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _chart(kind: str, name: str, **more: object) -> dict[str, Any]:
    common = {"type": kind, "runsCountToCompare": ALL, "metricSectionId": "compared", "deleted": False}
    return common | {"uuid": f"{kind} {name}".lower(), "isGenerated": False, "displayName": name} | more


def _scatter(x: str, y: str) -> dict[str, Any]:
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return _chart("SCATTER", f"{y} against {x}", **axes)


def _parallel(parameters: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    return _chart(
        "PARALLEL", "parallel coordinates", selectedParams=parameters, selectedMetrics=metrics, showAllRuns=True
    )
