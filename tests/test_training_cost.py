"""What training costs: estimated before a study runs, and recorded with it."""

from __future__ import annotations

import csv
import json
import pkgutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from backbones import BACKBONES
from hand_made import cells, lines, written
from test_compare import record
from test_resume import SCENES, run
from tiny_study import RUN, STRANGER, here, rows_of, write

from suite.data.dataset import data_set
from suite.data.stand_in import BrieflyScored
from suite.errors import UserError
from suite.kinds.training import estimate
from suite.kinds.training.cells import expand
from suite.kinds.training.checks import DURATION, MEMORY, OF_TRAINING, RATE
from suite.kinds.training.compare import compared
from suite.kinds.training.execute import _cost, _training_macs
from suite.kinds.training.row_cells import on_one_device
from suite.kinds.training.summary import read_record, summarise
from suite.kinds.training.table import study_table
from suite.kinds.training.timed import UPDATES
from suite.measure.count import count
from suite.reduction.model import reduce
from suite.report.render import as_csv, as_html, markdown
from suite.study.load import load
from suite.study.sides import Side
from suite.tasks.pace import Pace
from suite.tasks.resume import Saved
from suite.tasks.task import task

LONG = 1e6  # seconds, in which any machine does all updates
LENGTHS: dict[str, Any] = {"lengths": [1, 4], "speed": None, "methods": ["none", "cropr"]}


