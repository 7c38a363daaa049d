"""The ledger of published numbers: its states, what it rests on, what is stale, what is refused."""

from __future__ import annotations

import csv
import functools
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from test_house import HEAVY, ROOT
from typer.testing import CliRunner

from suite.cli.app import app
from suite.cli.ledger import check_command
from suite.errors import UserError
from suite.kinds.off_the_shelf.schema import OffTheShelfStudy
from suite.kinds.speed.schema import SpeedStudy
from suite.ledger import build as room
from suite.ledger.asks import NAME, Probe, TableNumber, read_asks
from suite.ledger.build import Entry, compute, read_entries, state_of, table_entries
from suite.ledger.lines import Line, digest, read_lines, stale, write_lines
from suite.ledger.probes import PROBES, probe
from suite.ledger.table import markdown
from suite.ledger.values import measure, value
from suite.study.configuration import Configuration
from suite.study.load import load
from suite.study.published import Number, TableFigure, read_numbers
from suite.study.records import write_provenance

SIZE = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 3}
TINY = Configuration.model_validate({"backbone": {"name": "vit_tiny_patch16_224", "options": SIZE}})
PRUNED = Configuration.model_validate(
    {"backbone": TINY.backbone, "method": "random", "schedule": {"removed": [4, 4, 0]}}
)
KNOWN = {  # a table of that kind
    "imagenet-vitl-speed": "imagenet-vitl-speed",
    "ade20k-eva02": "quickstart",
    **dict.fromkeys(("off-the-shelf", "off-the-shelf-vitl", "off-the-shelf-mae"), "off-the-shelf-dinov2"),
}
ROW = "{study: quickstart, row: cropr, column: n}"
SPEED = TableNumber(study="quickstart", row={"row": "cropr"}, column="speed_median")


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    """Every line of the ledger, computed from the repository's code and records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return compute(read_entries())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def number(**changed: str) -> Number:
    """A published number with all that it needs."""
    words = {"id": "paper-one", "where": "Table 1", "method": "Random", "metric": "tokens", "value": "12"}
    words |= {"unit": "tokens", "source": "a paper", "evidence": "primary", "tolerance": "1", "tolerance_from": "trial"}
    return Number.model_validate(words | {"needs": "a GPU"} | changed)


def write(folder: Path, *numbers: Number, asks: str = "") -> Path:
    """A file of published numbers in `results/published/` of a folder, and what they ask for."""
    path = folder / "results/published/paper.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([Number.model_fields, *([*one.model_dump().values()] for one in numbers)])
    (path.parent / NAME).write_text(asks)
    return path


# ---------------------------------------------------------------- the committed ledger


def test_the_committed_ledger_is_what_code_and_records_give(lines: list[Line], monkeypatch: pytest.MonkeyPatch) -> None:
    """`suite ledger --check` passes; every command on the page exists."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(room, "compute", lambda entries, progress: lines)
    result = CliRunner().invoke(app, ["ledger", "--check"])
    assert result.exit_code == 0, result.output
    assert f"All {len(lines)} entries" in result.output


