"""`suite trace`: what stands behind a number is what makes it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from statistics import median
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from suite.kinds.training.origins import origins
from test_report import cell, speed
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.speed.lines import summarise as summarise_speeds
from suite.kinds.speed.rounds import asked_for, read_rounds
from suite.kinds.speed.table import speed_table
from suite.kinds.training.speed_by_batch import Speed
from suite.kinds.training.summary import Line, read_record, summarise
from suite.kinds.training.table import columns
from suite.report.render import ENCODING
from suite.report.trace import trace
from suite.study import store
from suite.study.load import load

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
    store.write_csv(tmp_path / "trial" / "cells.csv", rows, {"runs": runs})
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
    assert found.shown == "2 of 3", "the seed that failed did not beat random"
    assert trace("trial:good:p", results).cells == found.cells
    assert trace("trial:good †:p", results).cells == found.cells, "named with the mark that the table has at it"
    assert trace("trial:good:improvement_low", results).cells == found.cells
    group = trace("trial:random:group", results)
    assert {one.row for one in group.cells} == {"good", "random"}
    assert "corrected after Holm for all these pairs" in group.facts["made"]
    assert [one.cell_id for one in found.cells] == ["good-0", "good-1", "good-2", "random-0", "random-1", "random-2"]


@pytest.mark.parametrize("column", ["p (Holm)", "p_holm", "smallest p", "smallest_p_holm"])
def test_a_corrected_p_has_the_cells_of_all_comparisons(column: str, results: Path) -> None:
    """Of every schedule, and says how many comparisons; a row that could not be tested takes no part."""
    rows = [row for name in ("random", "good", "other") for seed in range(3) for row in cell(name, seed, 70.0 + seed)]
    rows += [row | {"schedule": "a", "cell_id": f"{row['cell_id']}-a"} for row in rows]
    rows += cell("single", 0, 75.0)
    store.write_csv(results / "trial" / "cells.csv", rows, {"runs": []})
    found = trace(f"trial:good [a]:{column}", results)
    labels = {f"{name} [{schedule}]" for name in ("random", "good", "other") for schedule in ("8 8 0", "a")}
    assert {one.row for one in found.cells} == labels
    assert len(found.cells) == 18
    assert "for all 4 comparisons with a control" in found.facts["made"]
    assert "for all 4 comparisons" not in trace("trial:good [a]:p", results).facts["made"]


def test_speed_has_every_round(results: Path) -> None:
    """In order."""
    (only,) = trace("trial:good:speed", results).cells
    assert (only.cell_id, only.values) == ("good-speed", (1.9, 2.0, 2.2))


def test_a_speed_that_is_not_to_be_trusted_says_why(results: Path) -> None:
    """With the speed, whose mark sends the reader here, and with nothing else."""
    doubt = "not to be trusted"
    assert doubt not in trace("trial:good:speed", results).facts
    rows = [*cell("good", 0, 80.0), *speed("good", [1.9, 2.0, 2.2], "the clock jumped")]
    store.write_csv(results / "trial" / "cells.csv", rows, {"runs": []})
    assert trace("trial:good:speed", results).facts[doubt] == "the clock jumped"
    assert doubt not in trace("trial:good:acc. %", results).facts


def drawn(table: str) -> list[dict[str, str]]:
    """Texts of each row of a committed `table.html`, by heading."""
    text = (ROOT / "results" / table / "table.html").read_text(encoding="utf-8").removeprefix(ENCODING)
    page = Xml.fromstring(text)  # noqa: S314  (our own)
    head, *rows = [["".join(one.itertext()) for one in row] for row in page.iter("tr")]
    return [dict(zip(head, row, strict=True)) for row in rows if len(row) == len(head)]


def exact(table: str) -> list[dict[str, str]]:
    """Fields of each row of a committed `table.csv`."""
    with (ROOT / "results" / table / "table.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", ["cropr", "none"])
def test_every_heading_and_field_of_a_study_is_what_its_table_says(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last digit of the committed files; a heading comes before a field of the same name, which it says too."""
    lines = summarise(read_record(ROOT / "results/quickstart"))
    monkeypatch.setattr("suite.kinds.training.trace.summarise", lambda _: lines)  # a second, each time
    texts = next(texts for texts in drawn("quickstart") if texts["method"].partition(" ")[0] == row)
    fields = next(fields for fields in exact("quickstart") if fields["row"] == row)
    hidden = {column.heading for column in columns(lines) if column.heading} - texts.keys()
    assert hidden == {"published", "difference", "verdict"}
    for name, text in (texts | dict.fromkeys(hidden, "–")).items():
        found = trace(f"quickstart:{row}:{name}", ROOT / "results")
        assert found.shown == text, name
        assert found.facts["made"], name
        said = found.facts.get("in table.csv", "").split(", ")
        assert name not in fields or f"{name} {fields[name] or '–'}" in said, name
    for name in fields.keys() - texts.keys() - hidden:
        found = trace(f"quickstart:{row}:{name}", ROOT / "results")
        assert found.shown == (fields[name] or "–"), name
        assert found.facts["made"], name


