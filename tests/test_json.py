"""`--json` prints JSON and nothing else, on every command that has it."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hand_made import cells, diverged, written
from typer.testing import CliRunner

from suite.cli.app import app

ROOT = Path(__file__).parent.parent
DEIT = "deit_tiny_patch16_224"
LONG = "trace of a speed"
COMMANDS = {
    "list": ["list"],
    "plan": ["plan", "costs"],
    "ledger": ["ledger", "--paper", "tome"],
    "one number": ["ledger", "cropr-t1-9-top1"],
    "trace": ["trace", "quickstart:cropr:acc. %"],
    "trace of a speed": ["trace", "imagenet-vitl-speed:ViT-B/16 random R=16 LLF:measured_median"],
    "budget": ["budget", DEIT, "--tokens=0.7", "--methods=tome,random"],
    "flops": ["flops", DEIT],
    "compare": ["compare", "quickstart:tome", "quickstart:tome"],
    "power": ["power", "--difference=1", "--sd=0.5"],
}


@pytest.mark.parametrize(
    "words",
    [pytest.param(words, id=name, marks=[pytest.mark.slow] * (name == LONG)) for name, words in COMMANDS.items()],
)
def test_json(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but JSON is on standard output."""
    assert _json(words, monkeypatch)


def test_what_json_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers agree with each other."""
    monkeypatch.chdir(ROOT)
    trace = _json(COMMANDS["trace"], monkeypatch)
    with Path("results/quickstart/table.csv").open() as file:
        median = next(row["score_median"] for row in csv.DictReader(file) if row["row"] == "cropr")
    assert (trace["shown"], len(trace["cells"])) == (f"{float(median):.1f}", 5)
    assert trace["runs"][0]["cells"] == [cell["cell_id"] for cell in trace["cells"]]
    assert {line["paper"] for line in _json(COMMANDS["ledger"], monkeypatch)} == {"tome"}
    for one in _json(COMMANDS["budget"], monkeypatch):
        assert one["meets"] == (abs(one["share"] / 0.7 - 1) <= 0.01)
        assert len(one["removed"]) == 12


def test_a_table_as_json(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fields of the CSV, with numbers as numbers and null where there is none."""
    found = _json(["table", "quickstart"], monkeypatch, committed)
    with (committed / "results/quickstart/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [line["row"] for line in found] == [row["row"] for row in rows]
    assert [line["score_median"] for line in found] == [float(row["score_median"]) for row in rows]
    assert found[0]["gap"] is None


def test_what_is_not_a_number_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the score of a seed that diverged."""
    folder = written(tmp_path / "results", [*cells("random", 70.0, 71.0), *diverged("random", 2)], {"runs": []})
    (folder / "table.csv").touch()
    found = _json(["trace", "trial:random:acc. %"], monkeypatch, tmp_path)
    assert [cell["values"] for cell in found["cells"]] == [[70.0], [71.0], [None]]


def _json(words: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path = ROOT) -> Any:
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