def test_no_published_number_is_lost(lines: list[Line], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row of a paper's file, and of the study of costs, is a line, with the value that it has there."""
    monkeypatch.chdir(ROOT)
    by_id = {line.id: line for line in lines}
    files = [path for path in Path("results/published").glob("*.csv") if path.name not in ("scores.csv", "speed.csv")]
    rows = [one for path in files for _, one in read_numbers(path, ("id",))]
    assert {one.id for one in rows} == by_id.keys()
    assert all((by_id[one.id].value, by_id[one.id].unit) == (one.value, one.unit) for one in rows)
    assert len(lines) == len(by_id) == 425
    states = {"reproduced": 78, "outside": 2, "not runnable here": 218, "out of scope": 127}
    assert Counter(line.state for line in lines) == states
    for line in lines:
        assert bool(line.measured) == (line.state in ("reproduced", "outside")) == (not line.needs), line.id
        assert bool(line.command) or line.state != "not runnable here", line.id
        assert not line.command or line.state != "out of scope", line.id
        assert line.source
        assert line.tolerance_from
        if line.tolerance_from == "half a unit of the last printed digit":
            assert float(line.tolerance) == 0.5 / 10 ** len(line.value.partition(".")[2]), line.id


def test_parameters_and_tokens_by_hand(lines: list[Line]) -> None:
    """ViT-L/16 and 22 modules of a query, two norms, an MLP of ratio 4 and a head; 22 token counts; removed shares."""
    width, hidden, classes = 1024, 4096, 1000
    mlp = 2 * width * hidden + hidden + width
    block = 4 * width * (width + 1) + mlp + 4 * width
    head = classes * (width + 1)
    vit = (768 + 1) * width + width + 197 * width + 24 * block + 2 * width + head
    found = {line.id: line for line in lines if line.metric == "parameters, in training"}
    assert found["cropr-log-cls-unpruned-params-training"].measured == str(vit)
    modules = 22 * (width + 4 * width + mlp + head)
    assert found["cropr-log-cls-cropr-llf-params-training"].measured == str(vit + modules)
    assert [line.state for line in found.values()] == ["reproduced"] * 4
    tokens = [line for line in lines if line.unit == "tokens"]
    assert [(len(line.measured.split()), line.state) for line in tokens] == [(22, "reproduced")] * 2
    shares = [float(line.measured) for line in lines if line.metric == "TPR" and line.measured]
    assert shares == pytest.approx([100 * 881 / 1024] * 2, abs=1e-3)


def test_figures_of_studies_of_costs_come_from_their_table(lines: list[Line]) -> None:
    """With its verdict; the one that is in both files adds readings."""
    by_id = {line.id: line for line in lines}
    with (ROOT / "results/costs/table.csv").open() as file:
        verdicts = {row["id"]: row["verdict"] for row in csv.DictReader(file)}
    states = {"fits": "reproduced", "near": "outside", "off": "outside", "not computed": "out of scope"}
    assert {name: by_id[name].state for name in verdicts} == {name: states[said] for name, said in verdicts.items()}
    assert "before the third block, full: -75.2" in by_id["cropr-eva02-at-once"].remark


def test_numbers_in_two_files_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds and scores that studies have beside their own are those of the ledger."""
    monkeypatch.chdir(ROOT / "results/published")
    ledger = [one for _, one in read_numbers(Path("cropr.csv"), ("id",))]
    known = {(one.method, one.setting, one.metric): one.value for one in ledger}
    speeds = [one for _, one in read_numbers(Path("speed.csv"), ("id",)) if one.where == "Cropr, Table 1"]
    assert len(speeds) == 2 * 19
    assert all(float(known[one.method, one.setting, one.metric]) == float(one.value) for one in speeds)
    asks, values = read_asks(Path(NAME)), {one.id: one.value for one in ledger}
    fusions = {asks[name][0].row["row"]: values[name] for name in asks if "fusion-ablation" in name and "miou" in name}
    assert fusions == {one.row: one.value for _, one in read_numbers(Path("scores.csv"), ())}


def test_rows_that_are_asked_for_are_in_their_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing is measured yet; their columns are those of another study of that kind."""
    monkeypatch.chdir(ROOT)
    columns = {name: Path(f"results/{name}/table.csv").read_text().split("\n")[0].split(",") for name in KNOWN.values()}
    studies = functools.cache(lambda name: load(name).study)
    asks = [ask for asks in read_asks(Path("results/published") / NAME).values() for ask in asks]
    for ask in (ask for ask in asks if isinstance(ask, TableNumber)):
        study = studies(ask.study)
        if isinstance(study, SpeedStudy):
            rows = {row.name for one in study.backbones for row in one.rows} | {"unpruned"}
        else:
            rows = {row.label for row in study.methods} | ({"none"} if isinstance(study, OffTheShelfStudy) else set())
        assert {each["row"] for each in (ask.row, ask.minus) if each} <= rows, ask
        assert ask.column in columns[KNOWN[ask.study]]
    assert {ask.probe for ask in asks if isinstance(ask, Probe)} == PROBES.keys()


# ---------------------------------------------------------------- states, probes


@pytest.mark.parametrize(
    ("values", "evidence", "state", "remark"),
    [
        ([], "primary", "out of scope", ""),
        ([(13,)], "primary", "reproduced", ""),
        ([(13.001,)], "primary", "outside", ""),
        ([(14,), (12,)], "primary", "outside", "another reading would fit; readings besides the stated one: b: 12"),
        ([(14,), (10,)], "primary", "contradicted", "no other reading fits either: b: 10"),
        ([(14,), (10,)], "secondary", "outside", "no other reading fits either: b: 10"),
        ([(12,), (10,)], "primary", "reproduced", ""),
    ],
)
def test_states(values: list[tuple[float]], evidence: str, state: str, remark: str) -> None:
    """12 within 1; contradicted only if every reading of the source's own words misses."""
    asks = tuple(Probe(probe="tokens", model=TINY, reading=name) for name in ("", "b"))[: len(values)]
    found = state_of(Entry(number(evidence=evidence), asks), values)
    assert (found[0], found[1].removesuffix(" tokens")) == (state, remark)
    assert state_of(Entry(number(command="suite run quickstart")), []) == ("not runnable here", "")


def test_lists_are_compared_number_by_number(folder: Path) -> None:
    """A schedule is off by as many numbers as differ, or by all if their numbers differ."""
    for text, off_by, state in [("13 9", "0", "reproduced"), ("13 8", "1", "outside"), ("13 9 5", "3", "outside")]:
        asks = (Probe(probe="tokens", model=PRUNED),)
        (line,) = compute([Entry(number(value=text, tolerance="0"), asks)])
        assert (line.measured, line.off_by, line.state) == ("13 9", off_by, state)


def test_probes_on_a_tiny_model() -> None:
    """By hand: 16 patches of which 8 leave; a deployed model has no more parameters than the unpruned one."""
    assert probe("removed share", PRUNED, "%") == (50.0,)
    assert probe("patches", PRUNED, "count") == (16,)
    assert probe("deployed parameters", PRUNED, "count") == probe("trained parameters", TINY, "count")
    cropr = PRUNED.model_copy(update={"method": "cropr"})
    assert probe("trained parameters", cropr, "count") > probe("deployed parameters", cropr, "count")


# ---------------------------------------------------------------- numbers from studies


@pytest.fixture
def results(folder: Path) -> Path:
    """The results of `quickstart`, beside its study and `digits-segmentation`, which has none here."""
    for name in ("quickstart", "digits-segmentation"):
        (folder / "studies").mkdir(exist_ok=True)
        shutil.copy(ROOT / f"studies/{name}.yaml", folder / "studies")
    shutil.copytree(ROOT / "results/quickstart", folder / "results/quickstart")
    return Path("results/quickstart")


def test_a_number_of_a_study(results: Path) -> None:
    """What its table says in the CSV; differences of two rows; without results nothing is measured."""
    with (results / "table.csv").open() as file:
        rows = {row["row"]: float(row["speed_median"]) for row in csv.DictReader(file)}
    record = digest((results / "cells.csv").read_bytes())
    assert value(results, {"row": "cropr"}, "speed_median") == (pytest.approx(rows["cropr"]), record)
    minus = SPEED.model_copy(update={"minus": {"row": "random"}})
    assert measure(minus, "x").value == pytest.approx((rows["cropr"] - rows["random"],))
    asked = number(unit="x", value=f"{rows['cropr']:.1f}", tolerance="0.1", command="suite run quickstart")
    (line,) = compute([Entry(asked, (SPEED,))])
    assert (line.state, line.needs) == ("reproduced", "")
    assert float(line.measured) == pytest.approx(rows["cropr"], abs=1e-4)
    elsewhere = SPEED.model_copy(update={"study": "digits-segmentation"})
    (line,) = compute([Entry(asked, (elsewhere,))])
    assert (line.state, line.measured, line.needs) == ("not runnable here", "", "a GPU")


def test_a_changed_record_makes_a_number_stale_and_an_edited_one_is_refused(results: Path) -> None:
    """Also where the number is the same. A row without a finished cell is not measured yet."""
    asked = [Entry(number(unit="x"), (SPEED,))]
    before, cells = compute(asked), results / "cells.csv"
    cells.write_text(re.sub(r",acc1_best,,[\d.]+,", ",acc1_best,,1.0,", cells.read_text(), count=1))
    with pytest.raises(UserError, match=r"cells\.csv was changed after it was written"):
        compute(asked)
    write_provenance(results, {})
    assert stale(before, compute(asked)) == ["paper-one: its record changed"]
    cells.write_text("\n".join(line for line in cells.read_text().splitlines() if ",cropr," not in line) + "\n")
    write_provenance(results, {})
    assert value(results, {"row": "cropr"}, "speed_median")[0] is None


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"column": "sped_median"}, "quickstart has no column 'sped_median'; did you mean speed_"),
        ({"row": {"row": "cropr", "shedule": "x"}}, "quickstart has no column 'shedule'; did you mean schedule"),
        ({"column": "method"}, "has 'cropr' in method; ask for a column of numbers"),
    ],
)
def test_a_number_of_a_study_that_is_not_there(results: Path, changed: dict[str, Any], sentence: str) -> None:
    """Is refused with the entry's id and the nearest that is."""
    with pytest.raises(UserError, match=f"paper-one: .*{sentence}"):
        compute([Entry(number(), (SPEED.model_copy(update=changed),))])
    with pytest.raises(UserError, match=r"has \d+ rows with {'n': '5'}"):
        value(results, {"n": "5"}, "speed_median")