@pytest.mark.parametrize(
    ("name", "quantile", "made"),
    [
        ("accuracy_low", 0.25, "first quartile over the seeds"),
        ("accuracy_median", 0.5, "median over the seeds"),
        ("speed_low", 0.25, "first quartile over the rounds"),
        ("speed_high", 0.75, "third quartile over the rounds"),
        ("eager_high", 0.75, "third quartile over the rounds"),
        ("speed_batch_1_median", 0.5, "median over the rounds"),
    ],
)
def test_how_a_field_is_made_makes_it_from_its_cells(name: str, quantile: float, made: str) -> None:
    """Recomputed from the values that are listed."""
    found = trace(f"quickstart:cropr:{name}", ROOT / "results")
    values = [value for one in found.cells for value in one.values]
    assert float(found.shown) == pytest.approx(np.quantile(values, quantile))
    assert found.facts["made"].startswith(made)


def test_each_end_of_an_interval_and_each_p_says_what_it_is(results: Path) -> None:
    """Not what is said of the whole."""
    made = {
        name: trace(f"trial:good:{name}", results).facts["made"]
        for name in ("interval_low", "gap_high", "improvement_low", "beats_random", "compared", "p", "n", "seeds")
    }
    assert made["interval_low"] == "lower end of the interval by the bootstrap of the median over the seeds"
    assert made["gap_high"].startswith("upper end of the interval by the bootstrap")
    assert made["improvement_low"].startswith("lower end of the interval of that share")
    assert made["p"].endswith("before Holm's correction")
    assert len(set(made.values())) == len(made)


def test_keys_of_our_own_are_no_names(results: Path) -> None:
    """`score` and `uncorrected` stand in no table."""
    for name in ("score", "uncorrected", "tried", "macs"):
        with pytest.raises(UserError, match=f"no column '{name}'"):
            trace(f"trial:good:{name}", results)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("trail:good:seeds", "has no table 'trail'; did you mean trial?"),
        ("trial:goo:seeds", "the table trial has no row 'goo'; did you mean good?"),
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


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_every_number_that_is_shown_can_be_traced(task: str) -> None:
    """A new column must say what it is made of, and each of its fields."""
    line = Line("a", "a", "", "a", task, None, 0, None, None, None, None, "", "", further=(Speed(1),))
    made = origins(line, [line])
    assert made.keys() == {column.key for column in columns([line])}
    for column in columns([line]):
        parts = made[column.key].parts
        assert len(parts) == (len(column.fields) if len(column.fields) > 1 else 0), column.key


def test_a_cost_has_source_model_and_formula() -> None:
    """From the committed table."""
    found = trace("costs:tome-t3-vit-l-r-8:gmacs_full", ROOT / "results")
    assert found.shown.startswith("30.96")
    assert found.facts["value"] == "31.0"
    assert found.facts["source"].startswith("paper table")
    assert '"method":"tome"' in found.facts["computed_as"]
    assert "2 T T Q" in found.facts["formula"]
    with pytest.raises(UserError, match="did you mean tome-t3-vit-l-r-8"):
        trace("costs:tome-t3-vit-l-r8:full", ROOT / "results")


