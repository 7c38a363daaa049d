"""Published costs beside computed ones."""

from __future__ import annotations

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.costs.compute import compute, plan
from suite.kinds.costs.figures import FIELDS, Cost, Line, choose, read_published
from suite.kinds.costs.figures import lines as recorded
from suite.kinds.costs.schema import CostStudy
from suite.reduction.settings import ScoringSettings
from suite.study.load import load
from suite.study.published import Number
from suite.study.schema import ScheduleRule

ROOT = Path(__file__).parents[1]
HEAD = ",".join(FIELDS)
TINY = {
    "name": "vit_tiny_patch16_224",
    "options": {"img_size": 32, "patch_size": 4, "embed_dim": 48, "depth": 4, "num_heads": 4},
}


@pytest.fixture(scope="module")
def lines() -> dict[str, Line]:
    """Every published figure of studies/costs.yaml, counted anew."""
    study = load(str(ROOT / "studies/costs.yaml")).study
    absolute = study.model_copy(update={"published": ROOT / study.published})
    return {line.figure.id: line for line in compute(absolute)}


def figure(value: str, unit: str = "G", name: str = "one", where: str = "Paper, Table 1", source: str = "s") -> Number:
    """A published figure."""
    return Number(id=name, where=where, value=value, unit=unit, source=source, evidence="primary")


def line(
    value: str, unit: str = "G", convention: str = "", full: float = 8e9, norms: float = 0.06e9, **said: str
) -> Line:
    """A line of 8 and 6 GMACs, and 16 and 15 of the unpruned model; norms have 0.06 and 0.1 G operations."""
    own, whole = Cost(int(full), 6 * 10**9, int(norms)), Cost(16 * 10**9, 15 * 10**9, 10**8)
    return Line(figure(value, unit, **said), 1.0, computed_as="{}", convention=convention, cost=own, unpruned=whole)


def read(value: str, unit: str = "G", convention: str = "", **other: float) -> Line:
    """The same, read for itself."""
    return choose([line(value, unit, convention, **other)])[0]


# ---------------------------------------------------------------- the committed study


def test_what_fits(lines: dict[str, Line]) -> None:
    """All of ToMe, EViT and timm to the last printed digit, Cropr's unpruned and R=40; the rest has a note."""
    fits = {name for name, found in lines.items() if found.verdict == "fits"}
    computed = {name for name, found in lines.items() if found.verdict != "not computed"}
    for source in ("tome-", "evit-", "timm-", "ats-"):
        assert {name for name in computed if name.startswith(source)} <= fits
    assert {"cropr-eva02-r40", "cropr-coco"} <= fits
    assert {lines[name].verdict for name in computed - fits} == {"off"}
    assert computed - fits == {"cropr-eva02-at-once", "idlevit-abstract"}
    assert all(lines[name].note for name in lines.keys() - fits)


@pytest.mark.parametrize(
    ("name", "only"),
    [
        ("tome-t3-vit-h", "full with norms, GMACs"),
        ("evit-t2-dropped-keep-0.8", "full with norms, GMACs"),
        ("evit-readme-dropped-keep-0.8", "full with norms, GMACs"),
        ("timm-benchmark-vit-large-patch16-224-pt210", "linear with norms, GMACs"),
        ("timm-benchmark-eva02-large-patch14-448-pt240", "full with norms, GMACs"),
        ("timm-benchmark-eva02-large-patch14-448-pt210", "linear with norms, GMACs"),
    ],
)
def test_figures_that_tell_that_norms_were_counted(lines: dict[str, Line], name: str, only: str) -> None:
    """These round to what is printed in one reading and no other."""
    assert [reading for reading, cost in lines[name].readings().items() if lines[name].fits(cost)] == [only]


def test_a_figure_that_tells_that_norms_were_not_counted(lines: dict[str, Line]) -> None:
    """2790 G: 2790.24 are computed, and 2795.52 with norms."""
    stated = lines["cropr-coco"]
    free = replace(stated, convention="")
    assert [reading for reading, cost in free.readings().items() if free.fits(cost)] == ["linear, GMACs"]
    assert stated.cost.conventions[3] / 1e9 == pytest.approx(2795.52, abs=0.01)


