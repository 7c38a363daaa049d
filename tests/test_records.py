"""Records of results folders: read with what is wrong named by line, written whole, with the runs that made them."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.report.render import FORMATS
from suite.study import records
from suite.study.kind import kind_of

RESULTS = Path(__file__).parents[1] / "results"
COLUMNS = ("cell", "value")
STUDIES = ("costs", "digits-segmentation", "imagenet-vitl-speed", "quickstart")
COMMANDS = {name: f"suite run {name}" for name in STUDIES} | {"export": "suite export", "official-speed": "suite race"}


def written(folder: Path, *values: str) -> Path:
    """A record with these values."""
    records.write(folder / "trial/rounds.csv", COLUMNS, [{"cell": "a", "value": value} for value in values])
    records.write_provenance(folder / "trial", {"runs": []})
    return folder / "trial/rounds.csv"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """As text, whatever it looks like, and no half file is left beside it."""
    path = written(tmp_path, "1.50", "", "nan", 'a "word",\nand another')
    assert records.read(path, COLUMNS)["value"].tolist() == ["1.50", "", "nan", 'a "word",\nand another']
    assert [line["value"] for line in records.lines(path, COLUMNS)][:2] == ["1.50", ""]
    assert sorted(file.name for file in path.parent.iterdir()) == ["provenance.json", "rounds.csv"]


@pytest.mark.parametrize(
    ("old", "new", "signed", "message"),
    [
        ("a,2", "a", True, r"rounds\.csv:3: 1 fields, not 2; make it again with: suite run trial"),
        ("a,2", "a,2,3", True, r"rounds\.csv:3: 3 fields, not 2"),
        ("a,2", "", True, r"rounds\.csv:3: 0 fields"),
        ("value", "number", True, r"rounds\.csv has the columns cell, number; expected cell, value"),
        ("a,2", "a,9", False, r"rounds\.csv was changed .*or delete both .* with: suite run trial"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, signed: bool, message: str) -> None:
    """The file, the line if one is at fault, and the command; `signed`: its digest was made anew."""
    path = written(tmp_path, "1", "2", "3")
    path.write_text(path.read_text().replace(old, new))
    if signed:
        records.write_provenance(path.parent, {"runs": []})
    with pytest.raises(UserError, match=message):
        records.read(path, COLUMNS)


def test_a_missing_record_names_others(tmp_path: Path) -> None:
    """Of the same kind, and the command that makes it."""
    written(tmp_path, "1")
    with pytest.raises(UserError, match=r"other/rounds\.csv does not exist; make it with: suite run other; .* trial$"):
        records.read(tmp_path / "other/rounds.csv", COLUMNS)


@pytest.mark.parametrize("content", ["{}", "[]", "", '{"runs": 3}', "[" * 100_000, "NaN"])
def test_damaged_provenance_is_refused(tmp_path: Path, content: str) -> None:
    """Whether digests or runs are asked for."""
    path = written(tmp_path, "1")
    path.with_name("provenance.json").write_text(content)
    with pytest.raises(UserError, match=r"provenance\.json does not say the digest of rounds\.csv"):
        records.read(path, COLUMNS)
    with pytest.raises(UserError, match=r"provenance\.json is damaged"):
        records.runs(path.parent)
    assert records.stated(path.parent, "study") is None
    if not content.startswith("{"):
        with pytest.raises(UserError, match=r"provenance\.json is damaged"):
            records.state(path.parent, {"study": "trial"})


def test_runs_are_merged() -> None:
    """Equal runs are one; what is made anew leaves its earlier run; what is not kept goes; oldest first."""
    first, second = {"started": "1", "commit": "a"}, {"started": "2", "commit": "b"}
    earlier = [second | {"cells": ["x", "y"]}, first | {"cells": ["u", "v", "w"]}]
    merged = records.merge(earlier, {"x": first, "z": first}, kept=["u", "v", "x", "z"])
    assert merged == [first | {"cells": ["u", "v", "x", "z"]}]
    assert records.merge(earlier, {"w": second})[1] == second | {"cells": ["x", "y", "w"]}
    assert records.merge([first | {"models": [["a", "b"]]}], {("a", "b"): second}, made_key="models") == [
        second | {"models": [("a", "b")]}
    ]


@pytest.mark.parametrize("name", ["quickstart", "digits-segmentation", "export", "imagenet-vitl-speed"])
def test_committed_provenance_is_rewritten_to_the_byte(name: str, tmp_path: Path) -> None:
    """Merging nothing changes nothing, and every digest is that of a committed record."""
    folder = tmp_path / name
    shutil.copytree(RESULTS / name, folder)
    committed = (folder / "provenance.json").read_bytes()
    said = json.loads(committed)
    key = "models" if name == "export" else "cells"
    said[records.DIGESTS] = {}
    records.write_provenance(folder, said | {"runs": records.merge(records.runs(folder), {}, made_key=key)})
    assert (folder / "provenance.json").read_bytes() == committed


@pytest.mark.parametrize("name", COMMANDS)
def test_a_committed_table_is_made_from_its_record(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `suite table`, to the byte in every format; of an edited record, or without one, its command is named."""
    for folder in ("studies", "results/published", f"results/{name}"):
        shutil.copytree(RESULTS.parent / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    folder, command = Path("results") / name, COMMANDS[name]
    for table in FORMATS:
        (folder / table).unlink()
    assert CliRunner().invoke(app, ["table", name]).exit_code == 0
    for table in FORMATS:
        assert (folder / table).read_bytes() == (RESULTS / name / table).read_bytes(), table
    record = folder / kind_of(folder).record
    record.write_text(record.read_text().replace("1", "2", 1))
    edited = CliRunner().invoke(app, ["table", name]).exception
    assert re.search(rf"{record} was changed after it was written: .* restore it, or .* with: {command}$", str(edited))
    for path in folder.glob("*.csv"):
        path.unlink()
    gone = CliRunner().invoke(app, ["table", name]).exception
    assert re.search(rf"{folder} has no record; make it with: .*{command}", str(gone))
