"""What a tidy record must be before it is used; what is wrong is named with its line."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from suite.errors import UserError, suggest
from suite.tasks.task import is_of_part, recorded_metrics, task, tasks

COSTS = ("tokens_fewest", "macs_full")
SPEED = "speed_ratio"
OWN_RATE = "method_learning_rate"
RATE, MEMORY, DURATION = "training_images_per_second", "training_memory_bytes", "training_seconds"
TRAINING_MACS = "macs_training"
MEASURED = {RATE, MEMORY, DURATION}  # of a machine: other numbers every time
OF_TRAINING = {*MEASURED, TRAINING_MACS}  # what training costs, at which no comparison looks
RUN = ["row", "schedule", "seed"]
KINDS, STATUSES = ("base", "accuracy", "speed"), ("done", "failed", "skipped")
KNOWN = {  # besides the scores of tasks
    *COSTS,
    SPEED,
    OWN_RATE,
    *OF_TRAINING,
    *("macs_linear", "tokens_attention", "tokens_mlp"),
    *("macs_full_unpadded", "macs_linear_unpadded", "tokens_unpadded"),
    *("batch_size", "seconds", "seconds_unpruned", "memory_bytes", "memory_bytes_unpruned"),
    *("tokens_leaving", "speed_ratio_eager", "others_cores", "own_share", "page_faults", "round_drift", "timed_share"),
}


UNSIGNED = KNOWN - {"round_drift"}


def scores() -> list[str]:
    """The metrics by which rows of a task are compared, as records call them."""
    return [one.headline.last for one in tasks().values()]


def check_record(frame: pd.DataFrame, path: Path) -> None:
    """Refuse a record, all its columns text, of which no table can be made.

    Raises:
        UserError: for a word, a number or a metric that is none, a value or a seed that stands twice, and cells that do
            not belong into one table.
    """
    _check_words(frame, path)
    _check_numbers(frame, path)
    _check_once(frame, path)
    _check_together(frame, path)
    _check_metrics(frame, path)


def _check_words(frame: pd.DataFrame, path: Path) -> None:
    valid: dict[str, Collection[str]] = {"kind": KINDS, "status": STATUSES, "task": tasks()}
    for column, words in valid.items():
        for line, word in _where(frame[column], ~frame[column].isin(list(words))):
            raise UserError(f"{path}:{line}: unknown {column} {word!r}; {suggest(word, words)}")


def _check_numbers(frame: pd.DataFrame, path: Path) -> None:
    """Values are numbers, seeds and protocols whole ones; a score may be nan, then its run diverged."""
    for column, needed in (("seed", frame["kind"] == "accuracy"), ("protocol", frame["kind"] != "")):
        for line, text in _where(frame[column], needed & ~frame[column].str.fullmatch(r"\d+")):
            raise UserError(f"{path}:{line}: the {column} {text!r} is not a whole number")
    for line, text in _where(frame["repetition"], ~frame["repetition"].str.fullmatch(r"\d*")):
        raise UserError(f"{path}:{line}: the repetition {text!r} is neither a whole number nor empty")
    named = frame[frame["metric"] != ""]
    numbers = pd.to_numeric(named["value"], errors="coerce")
    score, metrics = named["metric"].isin(scores()), recorded_metrics()
    for line, text in _where(named["value"], numbers.isna() & (named["value"].str.lower() != "nan")):
        raise UserError(f"{path}:{line}: the {named['metric'][line - 2]} {text!r} is not a number")
    for line, text in _where(named["value"], ~score & ~numbers.map(math.isfinite)):
        raise UserError(
            f"{path}:{line}: the {named['metric'][line - 2]} is {text}; only a score may be, if a run diverged"
        )
    for name in metrics.keys() & set(named["metric"]):
        low, high = metrics[name].limits
        outside = (named["metric"] == name) & numbers.map(math.isfinite) & ~numbers.between(low, high)
        for line, text in _where(named["value"], outside):
            raise UserError(f"{path}:{line}: a {name} of {text} is not between {low:g} and {high:g}")
    for line, text in _where(named["value"], ~score & named["metric"].isin(list(UNSIGNED)) & (numbers < 0)):
        raise UserError(f"{path}:{line}: the {named['metric'][line - 2]} is {text}; it cannot be below 0")


def _check_once(frame: pd.DataFrame, path: Path) -> None:
    """No value twice, and no seed in two cells of one row."""
    for line, cell in _where(frame["cell_id"], frame.duplicated(["cell_id", "row", "metric", "repetition"])):
        what = frame["metric"][line - 2] or "status"
        raise UserError(f"{path}:{line}: the {what} of cell {cell} stands here a second time; each value counts once")
    runs = frame[frame["kind"] == "accuracy"].drop_duplicates(["cell_id", "row"])
    runs = runs.assign(seed=runs["seed"].astype(int))  # 01 is 1
    for line, seed in _where(runs["seed"], runs.duplicated(RUN)):
        raise UserError(
            f"{path}:{line}: {frame['row'][line - 2]} has seed {seed} in two cells; a seed counts once, and other "
            "settings are another row"
        )


def _check_together(frame: pd.DataFrame, path: Path) -> None:
    """Cells of one table were made and scored alike."""
    why = {
        "study": "are of different studies; keep a folder for each",
        "protocol": "were measured under different rules; run the study again under one version of the suite",
        "task": "do not compare; make a study of each",
        "data": "were scored on different data; make a study of each",
    }
    for column, reason in why.items():
        found = sorted(set(frame[column]) - {""})
        if len(found) > 1:
            raise UserError(f"{path}: cells of {column} {' and '.join(found)} {reason}")


def _check_metrics(frame: pd.DataFrame, path: Path) -> None:
    """What a table is made of is in every finished cell, and every metric has the name that the suite gives it."""
    done = frame[frame["status"] == "done"]
    for kind, metrics in (("accuracy", COSTS), ("speed", (SPEED,))):
        cells = done[done["kind"] == kind]
        scores = {task(name).headline.last for name in cells["task"].unique()} if kind == "accuracy" else set()
        for metric in sorted({*scores, *metrics}):
            for cell in sorted(set(cells["cell_id"]) - set(cells[cells["metric"] == metric]["cell_id"])):
                foreign = sorted(name for name in set(cells[cells["cell_id"] == cell]["metric"]) if not _is_known(name))
                called = f"; is it what the record calls {' or '.join(foreign)}?" if foreign else ""
                raise UserError(f"{path}: the finished cell {cell} has no {metric}{called}")
    for line, metric in _where(frame["metric"], ~frame["metric"].map(_is_known)):
        raise UserError(f"{path}:{line}: unknown metric {metric!r}; {suggest(metric, [*KNOWN, *recorded_metrics()])}")


def _is_known(metric: str) -> bool:
    """A cell without metrics has an empty name; classes of a data set have names of their own."""
    return not metric or metric in KNOWN or metric in recorded_metrics() or is_of_part(metric)


def _where(column: pd.Series, wrong: pd.Series) -> list[tuple[int, str]]:
    """Lines of the file, and what stands there, for the wrong ones of a column."""
    return [(int(str(index)) + 2, str(text)) for index, text in column[wrong].items()]
