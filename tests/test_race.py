"""The race against official code: its record, its table, and two planted official codes, one of them wrong."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest
from rich.console import Console

from suite.errors import UserError
from suite.kinds.official import record
from suite.kinds.official.race import Options, run
from suite.kinds.official.record import SETTING, keep, lines
from suite.kinds.official.table import COLUMNS, cells, facts, label, official_table
from suite.report.trace import trace

COMMITTED = Path(__file__).parents[1] / "results/official-speed"
OFFICIAL = '''"""Code that merges tokens, in place of the official one."""

import torch

from suite.reduction.model import reduce


class patch:
    def timm(model, prop_attn):
        reduced = reduce(model, "tome", (13,) * 12, {"proportional_attention": prop_attn}).deploy().eval()
        model.forward = lambda images: reduced(images) * SCALE
'''


def rows(case: str, ratios: list[float]) -> tuple[record.Rows, record.Rows]:
    """Rounds and operators of one launch."""
    setting = dict(zip(SETTING, (case, 1, "cpu", "float32", 1), strict=True))
    rounds = [
        setting | {"launch": 0, "others_cores": 0.5, "round": index, "ratio": ratio}
        for index, ratio in enumerate(ratios)
    ]
    operators = [setting | {"side": side, "operator": "aten::mm", "share": 0.5} for side in ("official", "own")]
    return rounds, [*operators, operators[0] | {"operator": "aten::copy_", "share": 0.25}]


def test_what_is_behind_a_number() -> None:
    """Its rounds, and the run that provenance names; every column says how it is made."""
    settings = lines(COMMITTED)
    own = next(one for one in settings if label(one) == "cropr-s 16 [cpu, float32, 1]")
    (used,) = cells(COMMITTED, settings, own, "ratio", "ratio_median")
    (row,) = [
        row
        for row in official_table("x", settings).rows()
        if (row.values["case"], row.values["batch"]) == ("cropr-s", "16")
    ]
    assert row.values["ratio"] == median(used.values)
    runs = json.loads((COMMITTED / "provenance.json").read_text())["runs"]
    assert sum(used.cell_id in run["settings"] for run in runs) == 1
    assert all(column.how for column in COLUMNS)
    found = trace("official-speed:cropr-s 16:ours / official", COMMITTED.parent)
    assert (found.shown, found.cells, found.unknown) == (f"{median(used.values):.2f}x", (used,), ())
    assert found.runs[0]["processor"]
    with pytest.raises(UserError, match="has no row 'copr-s 16'; did you mean cropr-s 16"):
        trace("official-speed:copr-s 16:IQR", COMMITTED.parent)
    assert facts(COMMITTED, settings).headline.startswith("On cpu, this suite runs 0.99x to 1.11x as fast")


def test_a_record_of_another_name_is_not_lost(tmp_path: Path) -> None:
    """Rounds once were in `rounds.csv`."""
    (tmp_path / "rounds.csv").write_text("case\n")
    with pytest.raises(UserError, match=r"rounds.csv is called race.csv now; rename it"):
        record.check(tmp_path)


def test_a_later_race_replaces_its_own_settings_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds, operators and runs."""
    for started, case, ratio in (("1", "a", 1.0), ("2", "b", 2.0), ("3", "a", 3.0)):
        monkeypatch.setattr(record, "provenance", lambda started=started: {"started": started})
        keep(*rows(case, [ratio, ratio]), tmp_path)
    found = {one.case: float(one.rounds[0]["ratio"]) for one in lines(tmp_path)}
    assert found == {"a": 3.0, "b": 2.0}
    runs = json.loads((tmp_path / "provenance.json").read_text())["runs"]
    assert [(run["started"], run["settings"]) for run in runs] == [
        ("2", ["b 1 cpu float32 1"]),
        ("3", ["a 1 cpu float32 1"]),
    ]
    assert [row.values["needed"] for row in official_table("x", lines(tmp_path)).rows()] == [(50.0, 50.0)] * 2


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "wrong"), [(1.0, False), (1.001, True)])
def test_planted_official_code_is_raced(tmp_path: Path, scale: float, wrong: bool) -> None:
    """Equal logits are timed and kept; logits that are off by a thousandth are refused."""
    (tmp_path / "tome").mkdir()
    (tmp_path / "tome/__init__.py").write_text(OFFICIAL.replace("SCALE", str(scale)))
    options = Options({"tome": tmp_path}, cases=["tome-s"], batches=[1], rounds=2, seconds=0.0, launches=1)
    out = tmp_path / "results"
    if wrong:
        with pytest.raises(UserError, match=r"tome-s: logits differ by .*; at most 0\.0002 is allowed"):
            run(options, out, Console(quiet=True))
        return
    run(options, out, Console(quiet=True))
    (setting,) = lines(out)
    assert (setting.name, len(setting.rounds)) == ("tome-s 1 cpu float32 1", 2)
    assert {row["side"] for row in setting.operators} == {"official", "own"}


def test_official_code_that_cannot_be_imported_shows_its_last_line(tmp_path: Path) -> None:
    """Without the traceback of its process."""
    (tmp_path / "tome").mkdir()
    (tmp_path / "tome/__init__.py").write_text("import a_module_that_is_not_there")
    options = Options({"tome": tmp_path}, cases=["tome-s"], batches=[1], launches=1)
    with pytest.raises(UserError) as error:
        run(options, tmp_path / "results", Console(quiet=True))
    found = "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"
    assert str(error.value) == f"the official code of tome-s ended with exit code 1: {found}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options({}), r"no official code; give --code NAME=FOLDER, NAME one of cropr, evit, tome, idlevit"),
        (Options({"tomee": Path()}), r"unknown code 'tomee'; did you mean tome"),
        (Options({"tome": Path()}, cases=["evit-s"]), r"evit-s: no official code; give --code evit=FOLDER"),
        (
            Options({"tome": Path("nowhere")}),
            r"nowhere is no checkout of tome's .*: it has neither tome/ nor tome.py; .* as --code tome=FOLDER",
        ),
        (Options({"tome": Path()}, cases=["tome-x"]), r"unknown case 'tome-x'; did you mean tome-"),
    ],
)
def test_what_cannot_be_raced_is_named(options: Options, message: str, tmp_path: Path) -> None:
    """With what would work."""
    with pytest.raises(UserError, match=message):
        run(options, tmp_path, Console(quiet=True))