@pytest.mark.parametrize(
    ("name", "full", "linear"),
    [
        ("tome-t3-vit-l", 61.555, 59.647),
        ("tome-t3-vit-h", 167.295, 161.884),
        ("timm-benchmark-eva02-large-patch14-448-pt240", 361.747, 310.107),
        ("evit-t2-deit-s", 4.599, 4.241),
    ],
)
def test_computed_figures_by_hand(lines: dict[str, Line], name: str, full: float, linear: float) -> None:
    """Unpruned ViTs, by P * values * D + depth * (4 T D^2 + 2 T D F (3 if gated) + 2 T^2 D) + D * 1000."""
    shapes = {  # patches, values in a patch, D, F, matrices of the MLP, depth
        "tome-t3-vit-l": (196, 768, 1024, 4096, 2, 24),
        "tome-t3-vit-h": (256, 588, 1280, 5120, 2, 32),
        "timm-benchmark-eva02-large-patch14-448-pt240": (1024, 588, 1024, 2730, 3, 24),
        "evit-t2-deit-s": (196, 768, 384, 1536, 2, 12),
    }
    patches, values, width, hidden, matrices, depth = shapes[name]
    tokens = patches + 1
    outside = patches * values * width + 1000 * width
    by_hand = outside + depth * (4 * tokens * width**2 + matrices * tokens * width * hidden)
    found = lines[name].cost
    assert (found.full, found.linear) == (by_hand + depth * 2 * tokens**2 * width, by_hand)
    inner = hidden if matrices == 3 else 0  # EVA-02 has a norm in its MLP, and one vector enters its last norm
    assert found.norms == 5 * (depth * tokens * (2 * width + inner) + (1 if inner else tokens) * width)
    assert (round(found.full / 1e9, 3), round(by_hand / 1e9, 3)) == (full, linear)


@pytest.mark.parametrize(
    ("name", "full", "linear", "norms"),
    [
        ("evit-t2-deit-s", 4_608_338_304, 4_250_674_560, 9_456_000),
        ("tome-t3-vit-l", 61_604_135_936, 59_696_595_968, 49_423_360),
    ],
)
def test_readings_with_norms_are_what_fvcore_says(
    lines: dict[str, Line], name: str, full: int, linear: int, norms: int
) -> None:
    """As fvcore 0.1.5 counted timm's models, with timm's fused attention off and on: that one it does not see."""
    found = lines[name].cost
    assert (*found.conventions[2:], found.norms) == (full, linear, norms)


def test_dynamicvit_prints_figures_cut_after_one_decimal(lines: dict[str, Line]) -> None:
    """Not rounded: most would then be off."""
    own = {name: found for name, found in lines.items() if name.startswith("dynamicvit") and found.cut}
    assert len(own) == 6
    for name, found in own.items():
        assert math.floor(found.cost.full / 1e8) / 10 == float(found.figure.value), name
        assert (replace(found, cut=False).verdict == "fits") == name.endswith("rho-0.9"), name


def test_the_committed_record_is_this(lines: dict[str, Line]) -> None:
    """`results/costs/` holds what the study makes, to the last digit."""
    assert recorded(ROOT / "results/costs") == list(lines.values())


# ---------------------------------------------------------------- reading one figure


