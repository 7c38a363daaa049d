"""A study of several lengths: each row trained for each, compared within its length, and what a doubling gains."""

from pathlib import Path

import pytest
from hand_made import cell, written
from mlflow import MlflowClient
from tiny_study import RUN, STUDY, here, write

from suite.errors import UserError
from suite.kinds.training.cells import expand
from suite.kinds.training.facts import facts
from suite.kinds.training.figures.classes import _references
from suite.kinds.training.figures.maps import example_rows
from suite.kinds.training.results import Results
from suite.kinds.training.summary import lines_of, schedules
from suite.study.load import load

ROWS = {"methods": ["none", "random", "cropr"], "seeds": [0, 1], "speed": None}


@pytest.mark.slow
def test_each_length_is_a_training_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same bases; the control is random pruning of the same length, and a doubling gains the difference."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, lengths=[1, 4], **ROWS)
    cells = [cell for cell in expand(load("trial.yaml").study) if cell.kind == "accuracy"]
    assert {(cell.row, cell.schedule, cell.identity["recipe"]["epochs"]) for cell in cells} == {
        *(("none", f"{epochs} epochs", epochs) for epochs in (1, 4)),
        *((row, f"4 4 0 0, {epochs} epochs", epochs) for row in ("random", "cropr") for epochs in (1, 4)),
    }
    assert len({cell.start for cell in cells}) == 2
    assert here(tmp_path, *RUN).returncode == 0
    lines = {line.label: line for line in lines_of(tmp_path / "results/trial")}
    short, long = (lines[f"cropr [{epochs} epochs]"] for epochs in (1, 4))
    assert short.score
    assert long.score
    assert long.comparison
    control = lines["random [4 epochs]"]
    assert control.score
    assert long.comparison.gap == pytest.approx(long.score.median - control.score.median)
    assert (short.gain, long.gain) == (None, pytest.approx((long.score.median - short.score.median) / 2))
    assert "gain per doubling (pp)" in (tmp_path / "results/trial/table.md").read_text()
    assert here(tmp_path, "figures", "trial").returncode == 0
    assert (tmp_path / "results/trial/lengths.png").is_file()


def test_lengths_stand_in_their_order(tmp_path: Path) -> None:
    """Of numbers, not of letters."""
    rows = []
    for epochs in (16, 2, 4):
        rows += cell("random", 0, 50.0, schedule=f"8 8 0, {epochs} epochs", cell_id=f"random-{epochs}")
        rows += cell("none", 0, 60.0, schedule=f"{epochs} epochs", cell_id=f"none-{epochs}")
    lines = lines_of(written(tmp_path, rows))
    assert [line.epochs for line in lines] == [2, 4, 16, 2, 4, 16]
    assert schedules(lines) == ["8 8 0, 2 epochs", "8 8 0, 4 epochs", "8 8 0, 16 epochs"]


def test_a_gain_is_of_the_row_itself(tmp_path: Path) -> None:
    """For each doubling since its next shorter training, whatever others gain."""
    rows = []
    for row, scores in {"random": {2: 50.0, 8: 54.0}, "cropr": {2: 40.0, 4: 47.0, 16: 60.0}}.items():
        for epochs, score in scores.items():
            rows += cell(row, 0, score, schedule=f"8 8 0, {epochs} epochs", cell_id=f"{row}-{epochs}")
    gains = {(line.row, line.epochs): line.gain for line in lines_of(written(tmp_path, rows))}
    assert gains == {
        ("random", 2): None,
        ("random", 8): 2.0,
        ("cropr", 2): None,
        ("cropr", 4): 7.0,
        ("cropr", 16): 6.5,
    }


def test_each_length_has_its_own_unpruned_model(tmp_path: Path) -> None:
    """As a label of its own, also before a reduced row has a score, and as the reference of its length."""
    rows = [
        line
        for epochs, score in ((2, 60.0), (4, 64.0))
        for line in cell("none", 0, score, schedule=f"{epochs} epochs", cell_id=f"none-{epochs}")
    ]
    labels = [line.label for line in lines_of(written(tmp_path / "a", rows))]
    assert labels == ["none [2 epochs]", "none [4 epochs]"]
    more = [
        line
        for epochs, score in ((2, 50.0), (4, 55.0))
        for line in cell("random", 0, score, schedule=f"8 8 0, {epochs} epochs", cell_id=f"random-{epochs}")
    ]
    folder = written(tmp_path / "b", [*rows, *more])
    references = _references(Results(folder, lines_of(folder)))["the unpruned model"]
    assert references == {f"random [{epochs} epochs]": f"none [{epochs} epochs]" for epochs in (2, 4)}


@pytest.mark.slow
def test_runs_and_maps_name_lengths_as_tables_do(tmp_path: Path) -> None:
    """Each unpruned model of a length has a run of its own name, and lengths stand in the order of numbers."""
    write(tmp_path, lengths=[2, 10], **ROWS | {"methods": ["none"], "seeds": [0]})
    assert here(tmp_path, *RUN).returncode == 0
    assert here(tmp_path, "track", "trial.yaml").returncode == 0
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("trial")
    assert experiment
    found = {run.info.run_name for run in client.search_runs([experiment.experiment_id])}
    assert found >= {f"seed 0 · none [{epochs} epochs]" for epochs in (2, 10)}
    folder = tmp_path / "results/trial"
    study = load(str(tmp_path / "trial.yaml")).study
    assert list(example_rows(study, Results(folder, lines_of(folder)))) == ["none [2 epochs]", "none [10 epochs]"]
    said = dict(facts(folder, lines_of(folder)).facts)
    assert said.keys() >= {"none [2 epochs]", "none [10 epochs]"}
    write(tmp_path, lengths=[2], **ROWS | {"methods": ["none"], "seeds": [0]})
    assert here(tmp_path, *RUN).returncode == 0
    assert "unpruned" in dict(facts(folder, lines_of(folder)).facts)


def test_one_length_needs_no_name(tmp_path: Path) -> None:
    """Nor does a name that ends like one make a length."""
    rows = [*cell("random", 0, 50.0, schedule="8 8 0, 4 epochs"), *cell("none", 0, 60.0, schedule="4 epochs")]
    folder = written(tmp_path, rows)
    assert [line.label for line in lines_of(folder)] == ["none", "random"]
    other = written(tmp_path / "other", cell("random", 0, 50.0, schedule="of 4 epochs"))
    assert [line.epochs for line in lines_of(other)] == [None]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lengths": [2, 2]}, "lengths.1: 2 is a duplicate"),
        ({"lengths": [1], "finetune": STUDY["finetune"] | {"warmup_epochs": 1}}, "1 epochs are no more than the 1.0"),
        ({"lengths": [1, 2], "speed": STUDY["speed"]}, "has one schedule and no speed"),
        ({"lengths": [0]}, "lengths.0"),
        ({"schedules": [{"name": "2 epochs", "removed": [4, 4, 0, 0]}]}, "reads as one of several lengths"),
    ],
)
def test_lengths_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, object], message: str
) -> None:
    """Named with their place."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, **ROWS | wrong)
    with pytest.raises(UserError) as refused:
        load("trial.yaml")
    assert message in str(refused.value)
