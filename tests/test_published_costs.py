"""Published costs beside computed ones."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from suite.cli import app
from suite.costs import make_cost_table
from suite.errors import UserError
from suite.measure.macs import Macs
from suite.report.cost_table import cost_table
from suite.report.costs import Figure, Line, compute, read_published
from suite.report.render import write
from suite.study.configuration import CostRow, CostStudy
from suite.study.load import load_costs, load_study
from suite.study.schema import ScheduleRule

ROOT = Path(__file__).parents[1]
HEAD = ",".join(Figure._fields)
TINY = {
    "name": "vit_tiny_patch16_224",
    "options": {"img_size": 32, "patch_size": 4, "embed_dim": 48, "depth": 4, "num_heads": 4},
}


@pytest.fixture(scope="module")
def lines() -> dict[str, Line]:
    """Every published figure of studies/costs.yaml, computed and counted by torch."""
    study = load_costs(str(ROOT / "studies/costs.yaml"))
    absolute = study.model_copy(update={"published": ROOT / study.published})
    return {line.figure.id: line for line in compute(absolute)}


def figure(value: str, unit: str = "G", name: str = "one") -> Figure:
    """A published figure."""
    return Figure(name, "Paper, Table 1", "ToMe", "ViT", "", "224", "r=8", "GFLOPs", value, unit, "a source", "primary")


def line(value: str, unit: str = "G", convention: str | None = None, macs: Macs | None = None) -> Line:
    """A line whose model has 8 and 6 GMACs, and the unpruned one 16 and 15."""
    row = CostRow(published=("one",), backbone="vit", convention=convention)
    return Line(figure(value, unit), row, 1.0, macs or Macs(8e9, 6e9), Macs(16e9, 15e9))


# ---------------------------------------------------------------- the committed study


def test_what_fits(lines: dict[str, Line]) -> None:
    """All of ToMe, EViT with its fused token, timm in both conventions, Cropr in `linear`; and what does not."""
    fits = {name for name, found in lines.items() if found.verdict == "fits"}
    off = {name for name, found in lines.items() if found.verdict == "off"}
    assert {name for name in lines if name.startswith("tome-t3")} <= fits
    assert {name for name in lines if "-fused-" in name} <= fits
    assert {"cropr-eva02-r40", "cropr-coco", "tome-t4-vit-s-r-13", "evit-t2-deit-s"} <= fits
    assert {name for name in lines if name.startswith("timm-")} <= fits
    assert {"cropr-eva02-at-once", "idlevit-abstract", "dynamicvit-readme-deit-b-rho-0.7"} <= off
    assert all(lines[name].row.note for name in lines.keys() - fits)


def test_conventions(lines: dict[str, Line]) -> None:
    """Papers of ToMe, EViT and DynamicViT print GMACs with all products, Cropr without those of the attention."""
    read_as = {name: found.nearest().name for name, found in lines.items() if found.verdict == "fits"}
    assert read_as["cropr-eva02-r40"] == "linear"
    assert read_as["cropr-coco"] == "linear, GMACs"
    assert read_as["timm-benchmark-vit-large-patch16-224-pt210"] == "linear, GMACs"
    others = {name: read for name, read in read_as.items() if not name.startswith(("cropr", "timm"))}
    assert set(others.values()) == {"full, GMACs"}
    for name in others:  # the other convention does not fit, whatever the rounding
        assert not any(lines[name].fits(reading) for reading in lines[name].readings() if "linear" in reading.name)


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
    assert lines[name].macs == Macs(by_hand + depth * 2 * tokens**2 * width, by_hand)
    assert (round(lines[name].macs.full / 1e9, 3), round(by_hand / 1e9, 3)) == (full, linear)


def test_dynamicvit_prints_figures_cut_after_one_decimal(lines: dict[str, Line]) -> None:
    """Its predictors, three linear layers and one before them on each patch of each stage, explain what is off.

    D to D, D to D/2, D/2 to D/4 and D/4 to 2 (github raoyongming/DynamicViT, `PredictorLG`), where patches are counted
    before each cut.
    """
    widths = {"deit-256": 256, "deit-s": 384, "deit-b": 768}
    checked = 0
    for name, found in lines.items():
        if not name.startswith("dynamicvit") or found.verdict == "not computed" or "rho" not in name:
            continue
        width = next(width for key, width in widths.items() if f"-{key}-" in name)
        rate = float(name.split("rho-")[1])
        layers = width**2 + width**2 // 2 + width**2 // 8 + width // 2
        patches = sum(math.floor(196 * rate**stage) for stage in range(3))
        with_predictors = found.macs.full / 1e9 + layers * patches / 1e9
        assert math.floor(10 * with_predictors) / 10 == float(found.figure.value), name
        checked += 1
    assert checked == 6


def test_the_committed_table_is_this_one(lines: dict[str, Line], tmp_path: Path) -> None:
    """`results/costs/` holds what the study makes."""
    for name in write(cost_table("costs", list(lines.values())), tmp_path):
        assert (ROOT / "results/costs" / name).read_bytes() == (tmp_path / name).read_bytes(), name


# ---------------------------------------------------------------- reading one figure


@pytest.mark.parametrize(
    ("value", "unit", "read_as", "deviation", "verdict"),
    [
        ("8.05", "G", "full, GMACs", -100 * 0.05 / 8.05, "fits"),
        ("8.1", "G", "full, GMACs", -100 * 0.1 / 8.1, "off"),
        ("16.0", "G", "full, GFLOPs", 0, "fits"),
        ("12", "G", "linear, GFLOPs", 0, "fits"),
        ("6.4", "G", "linear, GMACs", -100 * 0.4 / 6.4, "off"),
        ("6", "G", "linear, GMACs", 0, "fits"),
        ("8.4", "G", "full, GMACs", -100 * 0.4 / 8.4, "off"),
        ("9", "G", "full, GMACs", -100 / 9, "off"),
        ("-50", "%", "full", 0, "fits"),
        ("-60", "%", "linear", 0, "fits"),
        ("-60.5", "%", "linear", 0.5, "fits"),
        ("-61", "%", "linear", 1, "off"),
    ],
)
def test_how_a_figure_is_read(value: str, unit: str, read_as: str, deviation: float, verdict: str) -> None:
    """By the nearest of what was computed: 8 and 6 GMACs, 16 and 12 GFLOPs, 50 and 60 % less."""
    found = line(value, unit)
    assert found.nearest().name == read_as
    assert found.deviation(found.nearest()) == pytest.approx(deviation)
    assert found.verdict == verdict


def test_rounding_counts_as_fitting() -> None:
    """2.3 may be anything from 2.25 to 2.35, although that is 2 % away; 2.30 may not."""
    for value, verdict in {"2.3": "fits", "2.30": "off"}.items():
        assert line(value, macs=Macs(2.349e9, 1e9)).verdict == verdict
    assert line("2.3", macs=Macs(2.351e9, 1e9)).verdict == "off"


def test_a_stated_convention_binds() -> None:
    """A row that says how its source counts is not compared with the other convention."""
    assert line("6.0").verdict == "fits"
    bound = line("6.0", convention="full")
    assert (bound.nearest().name, bound.verdict) == ("full, GMACs", "off")


# ---------------------------------------------------------------- studies of costs


def study(
    folder: Path, rows: str, figures: str = "one,a,b,c,d,e,f,GFLOPs,1.0,G,s,primary", left_out: str = "[]"
) -> CostStudy:
    """A study of costs in a folder, with its table of published figures."""
    (folder / "published.csv").write_text(f"{HEAD}\n{figures}\n")
    head = f"question: q\ntask: costs\npublished: {folder / 'published.csv'}\ntolerance: 1\n"
    (folder / "trial.yaml").write_text(f"{head}rows: {rows}\nleft_out: {left_out}\n")
    return load_costs(str(folder / "trial.yaml"))


ONE = f"[{{published: [one], backbone: {yaml.safe_dump(TINY, default_flow_style=True, width=1000).strip()}}}]"


@pytest.mark.parametrize(
    ("rows", "figures", "left_out", "sentence"),
    [
        (ONE.replace("[one]", "[two]"), "", "[]", "has no figure 'two'"),
        (ONE, "", "[{published: ['o*'], note: why}]", "two rows name the published figure one"),
        (ONE, "two", "[]", "no row computes two; add rows, or name them under left_out"),
        (ONE.replace("}]", ", schedule: {removed: [1]}, method: cropr}]"), "", "[]", "the row of one: .* 1 counts for"),
        (ONE.replace("}]", ", settings: {a: 1}}]"), "", "[]", "the row of one: method none: a: unknown key"),
        (ONE, "twice", "[]", "published.csv:3: the id one stands twice"),
        (ONE, "word", "[]", "published.csv:3: 'many' 'G' is not a number other than 0 in G or %"),
        (ONE, "short", "[]", "published.csv:3: 2 columns instead of 12"),
    ],
)
def test_what_a_study_of_costs_refuses(tmp_path: Path, rows: str, figures: str, left_out: str, sentence: str) -> None:
    """Each with the row or line it is about."""
    first = "one,a,b,c,d,e,f,GFLOPs,1.0,G,s,primary"
    second = {
        "": "",
        "two": "\n" + first.replace("one", "two"),
        "twice": "\n" + first,
        "word": "\n" + first.replace("one", "two").replace("1.0", "many"),
        "short": "\ntwo,a",
    }[figures]
    with pytest.raises(UserError, match=sentence):
        compute(study(tmp_path, rows, first + second, left_out), check=False)


def test_errors_of_the_file_name_the_line(tmp_path: Path) -> None:
    """As in every other study."""
    with pytest.raises(UserError, match=r"trial.yaml:5: rows.0.methd: unknown key; did you mean method"):
        study(tmp_path, ONE.replace("}]", ", methd: cropr}]"))
    with pytest.raises(UserError, match=r"trial.yaml:5: rows.0.*unknown method 'croper'; did you mean cropr"):
        study(tmp_path, ONE.replace("}]", ", method: croper}]"))


def test_a_miscount_stops_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No table is written of a model whose formula torch's counter does not confirm."""
    from suite.reduction.scoring import ScoringMethod

    rows = ONE.replace("}]", ", method: variance, schedule: {removed: [4, 0, 0, 0]}}]")
    monkeypatch.chdir(tmp_path)
    loaded = study(tmp_path, rows)
    monkeypatch.setattr(ScoringMethod, "score_macs", lambda self, patches, block: 1000)
    with pytest.raises(UserError, match="the row of one: formula and counter disagree: block 0, method: 1,000 MACs"):
        make_cost_table(loaded, "trial", Console(quiet=True), check=True)
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
    with Path("results/trial/table.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["verdict"] == "off"
    assert float(row["gflops_full"]) == 2 * float(row["gmacs_full"])
    assert float(row["gmacs_full"]) > float(row["gmacs_linear"]) > 0
    assert "vit_tiny_patch16_224" in row["computed_as"]
    with pytest.raises(
        UserError, match=r"is a study of costs and has no cells; compute its table: suite run trial\.yaml"
    ):
        load_study("trial.yaml")
    (tmp_path / "published.csv").unlink()
    with pytest.raises(UserError, match=r"published\.csv does not exist; a study of costs needs"):
        read_published(tmp_path / "published.csv")


def test_schedules_may_be_texts() -> None:
    """Ranges have both ends; nonsense is refused by what it says."""
    assert ScheduleRule(constant=1, blocks="0-3,6").blocks == (0, 1, 2, 3, 6)
    assert ScheduleRule(removed="9,8, 0").removed == (9, 8, 0)
    for text in ("3-1", "x", "1-2-3", "-1", ""):
        with pytest.raises(ValueError, match="is neither a number nor a range such as 0-21"):
            ScheduleRule(constant=1, blocks=text)