@pytest.mark.parametrize(
    ("value", "unit", "read_as", "deviation", "verdict"),
    [
        ("8.0", "G", "full, GMACs", 0, "fits"),
        ("8.1", "G", "full with norms, GMACs", -100 * 0.04 / 8.1, "fits"),
        ("8.05", "G", "full, GMACs", -100 * 0.05 / 8.05, "near"),
        ("8.09", "G", "full, GMACs", -100 * 0.09 / 8.09, "off"),
        ("6.06", "G", "linear with norms, GMACs", 0, "fits"),
        ("16.0", "G", "full, GFLOPs", 0, "fits"),
        ("12", "G", "linear, GFLOPs", 0, "fits"),
        ("6.4", "G", "linear, GMACs", -100 * 0.4 / 6.4, "off"),
        ("6", "G", "linear, GMACs", 0, "fits"),
        ("8.4", "G", "full, GMACs", -100 * 0.4 / 8.4, "off"),
        ("16.12", "G", "full, GFLOPs", -100 * 0.12 / 16.12, "near"),
        ("9", "G", "full, GMACs", -100 / 9, "off"),
        ("-50", "%", "full", 0, "fits"),
        ("-60", "%", "linear", 0, "fits"),
        ("-60.5", "%", "linear", 0.5, "near"),
        ("-49.9", "%", "full with norms", 49.9 - 100 * (1 - 8.06 / 16.1), "fits"),
        ("-61", "%", "linear", 1, "off"),
    ],
)
def test_how_a_figure_is_read(value: str, unit: str, read_as: str, deviation: float, verdict: str) -> None:
    """8 and 6 GMACs, 16 and 12 GFLOPs, 8.06 and 6.06 G with norms; 50 and 60 % less, 49.94 and 59.87 with norms."""
    found = read(value, unit)
    assert found.read_as == read_as
    assert found.deviation(found.readings()[read_as]) == pytest.approx(deviation)
    assert found.verdict == verdict


def test_to_fit_is_to_round_to_what_is_printed() -> None:
    """2.3 may be anything from 2.25 to 2.35, although that is 2 % away; 2.30 may not, and 230.0 not even 230.1."""
    for value, full, verdict in [
        ("2.3", 2.349e9, "fits"),
        ("2.3", 2.251e9, "fits"),
        ("2.30", 2.349e9, "off"),
        ("2.3", 2.351e9, "off"),
        ("230.0", 230.1e9, "near"),
        ("230", 230.1e9, "fits"),
        ("230.0", 232.4e9, "off"),
    ]:
        assert read(value, convention="full", full=full).verdict == verdict, (value, full)


def test_a_stated_convention_binds() -> None:
    """A row that says how its source counts is not compared with the other convention."""
    assert read("6.0").verdict == "fits"
    bound = read("6.0", convention="full")
    assert (bound.read_as, bound.verdict) == ("full, GMACs", "off")
    assert read("6.06", convention="linear with norms").verdict == "fits"
    assert read("6.06", convention="linear").verdict == "near"


def test_a_source_is_read_in_one_way() -> None:
    """8.1 fits only with norms, so 8 and 9 of the same source are read so too; other sources, and stated rows, are not.

    Of equally many the plainest is taken: 8.0 fits without norms, and alone it is read without.
    """
    together = [
        line("8.1", name="a"),
        line("8", name="b", where="Paper, Table 2"),
        line("9", name="c"),
        line("8", name="d", source="another"),
        line("8", name="e", where="Other, Table 1"),
        line("8", name="f", convention="full"),
        line("-50", "%", name="g"),
    ]
    norms, plain = "full with norms, GMACs", "full, GMACs"
    assert [found.read_as for found in choose(together)] == [norms, norms, norms, plain, plain, plain, "full"]
    assert [found.verdict for found in choose(together)][:3] == ["fits", "fits", "off"]
    assert [found.read_as for found in choose([line("8.1", name="a"), line("8.0", name="b")])] == [plain, plain]


# ---------------------------------------------------------------- studies of costs


def study(
    folder: Path, rows: str, figures: str = "one,a,b,c,d,e,f,GFLOPs,1.0,G,s,primary", excluded: str = "[]"
) -> CostStudy:
    """A study of costs in a folder, with its table of published figures."""
    (folder / "published.csv").write_text(f"{HEAD}\n{figures}\n")
    head = f"question: q\nkind: costs\npublished: {folder / 'published.csv'}\ntolerance: 1\n"
    (folder / "trial.yaml").write_text(f"{head}rows: {rows}\nexcluded: {excluded}\n")
    return load(str(folder / "trial.yaml")).study


ONE = f"[{{published: [one], backbone: {yaml.safe_dump(TINY, default_flow_style=True, width=1000).strip()}}}]"


