"""The ledger of published numbers: its states, what it rests on, what is stale, what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from test_house import HEAVY, ROOT
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.ledger import build as room
from suite.ledger.build import Entry, compute, read_entries, state_of
from suite.ledger.command_lines import check_command
from suite.ledger.lines import Line, digest, read_lines, stale, write_lines
from suite.ledger.probes import probe
from suite.ledger.studies import cost_lines, study_value
from suite.ledger.table import markdown
from suite.study.records import write_provenance

TINY = {"name": "vit_tiny_patch16_224", "options": {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 3}}
PRUNED = json.dumps({"backbone": TINY, "method": "random", "schedule": {"removed": [4, 4, 0]}})


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    """Every line of the ledger, computed from the repository's code and records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return compute(read_entries())


def entry(**changed: str) -> Entry:
    """A published number with all that it needs."""
    words = dict.fromkeys(Entry._fields, "")
    words |= {"id": "paper-one", "table": "Table 1", "method": "Random", "metric": "tokens", "value": "12"}
    words |= {"unit": "tokens", "source": "a paper", "evidence": "primary", "tolerance": "1", "tolerance_from": "trial"}
    return Entry(**(words | {"needs": "a GPU"} | changed))


def write(folder: Path, *entries: Entry, name: str = "paper") -> Path:
    """A file of published numbers in `results/published/` of a folder."""
    path = folder / "results/published" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([Entry._fields, *entries])
    return path


# ---------------------------------------------------------------- the committed ledger


def test_the_committed_ledger_is_what_code_and_records_give(lines: list[Line], monkeypatch: pytest.MonkeyPatch) -> None:
    """`suite ledger --check` passes; every command on the page could be run."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(room, "compute", lambda entries, progress: lines)
    result = CliRunner().invoke(app, ["ledger", "--check"])
    assert result.exit_code == 0, result.output
    assert f"All {len(lines)} entries" in result.output


def test_parameters_by_hand(lines: list[Line]) -> None:
    """ViT-L/16, and 22 modules of a query, two norms, an MLP of ratio 4 and a head of their own."""
    width, hidden, classes = 1024, 4096, 1000
    mlp = 2 * width * hidden + hidden + width
    block = 4 * width * (width + 1) + mlp + 4 * width
    head = classes * (width + 1)
    vit = (768 + 1) * width + width + 197 * width + 24 * block + 2 * width + head
    found = {line.id: line for line in lines if line.metric == "parameters, in training"}
    assert found["cropr-log-cls-unpruned-params-training"].measured == str(vit)
    modules = 22 * (width + 4 * width + mlp + head)
    assert found["cropr-log-cls-cropr-llf-params-training"].measured == str(vit + modules)
    assert len(found) == 4
    assert {line.state for line in found.values()} == {"reproduced"}


def test_what_can_be_checked_without_data_is(lines: list[Line]) -> None:
    """Both schedules of 22 entries, shares of removed patches, counts; nothing measured stands without its record."""
    schedules = [line for line in lines if line.unit == "tokens"]
    assert [len(line.measured.split()) for line in schedules] == [22, 22]
    assert {line.state for line in schedules} == {"reproduced"}
    shares = [float(line.measured) for line in lines if line.metric == "TPR" and line.measured]
    assert shares == pytest.approx([100 * 881 / 1024] * 2, abs=1e-3)
    for line in lines:
        assert bool(line.measured) == (line.state not in ("not runnable here", "not taken on")) == (not line.needs)
        assert line.command or line.state != "not runnable here", f"{line.id} does not say the command that would do it"
        assert not line.command or line.state != "not taken on", line.id
        assert line.source
        assert line.tolerance_from


def test_figures_of_studies_of_costs_come_from_their_table(lines: list[Line], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, with the verdict of the table; the one that stands in both files keeps the figure and the state."""
    monkeypatch.chdir(ROOT)
    by_id, of_costs = {line.id: line for line in lines}, cost_lines()
    assert len(by_id) == len(lines)
    with (ROOT / "results/costs/table.csv").open() as file:
        verdicts = {row["id"]: row["verdict"] for row in csv.DictReader(file)}
    said = {"fits": "reproduced", "near": "outside", "off": "outside", "not computed": "not taken on"}
    assert {line.id: line.state for line in of_costs} == {name: said[verdict] for name, verdict in verdicts.items()}
    replaced = [line.id for line in of_costs if by_id[line.id] != line]
    assert replaced == ["cropr-eva02-at-once"]
    assert by_id[replaced[0]].measured == next(line.measured for line in of_costs if line.id == replaced[0])
    assert "before the third block, full: -75.2" in by_id[replaced[0]].remark
    assert by_id["evit-t2-fused-keep-0.7"].measured == "3.03574"
    assert by_id["timm-benchmark-eva02-large-patch14-448-pt210"].measured == "310.695"


