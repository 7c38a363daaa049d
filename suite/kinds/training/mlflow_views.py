"""What a study found, as MLflow's page shows it: metrics of rows, and two saved views that compare methods and seeds.

How MLflow's page keeps a view is its own affair; a version that keeps it otherwise loses the views and nothing else.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from suite.kinds.training.line import Line
from suite.kinds.training.summary import schedules
from suite.tasks.task import task

DIFFERENCE = "difference_to_random"  # in the unit of a difference of scores
RELIABLE = "speed_reliable"  # 1, or 0 if it is not
ALL = 1000  # runs that a chart shows
ENDS = {"median": "median", "q25": "low", "q75": "high"}  # of a metric; field of `table.csv`


def row_metrics(records: Sequence[Mapping[str, Any]], task_name: str) -> dict[tuple[str, str], dict[str, float]]:
    """By row and schedule, what `table.csv` has: medians over seeds with spread, difference to random pruning, cost.

    `speed_reliable` is 0 where the table marks the timing as unreliable, else 1. What there is not is left out. Five
    digits, because MLflow's page shows all there are. The score comes first: a comparison in MLflow's page begins with
    it.
    """
    score = task(task_name).headline.last
    fields = {f"{score}/{name}": f"score_{end}" for name, end in ENDS.items()}
    fields |= {f"speed_ratio/{name}": f"speed_{end}" for name, end in ENDS.items()}
    fields |= {f"{score}/ci95_low": "interval_low", f"{score}/ci95_high": "interval_high"}
    fields |= {"seeds": "n", "seeds_tried": "seeds", "seeds_above_random": "beats_random", "seeds_compared": "compared"}
    fields |= {f"{DIFFERENCE}/mean": "gap", f"{DIFFERENCE}/ci95_low": "gap_low", f"{DIFFERENCE}/ci95_high": "gap_high"}
    fields |= {f"{DIFFERENCE}/p_holm": "p_holm", "tokens_fewest": "min_tokens"}
    found = {}
    for row in records:
        metrics = {name: row[field] for name, field in fields.items() if row[field] is not None}
        if row["speed_median"] is not None:
            metrics[RELIABLE] = row["speed_timing_warnings"] is None
        if row["macs_full"] is not None:
            metrics["gmacs"] = row["macs_full"] / 1e9
        found[row["row"], row["schedule"]] = {name: float(f"{value:.5g}") for name, value in metrics.items()}
    return found


def views(lines: Sequence[Line], known: Collection[str]) -> dict[str, dict[str, Any]]:
    """Two views by name: `methods` compares rows by such of their metrics as are known, `seeds` cells, grouped by row.

    A view is what MLflow's page keeps when a person saves one: filter, order, columns and charts.
    """
    headline = task(lines[0].task).headline
    score, median, curve = headline.last, f"{headline.last}/median", f"epoch/{headline.name}"
    difference, p, speed = f"{DIFFERENCE}/mean", f"{DIFFERENCE}/p_holm", "speed_ratio/median"
    interval = [f"{score}/ci95_low", f"{score}/ci95_high"]
    columns = [median, *interval, difference, p, "seeds", "tokens_fewest", "gmacs", speed, RELIABLE]
    rows = ["row", "schedule"] if len(schedules(lines)) > 1 else ["row"]
    methods = [
        *(_scatter(cost, median) for cost in (speed, "gmacs") if cost in known),
        *(_chart("BAR", metric, metricKey=metric) for metric in (median, difference, speed) if metric in known),
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
    tags = {}
    for name, state in views.items():
        packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
        view = {"name": name, "createdAt": 1, "updatedAt": 1, "state": f"deflate;{packed}"}
        tags[f"mlflow.sharedViewState.{name}"] = json.dumps(view)
    return tags


def box_plots(lines: Sequence[Line]) -> str:
    """How to see seeds as box plots: MLflow has them only on its page that compares runs, which no view can open."""
    which = "the runs of one schedule" if len(schedules(lines)) > 1 else "all runs"
    return (
        f"Seeds as box plots: in the view *seeds* tick {which}, then Compare, Box Plot, "
        f"X-axis `row`, Y-axis `{task(lines[0].task).headline.last}`."
    )


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