def test_costs_of_other_figures_are_refused(folder: Path) -> None:
    """A published figure that changed after the table was made, a ledger that has another, an edited record."""
    for name in ("studies", "results/costs", "results/published"):
        shutil.copytree(ROOT / name, folder / name)
    path, record = Path("results/published/costs.csv"), Path("results/costs/figures.csv")
    path.write_text(path.read_text().replace(",-41,%", ",-42,%"))
    with pytest.raises(UserError, match=r"results/costs was not made from \S+costs\.csv; make it again with"):
        list(table_entries())
    path.write_text((ROOT / path).read_text())
    ledger = Path("results/published/cropr.csv")
    ledger.write_text(ledger.read_text().replace(",-76,%", ",-75,%"))
    with pytest.raises(UserError, match="cropr-eva02-at-once: -75 % in the ledger is -76 % in costs"):
        read_entries()
    record.write_text(record.read_text().replace(",204062426112,", ",204062426113,"))
    with pytest.raises(UserError, match=r"costs/figures\.csv was changed after it was written"):
        list(table_entries())


def test_a_kind_of_any_name_brings_published_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger asks the kind, not its name; without a column the number has nothing that measures it."""
    costs = load(str(ROOT / "studies/costs.yaml"))
    shutil.copytree(ROOT / "results/costs", folder / "results/costs")
    figures = [TableFigure(number(), {"id": "x"}, "gmacs_full", "seen"), TableFigure(number(id="paper-two"), {})]
    kind = replace(costs.kind, name="mine", published=lambda loaded, rows: figures if rows else [])
    monkeypatch.setattr(room, "study_names", lambda: ["costs"])
    monkeypatch.setattr(room, "load", lambda name: replace(costs, kind=kind))
    ask = TableNumber(study="costs", row={"id": "x"}, column="gmacs_full")
    assert list(table_entries()) == [
        ("costs", Entry(figures[0].number, (ask,), "seen")),
        ("costs", Entry(figures[1].number)),
    ]


# ---------------------------------------------------------------- what is stale


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("measured", "1", "measured is {} now, the ledger says 1"),
        ("record_digest", "0", "its record changed"),
        ("published_digest", "0", "its published row changed"),
        ("state", "outside", "state is reproduced now, the ledger says outside"),
        ("id", "cropr-other", "published, but not in the ledger"),
    ],
)
def test_a_stale_entry_fails_the_check(
    lines: list[Line], folder: Path, monkeypatch: pytest.MonkeyPatch, field: str, text: str, sentence: str
) -> None:
    """By its id, with what changed; so does another page."""
    line = next(line for line in lines if line.id == "cropr-log-cls-unpruned-params-training")
    Path("results").mkdir()
    write_lines(Path("results/ledger.csv"), [line.model_copy(update={field: text})])
    Path("results/ledger.md").write_text(markdown([line]))
    monkeypatch.setattr(room, "read_entries", list)
    monkeypatch.setattr(room, "compute", lambda entries, progress: [line])
    result = CliRunner().invoke(app, ["ledger", "--check"])
    assert result.exit_code == 1
    assert f"stale: {line.id}: {sentence.format(line.measured)}" in result.output
    assert CliRunner().invoke(app, ["ledger", "--update"]).exit_code == 0
    assert CliRunner().invoke(app, ["ledger", "--check"]).exit_code == 0
    Path("results/ledger.md").write_text(markdown([line]).replace(" 304326632 ", " 304326633 "))
    result = CliRunner().invoke(app, ["ledger", "--check"])
    assert result.exit_code == 1
    assert "stale: results/ledger.md is not the page that the records give" in result.output


def test_a_changed_published_row_is_stale(folder: Path) -> None:
    """Any part of it: here only the source; also what it asks for."""
    before = compute([Entry(number())])
    (text,) = stale(before, compute([Entry(number(source="another paper"))]))
    assert text == "paper-one: its published row changed; source is another paper now, the ledger says a paper"
    assert stale(before, []) == ["paper-one: in the ledger, but published nowhere any more"]
    asks = [(Probe(probe="patches", model=TINY), Probe(probe="patches", model=PRUNED))]
    first, second = (compute([Entry(number(unit="count"), (ask,))])[0] for ask in asks[0])
    assert first.measured == second.measured
    assert first.published_digest != second.published_digest
    assert digest(b"ab", b"c") != digest(b"a", b"bc")


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changed", "asks", "sentence"),
    [
        ({"source": " "}, "", "paper.csv:2: source: empty"),
        ({"id": "other-one"}, "", "paper.csv:2: the id 'other-one' must begin with the file's name: paper-"),
        ({"needs": ""}, "", "paper.csv:2: paper-one: needs: empty"),
        ({}, f"paper-one: {ROW}", "paper.csv:2: paper-one: command: empty"),
        ({}, f"paper-two: {ROW}", "asks.yaml: .* the id 'paper-two'; .* paper-one"),
        ({}, "paper-one: {study: quickstart,\n  row: cropr}", "asks.yaml:1: paper-one.column: this key is required"),
        ({}, "paper-one:\n  probe: tokns\n  model: {backbone: b}", "asks.yaml:2: paper-one.probe: .*mean tokens"),
        ({}, "paper-one: {probe: tokens,\n  model: {backbone: b, methd: x}}", "asks.yaml:2: .*mean method"),
        ({}, f"paper-one:\n- {ROW}\n- {ROW}", "asks.yaml:3: paper-one.1: each"),
        ({}, "paper-one: {study: a, study: b, row: c, column: d}", "asks.yaml:1: paper-one.study: the key stands"),
        ({}, "paper-one: {", "asks.yaml: not readable as YAML"),
    ],
)
def test_a_published_number_that_says_too_little(
    folder: Path, changed: dict[str, str], asks: str, sentence: str
) -> None:
    """Is refused with file and line."""
    write(folder, number(**changed), asks=asks)
    with pytest.raises(UserError, match=sentence):
        read_entries()


def test_a_probe_that_cannot_be(folder: Path) -> None:
    """Is refused with the entry's id and what is wrong."""
    schedule = PRUNED.schedule.model_copy(update={"removed": (9, 9, 0)})  # type: ignore[union-attr]
    ask = Probe(probe="tokens", model=PRUNED.model_copy(update={"schedule": schedule}))
    with pytest.raises(UserError, match=r"paper-one: method random on .* leaves none"):
        compute([Entry(number(), (ask,))])