def test_what_tolerances_are_chosen_from(lines: list[Line]) -> None:
    """ToMe and timm evaluated the same AugReg weights: 0.04 pp apart at most, as the tolerance's reason says."""
    published = {line.id: float(line.published) for line in lines if line.metric == "top1"}
    for size in ("s", "b", "l"):
        name = {"s": "small", "b": "base", "l": "large"}[size]
        other = published[f"timm-results-vit-{name}-patch16-224.augreg-in21k-ft-in1k-top1"]
        assert abs(published[f"tome-readme-timm-vit-{size}-16-top1"] - other) <= 0.04
    for line in lines:
        if line.tolerance_from == "half a unit of the last printed digit":
            places = len(line.published.partition(".")[2])
            assert float(line.tolerance) == 0.5 / 10**places, line.id


# ---------------------------------------------------------------- states


@pytest.mark.parametrize(
    ("values", "evidence", "state", "remark"),
    [
        ([], "primary", "not taken on", ""),
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
    asks = " || ".join(["tokens: {}", "b = tokens: {}"][: len(values)])
    found = state_of(entry(evidence=evidence, asks=asks), values)
    assert found[0] == state
    assert found[1].removesuffix(" tokens") == remark
    if not values:
        assert state_of(entry(command="suite run quickstart"), values) == ("not runnable here", "")


def test_lists_are_compared_number_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule is off by as many numbers as differ, or by all if their numbers differ."""
    monkeypatch.chdir(tmp_path)
    for value, off_by, state in [("13 9", "0", "reproduced"), ("13 8", "1", "outside"), ("13 9 5", "3", "outside")]:
        (line,) = compute([entry(value=value, tolerance="0", asks=f"tokens: {PRUNED}")])
        assert (line.measured, line.off_by, line.state) == ("13 9", off_by, state)


def test_probes_on_a_tiny_model() -> None:
    """By hand: 16 patches of which 8 leave; a deployed model has no more parameters than the unpruned one."""
    assert probe("removed share", PRUNED, "%") == (50.0,)
    assert probe("patches", PRUNED, "count") == (16,)
    assert probe("deployed parameters", PRUNED, "count") == probe(
        "trained parameters", json.dumps({"backbone": TINY}), "count"
    )
    cropr = PRUNED.replace('"random"', '"cropr"')
    assert probe("trained parameters", cropr, "count") > probe("deployed parameters", cropr, "count")


# ---------------------------------------------------------------- numbers from studies


@pytest.fixture
def with_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the study `quickstart`, its results, and `digits-segmentation` without results."""
    (tmp_path / "studies").mkdir()
    for name in ("quickstart", "digits-segmentation"):
        shutil.copy(ROOT / f"studies/{name}.yaml", tmp_path / "studies")
    shutil.copytree(ROOT / "results/quickstart", tmp_path / "results/quickstart")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results/quickstart/table.csv"


def renew_digest(folder: Path) -> None:
    """Pass changed cells off as a run's."""
    write_provenance(folder, {})


def test_a_number_of_a_study(with_study: Path) -> None:
    """Is that of its table; another record, another digest and another state; without results nothing is measured."""
    with with_study.open() as file:
        rows = {row["row"]: float(row["speed_median"]) for row in csv.DictReader(file)}
    asked = entry(
        asks="study: quickstart: cropr: speed_median", unit="x", value=f"{rows['cropr']:.1f}", tolerance="0.1"
    )
    (before,) = compute([asked])
    assert float(before.measured) == pytest.approx(rows["cropr"], abs=1e-4)
    assert before.state == "reproduced"
    difference, _ = study_value("quickstart: cropr minus random: speed_median")
    assert difference == rows["cropr"] - rows["random"]
    with_study.with_name("cells.csv").unlink()  # with it the table would be compared with its record
    with_study.write_text(with_study.read_text().replace(str(rows["cropr"]), "9.5"))
    (after,) = compute([asked])
    assert (after.measured, after.state) == ("9.5", "outside")
    (said,) = stale([before], [after])
    assert said.startswith(f"paper-one: its record changed; measured is 9.5 now, the ledger says {before.measured}")
    elsewhere = asked._replace(asks="study: digits-segmentation: cropr: speed_median")
    (waiting,) = compute([elsewhere._replace(command="suite run digits-segmentation")])
    assert (waiting.state, waiting.measured, waiting.needs) == ("not runnable here", "", "a GPU")


def test_a_changed_cell_makes_a_number_stale(with_study: Path) -> None:
    """Also where the table is the same; what no run wrote is refused."""
    asked = [entry(asks="study: quickstart: cropr: speed_median", unit="x")]
    before = compute(asked)
    cells = with_study.with_name("cells.csv")
    cells.write_text(cells.read_text() + "\n")
    with pytest.raises(UserError, match=r"cells\.csv was changed after it was written"):
        compute(asked)
    renew_digest(with_study.parent)
    assert stale(before, compute(asked)) == ["paper-one: its record changed"]


@pytest.mark.parametrize("changed", ["table.csv", "cells.csv"])
def test_a_table_that_its_record_does_not_make_is_refused(with_study: Path, changed: str) -> None:
    """Typed into the table, or of an earlier record."""
    asked, path = "quickstart: cropr: macs_full", with_study.with_name(changed)
    value, _ = study_value(asked)
    assert value
    assert f"{value:.0f}" in path.read_text()
    path.write_text(path.read_text().replace(f"{value:.0f}", f"{value + 1e6:.0f}"))
    renew_digest(with_study.parent)
    with pytest.raises(UserError, match=r"table\.csv says .* for 'cropr', macs_full, .*: suite table quickstart"):
        study_value(asked)


def test_a_row_without_a_finished_cell_is_not_measured_yet(with_study: Path) -> None:
    """The study asks for it, its table does not have it: no mistake."""
    with_study.with_name("cells.csv").unlink()
    rows = [line for line in with_study.read_text().splitlines() if not line.startswith("cropr,")]
    with_study.write_text("\n".join(rows))
    assert study_value("quickstart: cropr: speed_median")[0] is None
    assert study_value("quickstart: cropr minus random: speed_median")[0] is None


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("quickstart: cropper: speed_median", "the study quickstart has no row 'cropper'; did you mean cropr?"),
        ("quickstart: cropr: sped_median", "the study quickstart has no column 'sped_median'; did you mean speed_"),
        ("digits-segmentation: cropr: sped_median", "has no column 'sped_median'; did you mean speed_median"),
        ("quickstrt: cropr: speed_median", "there is no study 'quickstrt'.*did you mean quickstart?"),
        ("quickstart: cropr", "does not name a study's number; write STUDY: ROW: COLUMN"),
        ("quickstart: cropr: method", r"table.csv says 'cropr' for 'cropr', method; ask for a column of numbers"),
        ("quickstart: cropr [all at once]: speed_median", r"table.csv has 0 rows 'cropr \[all at once\]'"),
    ],
)
def test_a_number_of_a_study_that_is_not_there(with_study: Path, asked: str, sentence: str) -> None:
    """Is refused with the entry's name and the nearest that is."""
    with pytest.raises(UserError, match=f"paper-one: .*{sentence}"):
        compute([entry(asks=f"study: {asked}")])


