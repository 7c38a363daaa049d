"""The record of the race against official code: `race.csv` and `operators.csv`, by case, batch and device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.kinds.official import KIND
from suite.study import records
from suite.study.provenance import provenance

OPERATORS = "operators.csv"
SETTING = ("case", "batch", "device", "precision", "threads")
SECONDS = ("official_seconds", "own_seconds")  # of a GPU only
ROUND_FIELDS = (*SETTING, "launch", "others_cores", "round", "ratio", *SECONDS)
OPERATOR_FIELDS = (*SETTING, "side", "operator", "share")

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Setting:
    """A row of the table: what was raced where, with its rounds and the operators of both sides."""

    case: str
    batch: str
    device: str
    precision: str
    threads: str
    rounds: Rows
    operators: Rows

    @property
    def name(self) -> str:
        """As `provenance.json` calls it."""
        return " ".join((self.case, self.batch, self.device, self.precision, self.threads))


def lines(folder: Path) -> list[Setting]:
    """The settings of a folder's record."""
    rounds = records.lines(folder / KIND.record, ROUND_FIELDS, KIND.command)
    operators = records.lines(folder / OPERATORS, OPERATOR_FIELDS, KIND.command)
    return [
        Setting(
            **dict(zip(SETTING, setting, strict=True)),
            rounds=[row for row in rounds if _setting(row) == setting],
            operators=[row for row in operators if _setting(row) == setting],
        )
        for setting in dict.fromkeys(map(_setting, rounds))
    ]


def check(folder: Path) -> None:
    """Refuse a folder whose rounds have the name that they once had.

    Raises:
        UserError: naming both.
    """
    if (old := folder / "rounds.csv").is_file():
        raise UserError(f"{old} is called {KIND.record} now; rename it, and what was raced before is kept")


def keep(rounds: Rows, operators: Rows, folder: Path) -> None:
    """Put rounds and operators into a folder's record, in place of earlier ones of the same settings."""
    rounds = [row | (dict.fromkeys(SECONDS, "") if row["device"] == "cpu" else {}) for row in rounds]
    made = {" ".join(_setting(row)): provenance() for row in rounds}
    earlier = lines(folder) if (folder / KIND.record).is_file() else []
    kept = [setting for setting in earlier if setting.name not in made]
    _write(folder / KIND.record, ROUND_FIELDS, [row for setting in kept for row in setting.rounds] + rounds)
    _write(folder / OPERATORS, OPERATOR_FIELDS, [row for setting in kept for row in setting.operators] + operators)
    ran = records.merge(records.runs(folder) if earlier else [], made, made_key="settings")
    records.write_provenance(folder, {"runs": ran})


def _write(path: Path, fields: Sequence[str], rows: Rows) -> None:
    records.write(path, fields, sorted(rows, key=_setting))


def _setting(row: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in SETTING)
