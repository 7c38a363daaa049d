"""What a study found, as MLflow's page shows it: metrics of rows, and two saved views that compare methods and seeds.

How MLflow's page keeps a view is its own affair; a version that keeps it otherwise loses the views and nothing else.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from suite.kinds.training.summary import Line
from suite.kinds.training.table import schedules
from suite.report.statistics.aggregates import Spread
from suite.report.statistics.intervals import Interval
from suite.tasks.task import task

GAP = "gap_to_random"  # in percentage points
RELIABLE = "speed_reliable"  # 1, or 0 if it is not
ALL = 1000  # runs that a chart shows


def row_metrics(lines: Sequence[Line]) -> dict[tuple[str, str], dict[str, float]]:
    """By row and schedule: medians over seeds with their spread, the difference to random pruning, seeds, cost.

    `speed_reliable` is 0 where the table marks the timing as unreliable, else 1. What there is not is left out:
    the gap and its p of rows that are not compared, intervals of one seed.

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
    headline = task(lines[0].task).headline
    score, median, curve = headline.last, f"{headline.last}/median", f"epoch/{headline.name}"
    known = {name for metrics in row_metrics(lines).values() for name in metrics}
    gap, speed = f"{GAP}/median", "speed_ratio/median"
    interval = [f"{score}/ci95_low", f"{score}/ci95_high"]
    columns = [median, *interval, gap, f"{GAP}/p_holm", "seeds", "tokens_fewest", "gmacs", speed, RELIABLE]
    rows = ["row", "schedule"] if len(schedules(lines)) > 1 else ["row"]
    methods = [
        *(_scatter(cost, median) for cost in (speed, "gmacs") if cost in known),
        *(_chart("BAR", metric, metricKey=metric) for metric in (median, gap, speed) if metric in known),
        _parallel(rows, [name for name in ("tokens_fewest", "gmacs", speed, median) if name in known]),
    ]
    seeds = [
        _chart("BAR", score, metricKey=score),
        _chart("LINE", curve, metricKey=curve, selectedMetricKeys=[curve], xAxisKey="step"),
        _parallel([*rows, "seed"], ["tokens_fewest", "gmacs", score]),
    ]
    keys = [{"mode": "param", "groupByData": name} for name in rows]
    by_row = {"aggregateFunction": "average", "groupByKeys": keys}
    shown = [name for name in columns if name in known]
    return {
        "methods": _view("row", median, ["method", "fusion", "schedule"], shown, methods),
        "seeds": _view("accuracy", score, ["row", "schedule", "seed"], [score, "tokens_fewest", "gmacs"], seeds)
        | {"groupBy": by_row, "useGroupedValuesInCharts": False},
    }


def saved(views: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Views as the tags of an experiment in which MLflow's page saves them."""
    return {f"mlflow.sharedViewState.{name}": _packed(name, state) for name, state in views.items()}


def _packed(name: str, state: Mapping[str, Any]) -> str:
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps({"name": name, "createdAt": 1, "updatedAt": 1, "state": f"deflate;{packed}"})


def box_plots(lines: Sequence[Line]) -> str:
    """How to see seeds as box plots: MLflow has them only on its page that compares runs, which no view can open."""
    which = "the runs of one schedule" if len(schedules(lines)) > 1 else "all runs"
    return (
        f"Seeds as box plots: in the view *seeds* tick {which}, then Compare, Box Plot, "
        f"X-axis `row`, Y-axis `{task(lines[0].task).headline.last}`."
    )


def _metrics(line: Line) -> dict[str, float]:
    """The score first: a comparison in MLflow's page begins with it."""
    found = _spread(task(line.task).headline.last, line.accuracy) | _spread("speed_ratio", line.speed)
    found |= _interval(task(line.task).headline.last, line.interval)
    if line.speed:
        found[RELIABLE] = float(not line.timing_warnings)
    found |= {"seeds": line.accuracy.n if line.accuracy else 0, "seeds_tried": line.seeds}
    if line.versus.won:
        found |= {"seeds_above_random": line.versus.won[0], "seeds_compared": line.versus.won[1]}
    if line.comparison:
        found |= {f"{GAP}/median": line.comparison.gap} | _interval(GAP, line.comparison.interval)
    if line.p is not None:
        found[f"{GAP}/p_holm"] = line.p
    if line.tokens is not None:
        found["tokens_fewest"] = line.tokens
    if line.macs is not None:
        found["gmacs"] = line.macs / 1e9
    return found


def _spread(name: str, spread: Spread | None) -> dict[str, float]:
    if spread is None:
        return {}
    return {f"{name}/median": spread.median, f"{name}/q25": spread.low, f"{name}/q75": spread.high}


def _interval(name: str, interval: Interval | None) -> dict[str, float]:
    return {f"{name}/ci95_low": interval.low, f"{name}/ci95_high": interval.high} if interval else {}


def _view(
    kind: str, order: str, parameters: Sequence[str], metrics: Sequence[str], charts: list[dict[str, Any]]
) -> dict[str, Any]:
    columns = [f"metrics.`{name}`" for name in metrics] + [f"params.`{name}`" for name in parameters]
    return {
        "searchFilter": f'tags.kind = "{kind}"',
        "orderByKey": f"metrics.`{order}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {name: max(6 * len(name), 110) for name in columns},  # pixels; else headings are cut
        "runsHiddenMode": "SHOWALL",
        "compareRunCharts": charts,
        "compareRunSections": [_section("compared", "Comparison", 3), _section("parallel", "Parallel coordinates", 1)],
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "viewMaximized": False,
        "runListHidden": False,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _section(uuid: str, name: str, columns: int) -> dict[str, Any]:
    return {"uuid": uuid, "name": name, "display": True, "isReordered": True, "columns": columns}


def _chart(kind: str, name: str, **more: object) -> dict[str, Any]:
    common = {"type": kind, "runsCountToCompare": ALL, "metricSectionId": "compared", "deleted": False}
    return common | {"uuid": f"{kind} {name}".lower(), "isGenerated": False, "displayName": name} | more


def _scatter(x: str, y: str) -> dict[str, Any]:
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return _chart("SCATTER", f"{y} against {x}", **axes)


def _parallel(parameters: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    axes = {"selectedParams": parameters, "selectedMetrics": metrics, "metricSectionId": "parallel"}
    return _chart("PARALLEL", "parallel coordinates", showAllRuns=True, **axes)