def test_damaged_files_are_refused(folder: Path) -> None:
    """With file and line, never a traceback."""
    with pytest.raises(UserError, match="there are no published numbers"):
        read_entries()
    path = write(folder, number(), number())
    with pytest.raises(UserError, match=r"paper.csv:3: duplicate id 'paper-one'"):
        read_entries()
    path = write(folder, number(), number(id="paper-two"))
    whole = path.read_text()
    for damage, sentence in {
        whole[:-12]: r"paper.csv:3: \d+ fields, not 23; restore it",
        whole.replace("a paper", '"a paper', 1): "paper.csv is no CSV",
        whole.replace(",12,", ",about 12,", 1): "paper.csv:2: value: expected a number, found 'about 12'",
        whole.replace(",12,", ",,", 1): "paper.csv:2: value: expected a number, found ''",
        whole.replace(",1,trial", ",-1,trial", 1): "paper.csv:2: tolerance: expected a number from 0, found '-1'",
        whole.replace("primary", "hearsay", 1): "paper.csv:2: evidence: unknown value 'hearsay'; valid: primary",
        "id,value\n": "lacks the columns unit, source, evidence; it has id, value",
        "": "lacks the columns value, unit, source, evidence; it has none",
    }.items():
        path.write_text(damage)
        with pytest.raises(UserError, match=sentence):
            read_entries()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is no CSV"):
        read_entries()
    with pytest.raises(UserError, match=r"results/ledger.csv does not exist; make it with: suite ledger --update"):
        read_lines(Path("results/ledger.csv"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--paper", "crop"], "no entry of the ledger has the paper 'crop'; did you mean cropr?"),
        (["--state", "reproducd"], "has the state 'reproducd'; did you mean reproduced?"),
        (["cropr-t1-6-top"], "has no entry 'cropr-t1-6-top'; did you mean cropr-t1-6-top1"),
        (["--check", "--paper", "cropr"], "--check and --update are about the whole ledger"),
        (["--check", "--update"], "--check and --update are about the whole ledger"),
    ],
)
def test_unknown_filters_are_refused(monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str) -> None:
    """With the nearest that is known."""
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(app, ["ledger", *arguments])
    assert isinstance(result.exception, UserError)
    assert sentence in str(result.exception)