def test_costs_of_other_figures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A published figure that changed after the table was made."""
    for folder in ("studies", "results/costs", "results/published"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    path = Path("results/published/costs.csv")
    path.write_text(path.read_text().replace(",-41,%", ",-42,%"))
    with pytest.raises(UserError, match=r"figures\.csv was not made from \S+costs\.csv as it is now; make"):
        cost_lines()
    entries = [each._replace(value="-75") if each.id == "cropr-eva02-at-once" else each for each in read_entries()]
    path.write_text((ROOT / path).read_text())
    with pytest.raises(UserError, match="cropr-eva02-at-once: -75 % here is -76 % in the costs"):
        compute(entries)
    record = Path("results/costs/figures.csv")
    record.write_text(record.read_text().replace(",204062426112,", ",204062426113,"))
    with pytest.raises(UserError, match=r"costs/figures\.csv was changed after it was written"):
        cost_lines()


# ---------------------------------------------------------------- what is stale


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("measured", "1", "measured is {} now, the ledger says 1"),
        ("record_digest", "0", "its record changed"),
        ("published_digest", "0", "its published row changed"),
        ("state", "outside", "state is reproduced now, the ledger says outside"),
        ("id", "cropr-other", "published, but not in the ledger"),
    ],
)
def test_a_stale_entry_fails_the_check(
    lines: list[Line], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: str, sentence: str
) -> None:
    """By its name, with what changed; the other entries are not named."""
    monkeypatch.chdir(tmp_path)
    line = next(line for line in lines if line.id == "cropr-log-cls-unpruned-params-training")
    Path("results").mkdir()
    write_lines(Path("results/ledger.csv"), [line._replace(**{field: value})])
    Path("results/ledger.md").write_text(markdown([line]))
    monkeypatch.setattr(room, "read_entries", list)
    monkeypatch.setattr(room, "compute", lambda entries, progress: [line])
    result = CliRunner().invoke(app, ["ledger", "--check"])
    assert result.exit_code == 1
    assert f"stale: {line.id}: {sentence.format(line.measured)}" in result.output
    assert "make the ledger again: suite ledger --update" in result.output
    assert CliRunner().invoke(app, ["ledger", "--update"]).exit_code == 0
    assert CliRunner().invoke(app, ["ledger", "--check"]).exit_code == 0
    Path("results/ledger.md").write_text(markdown([line]).replace(" 304326632 ", " 304326633 "))
    result = CliRunner().invoke(app, ["ledger", "--check"])
    assert result.exit_code == 1
    assert "stale: results/ledger.md is not the page that the records give" in result.output


def test_a_changed_published_row_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any part of it: here only the source."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, entry())
    before = compute(read_entries())
    write(tmp_path, entry(source="another paper"))
    (said,) = stale(before, compute(read_entries()))
    assert said == "paper-one: its published row changed; source is another paper now, the ledger says a paper"
    assert stale(before, []) == ["paper-one: in the ledger, but published nowhere any more"]
    assert digest(b"ab", b"c") != digest(b"a", b"bc")


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"source": " "}, "paper.csv:2: paper-one has no source; a published number needs one"),
        ({"tolerance_from": ""}, "paper-one has no tolerance_from"),
        ({"id": "other-one"}, "the id 'other-one' must begin with the file's name: paper-"),
        ({"value": "about 12"}, "paper-one: the value 'about 12' is not a number"),
        ({"value": ""}, "paper-one: the value '' is not a number"),
        ({"tolerance": "-1"}, "the tolerance '-1' is not a number from 0"),
        ({"evidence": "hearsay"}, "the evidence is primary or secondary, found 'hearsay'"),
        ({"asks": "token: {}"}, "paper-one asks for 'token'; did you mean tokens?"),
        ({"asks": "tokens: {} || tokens: {}"}, "each reading besides the stated one needs a name of its own"),
        ({"needs": ""}, "paper-one has no needs; say what measuring it takes"),
        ({"needs": "", "asks": "study: quickstart: cropr: speed_median"}, "paper-one has no needs"),
        ({"asks": "study: quickstart: cropr: speed_median"}, "paper-one has no command; say what measures it"),
    ],
)
def test_a_published_number_that_says_too_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], sentence: str
) -> None:
    """Is refused with file and line."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, entry(**changed))
    with pytest.raises(UserError, match=sentence):
        read_entries()


