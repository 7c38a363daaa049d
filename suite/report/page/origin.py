"""Where a study's numbers come from, as its page tells it: out of `provenance.json` and the record alone."""

from __future__ import annotations

import csv
import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.report.layout import MISSING
from suite.study.records import DIGESTS

CLAIMS = ("cells", "models", "settings")  # what a run of provenance.json says that it made, one of these


@dataclass(frozen=True)
class Run:
    """One time that the study was run, with the cells that it finished.

    Attributes:
        started: date and time, UTC.
        changed: files that differed from the commit.
        took: time of its cells together, which may have run side by side; None where the study keeps none.
    """

    started: str
    command: str
    commit: str
    changed: tuple[str, ...]
    machine: str
    cells: int
    took: str | None


@dataclass(frozen=True)
class Origin:
    """All of it.

    Attributes:
        versions: by package, of every run: several, separated by commas, where runs differ.
        weights: SHA-256 of the base weights that cells started from.
        records: SHA-256 of the files that numbers and figures are made from, by name; none where the study has none.
        unknown: cells of the record that no run claims; those that failed are among them.
        took: as of a run.
    """

    runs: tuple[Run, ...]
    versions: dict[str, str]
    weights: tuple[str, ...]
    records: dict[str, str]
    unknown: int
    took: str | None

    @property
    def commits(self) -> tuple[str, ...]:
        """Every commit once, by time."""
        return tuple(dict.fromkeys(run.commit for run in self.runs if run.commit))


def read_origin(folder: Path, record: str) -> Origin | None:
    """Read `provenance.json` of a results folder; None if there is none. `record` is the file of its cells.

    Raises:
        UserError: if it is damaged.
    """
    path = folder / "provenance.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        seconds = found.get("seconds")
        runs = tuple(_run(run, seconds) for run in found["runs"])
        claimed = {cell for run in found["runs"] for cell in made_by(run) or ()}
        return Origin(
            runs=runs,
            versions=_versions(found["runs"]),
            weights=tuple(found.get("base_weights", ())),
            records=found.get(DIGESTS, {}),
            unknown=len(_cells(folder / record) - claimed),
            took=_took(claimed, seconds) if runs else None,
        )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        cure = f"write it again, from the cells that are finished, with: suite run {folder.name}"
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


def _run(run: Mapping[str, Any], seconds: Mapping[str, float] | None) -> Run:
    started = datetime.datetime.fromisoformat(run["started"]).astimezone(datetime.UTC)
    machine = [run["processor"], f"{run['cores']} cores", f"{run['memory_gib']} GiB", run["system"]]
    if run.get("device", run["processor"]) != run["processor"]:  # a GPU, or another node of a cluster
        machine.append(f"computed on {run['device']}")
    made = made_by(run) or []
    return Run(
        started=f"{started:%Y-%m-%d %H:%M}",
        command=run["command"],
        commit=run["commit"],
        changed=tuple(run["uncommitted_changes"]),
        machine=", ".join(machine),
        cells=len(made),
        took=_took(made, seconds),
    )


def _took(cells: Iterable[str], seconds: Mapping[str, float] | None) -> str | None:
    return None if seconds is None else duration(sum(seconds.get(cell, 0.0) for cell in cells))


def _versions(runs: list[dict[str, Any]]) -> dict[str, str]:
    every = [{"python": run["python"]} | run["versions"] for run in runs]
    names = dict.fromkeys(name for versions in every for name in versions)
    found = {name: dict.fromkeys(versions.get(name) or MISSING for versions in every) for name in names}
    return {name: ", ".join(own) for name, own in found.items() if list(own) != [MISSING]}
