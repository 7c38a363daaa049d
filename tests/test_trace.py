"""`suite trace`: what stands behind a number is what makes it."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from hand_made import cell, cells, speed, written
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.training.columns import columns
from suite.kinds.training.line import Line
from suite.kinds.training.row_cells import Speed
from suite.report.layout import MISSING
from suite.report.trace import trace, trace_in
from suite.study.kind import kind_of, kinds

ROOT = Path(__file__).parents[1]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of a study with two rows, in two runs of which one failed a cell."""
    rows = [
        *cells("random", 70, 71, 72),
        *cells("good", 80, 81),
        *cell("good", 2, None),
        *speed("good", [1.9, 2.0, 2.2]),
    ]
    runs = [
        {"command": "suite run trial", "commit": "abc", "versions": {"torch": "2"}, "cells": ["good-0", "random-0"]},
        {"command": "suite run trial", "commit": "def", "versions": {"torch": "3"}, "cells": ["good-1", "good-speed"]},
    ]
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "results", rows, {"runs": runs})
    (tmp_path / "results/trial/table.csv").write_text("")
    return tmp_path / "results"


def test_a_score_has_its_cells_seeds_values_and_runs(results: Path) -> None:
    """The median of the values is the number; the failed seed is there without one; runs name just these cells."""
    found = trace("trial:good:acc. %", results)
    assert found.shown == "80.5"
    assert [(one.cell_id, one.seed, one.status, one.values) for one in found.cells] == [
        ("good-0", "0", "done", (80.0,)),
        ("good-1", "1", "done", (81.0,)),
        ("good-2", "2", "failed", ()),
    ]
    assert median(value for one in found.cells for value in one.values) == float(found.shown)
    assert [(run["commit"], run["cells"]) for run in found.runs] == [("abc", ["good-0"]), ("def", ["good-1"])]
    assert found.unknown == ("good-2",)
    assert found.facts["metric"] == "acc1_last"
    assert found.facts["in table.csv"] == "score_median 80.5"


def test_a_comparison_has_the_cells_of_its_control_too(results: Path) -> None:
    """Seeds of both; a group those of the whole schedule."""
    found = trace("trial:good:beats random", results)
    assert found.shown == "2 of 3", "the seed that failed did not beat random"
    marked = trace("trial:good †:p_wilcoxon", results)
    assert marked.cells == found.cells, "named with the mark that the table has at it"
    assert trace("trial:good:improvement_low", results).cells == found.cells
    assert {one.row for one in trace("trial:random:group", results).cells} == {"good", "random"}
    assert [one.cell_id for one in found.cells] == ["good-0", "good-1", "good-2", "random-0", "random-1", "random-2"]


@pytest.mark.parametrize("column", ["p (Holm)", "gap_low"])
def test_a_corrected_p_has_the_cells_of_all_comparisons(column: str, results: Path) -> None:
    """Of every schedule, and says how many comparisons; a row that could not be tested takes no part."""
    rows = [row for name in ("random", "good", "other") for row in cells(name, 70, 71, 72)]
    rows += [row | {"schedule": "a", "cell_id": f"{row['cell_id']}-a"} for row in rows]
    rows += cell("single", 0, 75.0)
    written(results, rows, {"runs": []})
    found = trace(f"trial:good [a]:{column}", results)
    labels = {f"{name} [{schedule}]" for name in ("random", "good", "other") for schedule in ("8 8 0", "a")}
    assert {one.row for one in found.cells} == labels
    assert len(found.cells) == 18
    assert "for the 4 comparisons in focus" in found.facts["made"]
    assert "for the 4 comparisons in focus" not in trace("trial:good [a]:p_wilcoxon", results).facts["made"]
    with pytest.raises(UserError, match="no row 'good'"):
        trace("trial:good:p_holm", results)


def test_speed_has_every_round_and_its_timing_warnings(results: Path) -> None:
    """In order; warnings stand with the speed and with nothing else."""
    (only,) = trace("trial:good:speed", results).cells
    assert (only.cell_id, only.values) == ("good-speed", (1.9, 2.0, 2.2))
    assert "timing warnings" not in trace("trial:good:speed", results).facts
    rows = [*cell("good", 0, 80.0), *speed("good", [1.9, 2.0, 2.2], "the clock jumped")]
    written(results, rows, {"runs": []})
    assert trace("trial:good:speed", results).facts["timing warnings"] == "the clock jumped"
    assert "timing warnings" not in trace("trial:good:acc. %", results).facts


