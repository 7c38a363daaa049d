"""`suite trace`: what stands behind a number is what makes it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from statistics import median

import pytest
from test_report import cell, speed
from typer.testing import CliRunner

from suite.cli import app
from suite.errors import UserError
from suite.report.batches import Speed
from suite.report.export import read_findings
from suite.report.export_table import export_table
from suite.report.scores import Score
from suite.report.speeds import summarise
from suite.report.speeds_table import speed_table
from suite.report.study_table import columns
from suite.report.summary import Line
from suite.report.trace import trace
from suite.report.trace.study import origins
from suite.study import record
from suite.study.load import load_speed
from suite.study.speed_rounds import asked_for, read_rounds

ROOT = Path(__file__).parents[1]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of a study with two rows, in two runs of which one failed a cell."""
    rows = [
        *(row for seed in range(3) for row in cell("random", seed, 70.0 + seed)),
        *(row for seed in range(2) for row in cell("good", seed, 80.0 + seed)),
        *cell("good", 2, None),
        *speed("good", [1.9, 2.0, 2.2]),
    ]
    runs = [
        {"command": "suite run trial", "commit": "abc", "versions": {"torch": "2"}, "cells": ["good-0", "random-0"]},
        {"command": "suite run trial", "commit": "def", "versions": {"torch": "3"}, "cells": ["good-1", "good-speed"]},
    ]
    record.write_csv(tmp_path / "trial" / "cells.csv", rows, {"runs": runs})
    (tmp_path / "trial" / "table.csv").write_text("")
    return tmp_path


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


def test_a_comparison_has_the_cells_of_its_control_too(results: Path) -> None:
    """Seeds of both."""
    found = trace("trial:good:beats random", results)
    assert found.shown == "2 of 2"
    assert trace("trial:good:p (Holm)", results).cells == found.cells
    group = {one.row for one in trace("trial:random:group", results).cells}
    assert group == {"good", "random"}
    assert [one.cell_id for one in found.cells] == ["good-0", "good-1", "good-2", "random-0", "random-1", "random-2"]


def test_speed_has_every_round(results: Path) -> None:
    """In order."""
    (only,) = trace("trial:good:speed", results).cells
    assert (only.cell_id, only.values) == ("good-speed", (1.9, 2.0, 2.2))


def test_a_speed_that_is_not_to_be_trusted_says_why(results: Path) -> None:
    """With the speed, whose mark sends the reader here, and with nothing else."""
    doubt = "not to be trusted"
    assert doubt not in trace("trial:good:speed", results).facts
    rows = [*cell("good", 0, 80.0), *speed("good", [1.9, 2.0, 2.2], "the clock jumped")]
    record.write_csv(results / "trial" / "cells.csv", rows, {"runs": []})
    assert trace("trial:good:speed", results).facts[doubt] == "the clock jumped"
    assert doubt not in trace("trial:good:acc. %", results).facts


