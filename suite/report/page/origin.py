"""Where a study's numbers come from, as its page tells it: out of `provenance.json` and the record alone."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.report.layout import MISSING
from suite.study.kind import Kind
from suite.study.provenance import UNKNOWN, code_of
from suite.study.records import DIGESTS, parsed

CLAIMS = ("cells", "models", "settings")  # what a run of provenance.json says that it made, one of these


def read_origin(folder: Path, kind: Kind) -> dict[str, Any] | None:
    """What the page shows of a results folder's `provenance.json`; None if there is none.

    `runs`, each with the number of its `cells`, its `machine` in words and the time its cells took together (`took`,
    None where the study keeps none), `commits` by time, `versions` by package, SHA-256 of base `weights` and of
    `records`, the number of cells that no run claims (`unknown`), and what all `took`.

    Raises:
        UserError: if it is damaged.
    """
    path = folder / "provenance.json"
    if not path.is_file():
        return None
    try:
        found = parsed(path)
        runs, seconds = found["runs"], found.get("seconds")
        claimed = {cell for run in runs for cell in made_by(run) or ()}
        return {
            "runs": [_run(run, seconds) for run in runs],
            "commits": list(dict.fromkeys(run["commit"] for run in runs if run["commit"] not in ("", UNKNOWN))),
            "versions": _versions(runs),
            "weights": found.get("base_weights", ()),
            "records": found.get(DIGESTS, {}),
            "unknown": len(_cells(folder / kind.record) - claimed),
            "took": _took(claimed, seconds) if runs else None,
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        cure = f"write it again, from the cells that are finished, with: {kind.command.format(folder.name)}"
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); {cure}") from error


def duration(seconds: float) -> str:
    """Seconds as hours and minutes, or as seconds where those are few."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def made_by(run: Mapping[str, Any]) -> list[str] | None:
    """The cells that a run says it made, where they are models the words of each; None if it made the whole record."""
    made = [run[name] for name in CLAIMS if name in run]
    return [one if isinstance(one, str) else " ".join(one) for one in made[0]] if made else None


def _cells(record: Path) -> set[str]:
    """Ids of the cells of a record; none where it has no such column."""
    with record.open(newline="", encoding="utf-8") as file:
        return {row["cell_id"] for row in csv.DictReader(file) if "cell_id" in row}


def _run(run: Mapping[str, Any], seconds: Mapping[str, float] | None) -> dict[str, Any]:
    started = datetime.datetime.fromisoformat(run["started"]).astimezone(datetime.UTC)
    machine = [run["processor"], f"{run['cores']} cores", f"{run['memory_gib']} GiB", run["system"]]
    if run.get("device", run["processor"]) != run["processor"]:  # a GPU, or another node of a cluster
        machine.append(f"computed on {run['device']}")
    made, code = made_by(run) or [], code_of(run)
    changes = code["uncommitted_changes"]
    return {
        "command": run["command"],
        "commit": code["commit"],
        "uncommitted_changes": changes if changes == UNKNOWN else len(changes) or "none",
        "started": f"{started:%Y-%m-%d %H:%M}",
        "machine": ", ".join(machine),
        "cells": len(made),
        "took": _took(made, seconds),
    }


def _took(cells: Iterable[str], seconds: Mapping[str, float] | None) -> str | None:
    return None if seconds is None else duration(sum(seconds.get(cell, 0.0) for cell in cells))


def _versions(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By package, of every run: several, separated by commas, where runs differ."""
    every = [{"python": run["python"]} | run["versions"] for run in runs]
    names = dict.fromkeys(name for versions in every for name in versions)
    found = {name: dict.fromkeys(versions.get(name) or MISSING for versions in every) for name in names}
    return {name: ", ".join(own) for name, own in found.items() if list(own) != [MISSING]}