@pytest.mark.parametrize(
    ("rows", "figures", "excluded", "sentence"),
    [
        (ONE.replace("[one]", "[two]"), "", "[]", "has no figure 'two'"),
        (ONE, "", "[{published: ['o*'], note: why}]", "the published figure one is named twice; one row must do"),
        (ONE, "two", "[]", "no row names two; add rows, or name them under excluded"),
        (ONE.replace("}]", ", schedule: {removed: [1]}, method: cropr}]"), "", "[]", "the row of one: .* 1 counts for"),
        (ONE.replace("}]", ", settings: {a: 1}}]"), "", "[]", "the row of one: method none: a: unknown key"),
        (ONE, "twice", "[]", "published.csv:3: duplicate id 'one'"),
    ],
)
def test_what_a_study_of_costs_refuses(tmp_path: Path, rows: str, figures: str, excluded: str, sentence: str) -> None:
    """Each with the row or line it is about."""
    first = "one,a,b,c,d,e,f,GFLOPs,1.0,G,s,primary"
    second = {
        "": "",
        "two": "\n" + first.replace("one", "two"),
        "twice": "\n" + first,
    }[figures]
    with pytest.raises(UserError, match=sentence):
        compute(study(tmp_path, rows, first + second, excluded))


def test_errors_of_the_file_name_the_line(tmp_path: Path) -> None:
    """As in every other study."""
    with pytest.raises(UserError, match=r"trial.yaml:5: rows.0.methd: unknown key; did you mean method"):
        study(tmp_path, ONE.replace("}]", ", methd: cropr}]"))
    with pytest.raises(UserError, match=r"trial.yaml:5: rows.0.*unknown method 'croper'; did you mean cropr"):
        study(tmp_path, ONE.replace("}]", ", method: croper}]"))


def test_a_model_off_its_schedule_stops_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No record is written of a model that computes on other tokens than its schedule says."""
    rows = ONE.replace("}]", ", method: variance, schedule: {removed: [4, 0, 0, 0]}}]")
    monkeypatch.chdir(tmp_path)
    study(tmp_path, rows)
    monkeypatch.setattr(ScoringSettings, "removal_stage", lambda self: "mid")
    result = CliRunner().invoke(app, ["run", "trial.yaml"])
    assert "the row of one: block 0: its MLP computes on 65 tokens, and by schedule" in str(result.exception)
    assert not Path("results").exists()


def test_a_study_of_costs_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It validates, runs and makes its table; commands for cells refuse it; the CSV has full precision."""
    monkeypatch.chdir(tmp_path)
    study(tmp_path, ONE)
    for command, said in {
        "validate": "valid, 1 published figures",
        "run": "1 published figures",
        "table": "table.md",
    }.items():
        result = CliRunner().invoke(app, [command, "trial.yaml"])
        assert result.exit_code == 0, result.output
        assert said in " ".join(result.output.split())
    loaded = load("trial.yaml")
    assert [(work["status"], work["figures"]) for work in plan(loaded)] == [("done", "one")]
    (run,) = json.loads(Path("results/trial/provenance.json").read_text())["runs"]
    assert run.keys() >= {"command", "commit", "versions"}
    with Path("results/trial/table.csv").open() as file:
        (row,) = csv.DictReader(file)
    with Path("results/trial/figures.csv").open() as file:
        (record,) = csv.DictReader(file)
    assert int(record["macs_full"]) / 1e9 == float(row["gmacs_full"])
    shutil.rmtree("results")
    assert [work["status"] for work in plan(loaded)] == ["to run"]
    assert row["verdict"] == "off"
    assert float(row["gflops_full"]) == 2 * float(row["gmacs_full"])
    assert float(row["gmacs_full_with_norms"]) > float(row["gmacs_full"]) > float(row["gmacs_linear"]) > 0
    assert "gflops_full_with_norms" not in row
    assert "vit_tiny_patch16_224" in row["computed_as"]
    (tmp_path / "published.csv").unlink()
    with pytest.raises(UserError, match=r"published\.csv does not exist"):
        read_published(tmp_path / "published.csv")


def test_schedules_may_be_texts() -> None:
    """Ranges have both ends; nonsense is refused by what it says."""
    assert ScheduleRule(constant=1, blocks="0-3,6").blocks == (0, 1, 2, 3, 6)
    assert ScheduleRule(removed="9,8, 0").removed == (9, 8, 0)
    for text in ("3-1", "x", "1-2-3", "-1", ""):
        with pytest.raises(ValueError, match="is neither a number nor a range such as 0-21"):
            ScheduleRule(constant=1, blocks=text)