def test_filters_and_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters combine, in any case; a state that nothing has is empty; one entry is told with its command."""
    monkeypatch.chdir(ROOT)
    chosen = CliRunner().invoke(app, ["ledger", "--method", "evit", "--state", "REPRODUCED", "--paper", "evit"])
    assert chosen.exit_code == 0
    assert "evit-readme-fused-keep-0.8" in chosen.output
    assert "dropped" not in chosen.output  # its method is called EViT without fusion
    chosen = CliRunner().invoke(app, ["ledger", "--method", "idlevit", "--state", "outside"])
    assert [line.split()[0] for line in chosen.output.splitlines() if "±" in line] == ["idlevit-abstract"]
    assert CliRunner().invoke(app, ["ledger", "--state", "contradicted"]).exit_code == 0
    one = CliRunner().invoke(app, ["ledger", "tome-readme-timm-vit-s-16-r-13-top1"])
    assert "command: suite evaluate --checkpoint vit_small_patch16_224.augreg_in21k_ft_in1k" in one.output


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("suite evaluat --data x", "is no command of suite; did you mean evaluate?"),
        ("nox -s tests", "is no command of suite"),
        ("suite evaluate --checkpoint a.pth", "[Mm]issing.*data"),
        ("suite evaluate --checkpoint a --data b --layot evit", "No such option: --layot"),
        ("suite evaluate --checkpoint a --data b --layout evt", "there is no layout 'evt'; did you mean evit?"),
    ],
)
def test_commands_that_do_not_exist_are_refused(monkeypatch: pytest.MonkeyPatch, command: str, sentence: str) -> None:
    """Whatever of them does not is named."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=sentence):
        check_command(command, typer.main.get_command(app))


def test_an_update_names_the_entry_of_a_command_that_does_not_exist(folder: Path) -> None:
    """Before anything is written."""
    write(folder, number(command="suite evalute"))
    result = CliRunner().invoke(app, ["ledger", "--update"])
    assert str(result.exception).startswith("paper-one: 'suite evalute' is no command of suite; did you mean evaluate")
    assert not Path("results/ledger.csv").exists()


def test_showing_the_ledger_imports_nothing_heavy() -> None:
    """Not even torch: it reads one file."""
    program = (
        "import sys; from suite.cli.app import app; app(['ledger', '--paper', 'cropr'], standalone_mode=False); "
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    shown = subprocess.check_output([sys.executable, "-c", program], text=True, cwd=ROOT)
    assert shown.splitlines()[-1] == "[]"
    assert "cropr-log-segm-cropr-llf-params-training" in shown