@pytest.mark.parametrize("study", ["quickstart", "costs", "imagenet-vitl-speed", "export"])
def test_every_heading_and_field_is_what_the_committed_table_says(study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last digit of the CSV, for one row in the middle; each says how it is made."""
    monkeypatch.chdir(ROOT)
    folder = ROOT / "results" / study
    kind = kind_of(folder)
    lines = kind.lines(folder)
    table, place = kind.table(study, lines), len(lines) // 2
    label, row = kind.label(lines[place]), list(table.rows())[place]
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        fields = list(csv.DictReader(file))[place]
    headed = {column.heading: row.text(column) for column in table.columns if column.heading}
    kept = replace(kind, lines=lambda _: lines, table=lambda *_: table, cells=lambda *_: ())  # not made for each number
    for name, text in ({field: value or MISSING for field, value in fields.items()} | headed).items():
        found = trace_in(folder, kept, label, name)
        assert found.shown == (text or MISSING), name
        assert found.facts["made"], name
        said = found.facts.get("in table.csv", "")
        assert name not in headed or name not in fields or f"{name} {fields[name] or MISSING}" in said, name


@pytest.mark.parametrize("kind", ["speed", "costs", "export"])
def test_every_column_says_how_it_is_made(kind: str) -> None:
    """And so does each of its fields, of a study with training too."""
    assert kind in kinds()
    module = __import__(f"suite.kinds.{kind}.table", fromlist=["COLUMNS"])
    line = Line("a", "a", "", "a", "classification", None, 0, None, None, (Speed(2), Speed(1)))
    for column in (*module.COLUMNS, *columns([line])):
        assert column.how, column.key
        assert not column.parts or len(column.parts) == len(column.fields), column.key


@pytest.mark.parametrize(
    ("name", "quantile", "made"),
    [
        ("score_low", 0.25, "first quartile over the seeds"),
        ("score_median", 0.5, "median over the seeds"),
        ("speed_low", 0.25, "first quartile over the rounds"),
        ("eager_high", 0.75, "third quartile over the rounds"),
        ("speed_batch_1_median", 0.5, "median over the rounds"),
    ],
)
def test_how_a_field_is_made_makes_it_from_its_cells(
    name: str, quantile: float, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recomputed from the values that are listed."""
    monkeypatch.chdir(ROOT)
    found = trace(f"quickstart:cropr:{name}")
    values = [value for one in found.cells for value in one.values]
    assert float(found.shown) == pytest.approx(np.quantile(values, quantile))
    assert found.facts["made"].startswith(made)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("trail:good:seeds", "has no table 'trail'; did you mean trial?"),
        ("trial:goo:seeds", "the table trial has no row 'goo'; did you mean good?"),
        ("trial:good:spede", "the table trial has no column 'spede'; did you mean speed"),
        ("trial:good:uncorrected", "no column 'uncorrected'"),
        ("trial:good", "'trial:good' is no address; write TABLE:ROW:COLUMN"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest_names(results: Path, address: str, message: str) -> None:
    """Table, row or column; without any table it says how to make one."""
    with pytest.raises(UserError, match=re.escape(message)):
        trace(address, results)
    with pytest.raises(UserError, match=r"has no tables here, in .*; make one with: suite run STUDY|is no address"):
        trace(address, results / "trial")


def test_a_published_score_has_its_source(results: Path) -> None:
    """Beside the cells it is compared with."""
    (results / "published").mkdir()
    (results / "published/scores.csv").write_text(
        'study,row,value,unit,where,source,evidence\ntrial,good,80.4,%,"Paper, Table 1",a source,primary\n'
    )
    found = trace("trial:good:verdict", results)
    assert found.shown == "agrees, n = 2"
    assert (found.facts["value"], found.facts["source"], found.facts["where"]) == ("80.4", "a source", "Paper, Table 1")
    assert "source" not in trace("trial:good:acc. %", results).facts
    printed = trace("trial:good:published", results)
    assert (printed.shown, printed.facts["source"]) == ("80.4", "a source")
    assert (printed.cells, printed.runs, printed.unknown) == ((), (), ()), "no cell made a published number"


def test_a_cost_has_source_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the committed record."""
    monkeypatch.chdir(ROOT)
    found = trace("costs:tome-t3-vit-l-r-8:gmacs_full")
    assert found.shown.startswith("30.96")
    assert found.facts["value"] == "31.0"
    assert found.facts["source"].startswith("paper table")
    assert '"method":"tome"' in found.facts["computed_as"]
    with pytest.raises(UserError, match="did you mean tome-t3-vit-l-r-8"):
        trace("costs:tome-t3-vit-l-r8:full")


@pytest.mark.slow
def test_a_measured_speed_has_every_round_and_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the committed study of speed: the median of the values is the number; the row compared to stands beside."""
    monkeypatch.chdir(ROOT)
    address = "imagenet-vitl-speed:ViT-L/16 cropr R=8 LLF"
    found = trace(f"{address}:measured")
    (only,) = found.cells
    assert found.shown == f"{median(only.values):.2f}x"
    assert len(only.values) == 5
    (run,) = found.runs
    assert run["cells"] == [only.cell_id]
    assert run["device"] in found.facts["measured on"]
    beside = trace(f"{address}:compare_to_median")
    assert [one.row for one in beside.cells] == ["cropr R=8 LLF", "random R=8 LLF"]
    own, other = (one.values for one in beside.cells)
    assert float(beside.shown) == pytest.approx(median(a / b for a, b in zip(own, other, strict=True)))


@pytest.mark.slow
def test_a_published_speed_has_its_source_and_an_unmeasured_one_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of rows that nothing here can run."""
    monkeypatch.chdir(ROOT)
    printed = trace("imagenet-vitl-speed:ViT-L/16 cropr R=8 LLF:published")
    assert (printed.cells, printed.runs) == ((), ())
    assert {"source", "evidence", "id", "throughput"} <= printed.facts.keys()
    never = trace("imagenet-vitl-speed:ViT-L/16 ATS R=8 pool=cls:measured")
    assert (never.shown, never.cells) == ("excluded", ())
    assert never.facts["status"] == "excluded"
    assert never.facts["note"]


def test_an_exported_model_has_its_line_and_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the committed record, by headings of the table and names of its CSV."""
    monkeypatch.chdir(ROOT)
    row = "export:segmentation ViT-Ti cropr + last-layer"
    with (ROOT / "results/export/findings.csv").open(newline="") as file:
        own = [line for line in csv.DictReader(file) if line["task"] == "segmentation" and line["method"] == "cropr"]
    lines = {line["path"]: line for line in own if line["fusion"] == "last-layer"}
    found = trace(f"{row}:speed, ONNX")
    assert found.shown == f"{float(lines['ONNX Runtime']['speed_median']):.2f}x"
    assert [one.values for one in found.cells] == [(float(lines["ONNX Runtime"]["speed_median"]),)]
    (run,) = found.runs
    assert (run["versions"]["torch"] != "", run["cells"]) == (True, ["segmentation ViT-Ti cropr last-layer"])
    with pytest.raises(UserError, match=r"the table export has no row .*did you mean segmentation ViT-Ti cropr"):
        trace("export:segmentation ViT-Ti copr + last-layer:ONNX")


def test_the_command_prints_commit_versions_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the committed segmentation study, by the address in the documentation."""
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["trace", "digits-segmentation:cropr + last-layer:mIoU %"])
    assert done.exit_code == 0, done.output
    origin = json.loads((ROOT / "results/digits-segmentation/provenance.json").read_text())
    run = next(run for run in origin["runs"] if f"commit: {run['commit']}" in done.output)
    assert f"torch {run['versions']['torch']}" in done.output
    assert f"device: {run.get('device', 'not recorded')}" in done.output
    ids = set(re.findall(r"\b[0-9a-f]{16}\b", done.output))
    assert len(ids & {cell for run in origin["runs"] for cell in run["cells"]}) == 6


@pytest.mark.parametrize("claimed", [None, 5, [["a", 1]], [None]])
def test_a_run_that_claims_no_cells_is_a_damaged_record(results: Path, claimed: object) -> None:
    """The file is named, and what makes it again."""
    path = results / "trial/provenance.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["runs"][0]["cells"] = claimed
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"provenance.json is damaged \(TypeError: .*\); make it again with: suite run tr"
    ):
        trace("trial:good:acc. %", results)