@pytest.mark.parametrize(
    ("asks", "sentence"),
    [
        ("tokens: {", "paper-one: '{' is no configuration in JSON"),
        ('tokens: {"backbone": "vit_tiny_patch16_224", "methd": 1}', "paper-one: methd: unknown key; did you mean"),
        (f"tokens: {PRUNED.replace('[4, 4, 0]', '[9, 9, 0]')}", "paper-one: method random on .* leaves none"),
        (f"tokens: {PRUNED.replace('random', 'randm')}", "paper-one: unknown method 'randm'; did you mean random"),
    ],
)
def test_a_probe_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: str, sentence: str) -> None:
    """Is refused with the entry's name and what is wrong."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=sentence):
        compute([entry(asks=asks)])


def test_damaged_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sentence and exit code 2 or a named error, never a traceback."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there are no published numbers"):
        read_entries()
    path = write(tmp_path, entry(), entry())
    with pytest.raises(UserError, match=r"paper.csv:3: the id paper-one stands twice"):
        read_entries()
    whole = path.read_text()
    for damage, sentence in {
        whole[:-20]: r"paper.csv:3: \d+ columns instead of 22; the file is damaged",
        whole.replace("a paper", '"a paper', 1): "paper.csv is damaged, it is not readable as CSV",
        "id,value\n": "has the columns id, value; expected id, table",
        "": "has the columns none; expected",
    }.items():
        path.write_text(damage)
        with pytest.raises(UserError, match=sentence):
            read_entries()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is damaged"):
        read_entries()
    with pytest.raises(UserError, match=r"results/ledger.csv does not exist; make it with: suite ledger --update"):
        read_lines(Path("results/ledger.csv"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--paper", "crop"], "no entry of the ledger has the paper 'crop'; did you mean cropr?"),
        (["--state", "reproducd"], "has the state 'reproducd'; did you mean reproduced?"),
        (["--method", "Crpr"], "has the method 'Crpr'; did you mean Cropr?"),
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
    wide = {"COLUMNS": "200"}
    chosen = CliRunner().invoke(
        app, ["ledger", "--method", "evit", "--state", "REPRODUCED", "--paper", "evit"], env=wide
    )
    assert chosen.exit_code == 0
    assert "evit-readme-fused-keep-0.8" in chosen.output
    assert "dropped" not in chosen.output  # its method is called EViT without fusion
    chosen = CliRunner().invoke(app, ["ledger", "--method", "dynamicvit", "--state", "outside"], env=wide)
    assert [line.split()[0] for line in chosen.output.splitlines() if "outside" in line and "paper" not in line] == [
        "dynamicvit-t1-deit-s-rho-0.9",
        "dynamicvit-t1-deit-s-rho-0.8",
        "dynamicvit-readme-deit-b-rho-0.7",
    ]
    words, narrow = ["ledger", "--method", "dynamicvit", "--state", "outside"], {"COLUMNS": "40"}
    lines = [line.split() for line in chosen.output.splitlines() if "±" in line]
    piped = CliRunner().invoke(app, words, env=narrow).output
    assert [line.split() for line in piped.splitlines() if "±" in line] == lines
    folded = CliRunner().invoke(app, words, env=narrow | {"TTY_COMPATIBLE": "1"}).output
    found = [line.split() for line in folded.splitlines() if "±" in line]
    assert [line[1:] for line in found] == [line[1:] for line in lines]
    assert all(whole[0].startswith(line[0]) and line[0] != whole[0] for line, whole in zip(found, lines, strict=True))
    assert CliRunner().invoke(app, ["ledger", "--state", "contradicted"]).exit_code == 0
    one = CliRunner().invoke(app, ["ledger", "tome-readme-timm-vit-s-16-r-13-top1"], env=wide)
    assert "command: suite evaluate --checkpoint vit_small_patch16_224.augreg_in21k_ft_in1k" in one.output


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("suite evaluat --data x", "suite has no command 'evaluat'; did you mean evaluate?"),
        ("nox -s tests", "does not begin with suite"),
        ("suite evaluate --checkpoint a.pth", "the command .*[Mm]issing.*data"),
        ("suite evaluate --checkpoint a --data b --layot evit", "No such option: --layot"),
        ("suite evaluate --checkpoint a --data b --layout evt", "there is no layout 'evt'; did you mean evit?"),
        ("suite evaluate --checkpoint a --data b --layout tome --option s=8", "layout tome: .*s: unknown key"),
        ("suite evaluate --checkpoint a --data b --layout tome", "layout tome: r: Field required"),
        ("suite run quickstrt", "there is no study 'quickstrt'.*did you mean quickstart?"),
        ("suite speed vit_tiny_patch16_224 --method tom", "unknown method 'tom'; did you mean tome"),
        ("suite speed vit_tiny_patch16_225", "timm has no model 'vit_tiny_patch16_225'"),
        ("suite speed vit_tiny_patch16_224 --method tome --constant 8 --keep-rate 0.5", "the command .*schedule"),
        ("suite flops vit_tiny_patch16_224 --method tom", "unknown method 'tom'; did you mean tome"),
        ("suite flops vit_tiny_patch16_224 --method tome --constant 99 --blocks 0", "at most half the patches"),
        ("suite speed vit_tiny_patch16_224 --method tome --constant 99 --blocks 0", "at most half the patches"),
        ("suite speed vit_tiny_patch16_224 --method tome --constant 8 --blocks 0-12", "blocks 0 to 11, found .12"),
        (
            "suite speed vit_tiny_patch16_224 --method tome --setting rate=1 --constant 8 --blocks 0",
            "rate: unknown key",
        ),
    ],
)
def test_commands_that_could_not_run_are_refused(monkeypatch: pytest.MonkeyPatch, command: str, sentence: str) -> None:
    """Whatever of them does not exist is named."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=sentence):
        check_command(command, typer.main.get_command(app))


def test_the_check_names_the_entry_of_a_command_that_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line, before anything is compared or written."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, entry(command="suite evalute"))
    result = CliRunner().invoke(app, ["ledger", "--update"])
    assert str(result.exception).startswith("paper-one: suite has no command 'evalute'; did you mean evaluate")
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


def published(name: str) -> list[dict[str, str]]:
    """Rows of a file in `results/published/`."""
    with (ROOT / "results/published" / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_numbers_that_stand_in_two_files_are_the_same() -> None:
    """Speeds and scores that studies stand beside their own are those of the ledger."""
    ledger = published("cropr.csv")
    known = {(row["method"], row["setting"], row["metric"]): row["value"] for row in ledger}
    speeds = [row for row in published("speed.csv") if row["where"] == "Cropr, Table 1"]
    assert len(speeds) == 2 * 19
    for row in speeds:
        assert float(known[row["method"], row["setting"], row["name"]]) == float(row["value"]), row
    fusions = {row["asks"]: row["value"] for row in ledger if row["table"] == "Table 5, fusion"}
    for row in published("scores.csv"):
        assert fusions[f"study: {row['study']}: {row['row']}: accuracy_median"] == row["value"], row