def test_columns_are_found_by_heading_key_and_csv_name(results: Path) -> None:
    """And rows by label."""
    assert {trace(f"trial:good:{name}", results).shown for name in ("acc. %", "score", "accuracy_median")} == {"80.5"}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("trail:good:score", "has no table 'trail'; did you mean trial?"),
        ("trial:goo:score", "the table trial has no row 'goo'; did you mean good?"),
        ("trial:good:spede", "the table trial has no column 'spede'; did you mean speed"),
        ("trial:good", "'trial:good' is no address; write TABLE:ROW:COLUMN"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest_names(results: Path, address: str, message: str) -> None:
    """Table, row or column."""
    with pytest.raises(UserError, match=re.escape(message)):
        trace(address, results)


def test_a_published_score_has_its_source(results: Path) -> None:
    """Beside the cells it is compared with."""
    (results / "published").mkdir()
    said = Score("trial", "good", "", "80.4", "%", "5", "median", "Paper, Table 1", "a source", "primary")
    (results / "published/scores.csv").write_text(",".join(Score._fields) + "\n" + ",".join(f'"{x}"' for x in said))
    found = trace("trial:good:verdict", results)
    assert found.shown == "agrees, n = 2"
    assert (found.facts["value"], found.facts["source"], found.facts["where"]) == ("80.4", "a source", "Paper, Table 1")
    assert "source" not in trace("trial:good:score", results).facts
    printed = trace("trial:good:published", results)
    assert (printed.shown, printed.facts["source"]) == ("80.4", "a source")
    assert (printed.cells, printed.runs, printed.unknown) == ((), (), ()), "no cell made a published number"


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_every_number_that_is_shown_can_be_traced(task: str) -> None:
    """A new column must say what it is made of."""
    line = Line("a", "a", "", "a", task, None, 0, None, None, None, None, "", "", further=(Speed(1),))
    shown = {column.key for column in columns([line]) if column.heading and column.key != "label"}
    assert shown == set(origins(line))


def test_a_cost_has_source_model_and_formula() -> None:
    """From the committed table."""
    found = trace("costs:tome-t3-vit-l-r-8:full", ROOT / "results")
    assert found.shown.startswith("gmacs_full 30.96")
    assert found.facts["value"] == "31.0"
    assert found.facts["source"].startswith("paper table")
    assert '"method":"tome"' in found.facts["computed_as"]
    assert "2 T T Q" in found.facts["formula"]
    with pytest.raises(UserError, match="did you mean tome-t3-vit-l-r-8"):
        trace("costs:tome-t3-vit-l-r8:full", ROOT / "results")


def test_a_measured_speed_has_every_round_and_its_machine() -> None:
    """Of the committed study of speed: the median of the values is the number; a second row stands beside the first."""
    address = "imagenet-vitl-speed:ViT-L/16 cropr R=8 LLF"
    found = trace(f"{address}:measured", ROOT / "results")
    (only,) = found.cells
    assert found.shown == f"{median(only.values):.2f}x"
    assert len(only.values) == 5
    (run,) = found.runs
    assert run["cells"] == [only.cell_id]
    assert run["device"] in found.facts["measured on"]
    beside = trace(f"{address}:beside", ROOT / "results")
    assert [one.row for one in beside.cells] == ["cropr R=8 LLF", "random R=8 LLF"]
    own, other = (one.values for one in beside.cells)
    assert beside.shown.startswith(f"{median(a / b for a, b in zip(own, other, strict=True)):.2f}x")
    eager = trace(f"{address}:vs eager", ROOT / "results")
    assert eager.shown.startswith(f"{median(eager.cells[0].values):.2f}x")
    assert eager.cells[0].values != only.values
    assert trace(f"{address}:by MACs", ROOT / "results").shown == f"{found_macs(only.cell_id):.2f}x"


def found_macs(cell_id: str) -> float:
    """How much faster a row would be by its multiply-accumulates, as the record says."""
    with (ROOT / "results/imagenet-vitl-speed/rounds.csv").open(newline="") as file:
        (ratio,) = {float(row["macs_ratio"]) for row in csv.DictReader(file) if row["cell_id"] == cell_id}
    return ratio


def test_a_published_speed_has_its_source_and_an_unmeasured_one_says_why() -> None:
    """Also of rows that nothing here can run."""
    printed = trace("imagenet-vitl-speed:ViT-L/16 cropr R=8 LLF:published", ROOT / "results")
    assert (printed.cells, printed.runs) == ((), ())
    assert printed.facts["file"] == "results/published/speed.csv"
    assert {"source", "evidence", "id", "throughput"} <= printed.facts.keys()
    with pytest.raises(UserError, match="ATS R=8 pool=cls has no measured: not available"):
        trace("imagenet-vitl-speed:ViT-L/16 ATS R=8 pool=cls:measured", ROOT / "results")
    with pytest.raises(UserError, match="no column 'mesured'; did you mean measured"):
        trace("imagenet-vitl-speed:ViT-L/16 cropr R=8 LLF:mesured", ROOT / "results")


def test_an_exported_model_has_its_line_and_run() -> None:
    """Of the committed record, by headings of the table and names of its CSV; of every way where it is of all."""
    row = "export:segmentation ViT-Ti cropr + last-layer"
    with (ROOT / "results/export/findings.csv").open(newline="") as file:
        own = [line for line in csv.DictReader(file) if line["task"] == "segmentation" and line["method"] == "cropr"]
    lines = {line["path"]: line for line in own if line["fusion"] == "last-layer"}
    found = trace(f"{row}:speed, ONNX", ROOT / "results")
    assert found.shown == f"{float(lines['ONNX Runtime']['speed_median']):.2f}x"
    assert found.facts.items() >= {key: value for key, value in lines["ONNX Runtime"].items() if value}.items()
    (run,) = found.runs
    assert run["versions"]["torch"]
    assert run["cells"] == [["segmentation", "ViT-Ti", "cropr", "last-layer"]]
    status, reason = (trace(f"{row}:compile_{field}", ROOT / "results").shown for field in ("status", "reason"))
    assert (status, reason) == (lines["torch.compile"]["status"], "–")
    worst = trace(f"{row}:same class", ROOT / "results")
    assert worst.facts.items() >= {path: line["same_class"] for path, line in lines.items()}.items()
    with pytest.raises(UserError, match=r"the table export has no row .*did you mean segmentation ViT-Ti cropr"):
        trace("export:segmentation ViT-Ti copr + last-layer:ONNX", ROOT / "results")
    with pytest.raises(UserError, match="the table export has no column 'ONX'; did you mean ONNX"):
        trace(f"{row}:ONX", ROOT / "results")


def test_every_number_of_the_committed_tables_can_be_traced() -> None:
    """Of speeds and of the matrix: what the table shows is what `suite trace` shows."""
    for name, study in (("imagenet-vitl-speed", load_speed("imagenet-vitl-speed")), ("export", None)):
        folder = ROOT / "results" / name
        if study is None:
            table = export_table(name, read_findings(folder))
        else:
            table = speed_table(name, study, summarise(study, asked_for(study, read_rounds(folder))[0]))
        row = list(table.rows())[4]
        words = ("task", "backbone", "label") if study is None else ("backbone", "row")
        address = f"{name}:{' '.join(row.values[word] for word in words)}"
        for column in table.shown("long"):
            if column.align == "right" and column.heading != "batch":
                assert trace(f"{address}:{column.heading}", ROOT / "results").shown.startswith(
                    row.text(column).removesuffix(" ‡")
                ), column.heading


def test_the_command_prints_commit_versions_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the committed segmentation study, by the address in the documentation."""
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["trace", "digits-segmentation:cropr + last-layer:mIoU %"])
    assert done.exit_code == 0, done.output
    origin = json.loads((ROOT / "results/digits-segmentation/provenance.json").read_text())
    for run in origin["runs"]:
        if f"commit: {run['commit']}" in done.output:
            assert f"torch {run['versions']['torch']}" in done.output
            assert f"device: {run['device']}" in done.output
            break
    else:
        pytest.fail("no commit is named")
    ids = set(re.findall(r"\b[0-9a-f]{16}\b", done.output))
    known = {cell for run in origin["runs"] for cell in run["cells"]}
    assert len(ids & known) == 6