def planned(folder: Path, *words: str) -> Any:
    """`suite plan trial.yaml --estimate --json`."""
    done = here(folder, "plan", "trial.yaml", "--estimate", "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files(folder: Path) -> set[str]:
    """All there are."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_an_estimate_times_what_is_planned_and_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind, row and length with its cells; hours follow the epochs; neither a record nor a state is left."""
    monkeypatch.setattr("suite.kinds.training.timed.SECONDS", LONG)
    write(tmp_path, **LENGTHS)
    found = planned(tmp_path)
    assert files(tmp_path) == {"trial.yaml"}
    wanted = {(one["kind"], one["row"], one["schedule"]) for one in found["cells"]}
    rows = {(row["kind"], row["row"], row["schedule"]): row for row in found["rows"]}
    assert rows.keys() == wanted
    assert len(wanted) == 5
    for row in rows.values():
        assert row["images_per_second"] > 0
        assert (row["updates"], row["batch_size"], row["cells_left"]) == (UPDATES, 16, 2)
        assert row["device"]
    short, long = (rows["accuracy", "cropr", f"4 4 0 0, {epochs} epochs"] for epochs in (1, 4))
    assert long["hours"] == pytest.approx(4 * short["hours"])
    assert short["hours"] * 3600 == pytest.approx(96 / short["images_per_second"])
    assert rows["accuracy", "none", "1 epochs"]["images_per_second_to_none"] == 1
    assert "the updates of 5 rows that were timed" in found["estimate"]
    assert "disk" in found["estimate"]


def test_rows_that_have_finished_are_not_timed(tmp_path: Path) -> None:
    """What their cells took is known."""
    write(tmp_path, methods=["none"], seeds=[0], speed=None)
    assert here(tmp_path, *RUN).returncode == 0
    write(tmp_path, methods=["none", "tome"], seeds=[0], speed=None)
    found = planned(tmp_path)
    assert [row["row"] for row in found["rows"]] == ["tome"]
    assert "2 cells that have finished and the updates of 1 rows that were timed" in found["estimate"]


@pytest.mark.parametrize(
    ("goal", "data"),
    [
        ("classification", {"recipe": "images", "source": "nowhere", "class_count": 1000, "size": 16}),
        ("segmentation", {"recipe": "ade20k", "folder": "nowhere", "size": 16}),
    ],
)
def test_random_pixels_stand_in(goal: str, data: dict[str, Any], tmp_path: Path) -> None:
    """For images that are not here, which is said; how many there would be is known."""
    write(tmp_path, task=goal, data=data, methods=["none"], seeds=[0], speed=None)
    shown = " ".join(here(tmp_path, "plan", "trial.yaml", "--estimate").stdout.split())
    assert "Pixels are random, because the images are not here" in shown
    assert "0 of 2 cells finished; the others about" in shown
    assert ("are taken for ImageNet's 1,281,167 images" in shown) is (goal == "classification")
    (row,) = (row for row in planned(tmp_path)["rows"] if row["kind"] == "accuracy")
    images = {"classification": 1_281_167, "segmentation": 20_210}[goal]
    assert row["hours"] * 3600 * row["images_per_second"] == pytest.approx(2 * images)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which takes whole batches")
def test_what_is_for_a_gpu_is_timed_on_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By fewer images in an update where those take too long; both is said."""
    monkeypatch.setattr("suite.kinds.training.timed.SECONDS", 0.0)
    finetune = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "device": "cuda", "precision": "float16"}
    write(tmp_path, methods=["none"], seeds=[0], speed=None, finetune=finetune)
    shown = " ".join(here(tmp_path, "plan", "trial.yaml", "--estimate").stdout.split())
    assert "This machine has no GPU, for which the study is: on the processor, in float32." in shown
    assert "By fewer images in an update than the study's 16, which would take too long." in shown
    row = planned(tmp_path)["rows"][-1]
    assert (row["updates"], row["batch_size"]) == (1, 2)


def test_what_is_lacking_is_said_before_minutes_of_timing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which are not waited for here."""

    def begun(*_: object) -> None:
        raise UserError("timing has begun")

    monkeypatch.setattr("suite.kinds.training.timed_table.timed", begun)
    write(tmp_path, data={"recipe": "images", "source": "nowhere", "class_count": 10, "size": 16})
    said = here(tmp_path, "plan", "trial.yaml", "--estimate").stderr
    assert 0 <= said.find("missing input") < said.find("timing has begun")


def test_a_kind_without_updates_has_no_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so."""
    done = here(Path(__file__).parents[1], "plan", "costs", "--estimate")
    assert done.returncode == 2
    assert "which has no updates to time" in done.stderr


def test_every_trained_cell_records_what_it_cost(tmp_path: Path) -> None:
    """In the record, and in the long form of the table alone."""
    write(tmp_path, methods=["none", "cropr"], seeds=[0], speed=None)
    assert here(tmp_path, *RUN).returncode == 0
    rows = rows_of(tmp_path)
    found = {(row["row"], row["metric"]): float(row["value"]) for row in rows if row["metric"] in OF_TRAINING}
    assert {row for row, metric in found if metric in (RATE, DURATION)} == {"base", "none", "cropr"}
    assert min(found.values()) > 0
    with (tmp_path / "results/trial/table.csv").open() as file:
        table = {row["row"]: row for row in csv.DictReader(file)}
    assert float(table["none"]["training_macs_ratio"]) == 1 < float(table["cropr"]["training_macs_ratio"])
    assert float(table["cropr"]["training_images_per_second"]) == found["cropr", RATE]
    assert float(table["cropr"]["training_hours"]) == pytest.approx(found["cropr", DURATION] / 3600)
    assert "training, images/s" in (tmp_path / "results/trial/table.html").read_text()
    assert "training" not in (tmp_path / "results/trial/table.md").read_text()
    traced = here(tmp_path, "trace", "trial:cropr:training_images_per_second", "--json")
    assert json.loads(traced.stdout)["cells"][0]["values"] == [found["cropr", RATE]]


def test_a_record_without_costs_has_no_columns_of_them(tmp_path: Path) -> None:
    """As those from before."""
    table = study_table("trial", lines(tmp_path, cells("random", 80.0, 81.0)))
    assert not any("training" in text for text in (as_csv(table), as_html(table), markdown(table)))


def test_a_comparison_does_not_look_at_costs(tmp_path: Path) -> None:
    """Cells are equal to the bit whatever they took, and where the other record does not say it."""
    rows = cells("tome", 80.0, 81.0)
    costs = [rows[0] | {"metric": metric, "value": "7.5"} for metric in sorted(OF_TRAINING)]
    one, other = record(tmp_path / "a", [*rows, *costs]), record(tmp_path / "b", rows)
    (found,) = compared(Side("a", one), Side("b", other))
    assert found.equal == 2


def test_forward_in_training_counts_what_only_that_needs() -> None:
    """Cropr's auxiliary heads and a teacher; nothing where there is neither. The model stays as it is."""
    goal, teacher = task("classification"), {"distillation_weight": 1.0}
    added, models = {}, {}
    for name, settings in (("random", {}), ("cropr", {}), ("idlevit", {}), ("idlevit", teacher)):
        model = models[name] = reduce(BACKBONES["vit stochastic"](num_classes=10), name, (9, 8, 0, 0), settings)
        added[name, bool(settings)] = _training_macs(model, goal) - count(model).macs.full
        assert not model.deployed
    width, tokens = models["cropr"].backbone.embed_dim, count(models["cropr"]).tokens.mlp
    head = 2 * 4 * width**2 + 10 * width  # an MLP and logits of one query, which looks at all tokens before
    prefix = width  # whose score is computed when it is deployed alone
    assert added["cropr", False] == sum(2 * width * entering + head - prefix for entering in tokens[:2])
    assert added["random", False] == 0
    assert added["idlevit", True] - added["idlevit", False] == count(models["idlevit"].backbone).macs.full


def test_rows_that_cannot_be_trained_here_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the sentence, which says so; what is not known of others still voids it."""
    write(tmp_path, methods=["none", "tome"], seeds=[0, 1], speed=None)
    cells = expand(load(str(tmp_path / "trial.yaml")).study)
    monkeypatch.setattr(estimate, "_seconds", lambda *_: {})
    rows: dict[str, tuple[str, ...]] = {cell.row: estimate.alike(cell) for cell in cells}
    timed = {rows["base"]: 60.0, rows["none"]: 60.0, rows["tome"]: None}
    said = estimate.duration("trial", cells, cells, 1, timed)
    assert "the others about 4 min on 1 idle cores" in said
    assert said.endswith("of 2 rows that were timed, without 2 cells that cannot be trained here")
    assert "is not known" in estimate.duration("trial", cells, cells, 1, {rows["base"]: 60.0, rows["tome"]: None})
    nothing = estimate.duration("trial", cells, [cell for cell in cells if cell.row == "tome"], 1, timed)
    assert nothing == "; without 2 cells that cannot be trained here"


def test_a_method_that_raises_is_a_problem_of_its_row(tmp_path: Path) -> None:
    """As of a cell that `suite run` runs; the others are timed."""
    (tmp_path / "stranger.py").write_text(STRANGER)
    settings = {"diary": str(tmp_path / "diary"), "act": "raise"}
    stranger = {"name": "odd", "method": "stranger.py", "settings": settings}
    write(tmp_path, methods=["none", stranger], seeds=[0], speed=None)
    (tmp_path / "diary.over").touch()
    found = planned(tmp_path)
    problems = {row["row"]: row["problem"] for row in found["rows"]}
    assert problems["odd"] == "RuntimeError: stumbled over a token"
    assert not problems["none"]
    assert found["estimate"].count("without 1 cells that cannot be trained here") == 1


def test_a_long_warm_up_does_not_stop_an_estimate(tmp_path: Path) -> None:
    """Whose updates are fewer."""
    finetune = {"epochs": 30, "batch_size": 16, "learning_rate": 1e-3, "warmup_epochs": 20}
    write(tmp_path, methods=["none"], seeds=[0], speed=None, finetune=finetune)
    assert not any(row["problem"] for row in planned(tmp_path)["rows"])


def test_an_estimate_scores_two_images(tmp_path: Path) -> None:
    """Of data that are here; all else stays, and so does what is trained on."""
    data = data_set({"recipe": "digit-scenes", "canvas": 16, "digit_size": [8, 12], "train": 96, "validation": 40})
    brief = BrieflyScored(data)
    assert (len(brief.open("train")), len(brief.open("validation"))) == (96, 2)
    assert {name: len(values) for name, values in brief.open("validation").targets.items()} == {"labels": 2, "maps": 2}
    assert brief.targets == data.targets


@pytest.mark.parametrize(
    ("name", "loads"),
    [
        ("random", "suite.tasks.classification.loader.to_input"),
        ("random segmentation", "suite.tasks.segmentation.data.MapDataset.prepare_data"),
    ],
)
def test_a_rate_has_the_time_to_load_images(name: str, loads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every update but the first, and not that of images that are scored."""
    now, saved, load_one = [0.0], Saved(None, 0), pkgutil.resolve_name(loads)

    def loaded(*arguments: Any) -> Any:
        now[0] += 1
        return load_one(*arguments)

    monkeypatch.setattr(loads, loaded)
    saved.pace = Pace(lambda: now[0])
    run(name, data_set(SCENES), saved)
    each, updates = 1 if name == "random" else 8, 3 * 5 - 1  # loads of an update by 8 images
    assert saved.pace.rates == (8 * updates, each * updates)


def test_a_training_of_one_update_has_no_rate(tmp_path: Path) -> None:
    """Which the table says, with all else that it cost."""
    saved = Saved(None, 0)
    saved.pace.updated(16)
    saved.pace.memory = 2**30
    assert _cost(saved).keys() == {MEMORY, DURATION}
    saved.pace.updated(16)
    assert _cost(saved).keys() == {RATE, MEMORY, DURATION}
    saved.spent = LONG  # before it was stopped
    assert _cost(saved)[DURATION] >= LONG
    rows = cells("random", 80.0, 81.0)
    costs = [rows[0] | {"metric": DURATION, "value": "7200.0"}]
    page = as_html(study_table("trial", summarise(read_record(written(tmp_path, [*rows, *costs])))))
    assert "training, hours" in page
    assert "training, images/s" not in page
    assert "one update has no rate" in page


def test_costs_of_several_devices_have_no_median() -> None:
    """Of the rows that ran on several; those of one device keep them."""
    rows = [row | {"metric": RATE} for row in (*cells("tome", 1.0, 2.0), *cells("random", 3.0, 4.0))]
    frame = pd.DataFrame([*rows, *cells("tome", 80.0)])
    devices = {"tome-0": "A", "tome-1": "B", "random-0": "A", "random-1": "A"}
    found = on_one_device(frame, devices)
    assert {*found[found["metric"] == RATE]["row"]} == {"random"}
    assert "tome" in {*found["row"]}
    assert on_one_device(frame, dict.fromkeys(devices, "A")) is frame