def test_every_heading_and_field_of_costs_is_what_the_table_says() -> None:
    """Of a change, a count, one with a note, and one that is not computed; a heading comes before a field."""
    figures = list(zip(drawn("costs"), exact("costs"), strict=True))
    wanted = (
        lambda fields: fields["unit"] == "%" and fields["read_as"],
        lambda fields: fields["unit"] == "G" and fields["read_as"],
        lambda fields: fields["read_as"] and fields["note"],
        lambda fields: "with norms" in fields["read_as"],
        lambda fields: fields["verdict"] == "not computed",
    )
    for want in wanted:
        texts, fields = next((texts, fields) for texts, fields in figures if want(fields))
        for name, text in texts.items():
            found = trace(f"costs:{fields['id']}:{name}", ROOT / "results")
            assert found.shown == (text or "–"), name
            assert name not in fields or f"{name} {fields[name] or '–'}" in found.facts["in table.csv"], name
        for name in fields.keys() - texts.keys():
            assert trace(f"costs:{fields['id']}:{name}", ROOT / "results").shown == (fields[name] or "–"), name


@pytest.mark.parametrize(
    "content", [b"[]", b"\xff\xfe\x00", b'{"runs": 5}', b'{"runs": [5]}', b'{"runs": [{"cells": 5}]}']
)
def test_a_damaged_provenance_is_named(content: bytes, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the cure; where the digest is gone too that is said first."""
    path = results / "trial" / "provenance.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"provenance\.json does not say the digest .*suite run trial"):
        trace("trial:good:acc. %", results)
    monkeypatch.setattr("suite.kinds.training.summary.check_unedited", lambda _: None)
    with pytest.raises(UserError, match=r"provenance\.json is damaged .*; write it again with: suite run trial"):
        trace("trial:good:acc. %", results)


def test_without_tables_it_says_so(tmp_path: Path) -> None:
    """And how to make one."""
    with pytest.raises(UserError, match=r"has no tables here, in .*; make one with: suite run STUDY"):
        trace("trial:good:seeds", tmp_path)


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
    beside = trace(f"{address}:compare_to_median", ROOT / "results")
    assert [one.row for one in beside.cells] == ["cropr R=8 LLF", "random R=8 LLF"]
    own, other = (one.values for one in beside.cells)
    assert float(beside.shown) == pytest.approx(median(a / b for a, b in zip(own, other, strict=True)))
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
    never = trace("imagenet-vitl-speed:ViT-L/16 ATS R=8 pool=cls:measured", ROOT / "results")
    assert (never.shown, never.cells) == ("not available", ())
    assert never.facts["made"].startswith("not available, ")
    batch = trace("imagenet-vitl-speed:ViT-L/16 cropr R=8 LLF:batch", ROOT / "results")
    assert (batch.shown, len(batch.cells), len(batch.runs)) == ("4", 1, 1)
    assert "published" not in batch.facts["made"]
    with pytest.raises(UserError, match="no column 'mesured'; did you mean measured"):
        trace("imagenet-vitl-speed:ViT-L/16 cropr R=8 LLF:mesured", ROOT / "results")


def test_every_number_of_the_committed_tables_can_be_traced() -> None:
    """Of speeds: what the table shows is what `suite trace` shows."""
    for name, study in (("imagenet-vitl-speed", load("imagenet-vitl-speed").study),):
        folder = ROOT / "results" / name
        table = speed_table(name, study, summarise_speeds(study, asked_for(study, read_rounds(folder))[0]))
        row = list(table.rows())[4]
        address = f"{name}:{row.values['backbone']} {row.values['row']}"
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
            assert f"device: {run.get('device', 'not recorded')}" in done.output
            break
    else:
        pytest.fail("no commit is named")
    ids = set(re.findall(r"\b[0-9a-f]{16}\b", done.output))
    known = {cell for run in origin["runs"] for cell in run["cells"]}
    assert len(ids & known) == 6
