"""A package installed apart from ours brings a data set, a task, a kind of study and a method: end-to-end runs."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

PACKAGE = Path(__file__).parent / "example_package"


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the studies and the method, and the package installed into `site` beside them."""
    folder = tmp_path_factory.mktemp("example")
    for name in ("mine.py", "counting.yaml", "parameters.yaml"):
        (folder / name).write_text((PACKAGE / name).read_text())
    copy = folder / "source"  # setuptools writes beside what it builds
    (copy / "digit_counts").mkdir(parents=True)
    for path in [PACKAGE / "pyproject.toml", *PACKAGE.glob("digit_counts/*.py")]:
        (copy / path.relative_to(PACKAGE)).write_text(path.read_text())
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder / "site")]
    subprocess.run([sys.executable, *install, str(copy)], check=True, capture_output=True)
    return folder


def suite(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, where the package is installed."""
    paths = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *([] if words[0] == "-c" else ["-m", "suite"]), *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """A study's table."""
    with (folder / "results" / name / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def ran(there: Path) -> Path:
    """The folder in which the study of another task ran."""
    run = suite(there, "run", "counting.yaml", "--in-process")
    assert run.returncode == 0, run.stdout + run.stderr
    return there


def test_everything_is_found(there: Path) -> None:
    """`suite list` names task, data set and kind."""
    found = json.loads(suite(there, "list", "--json").stdout)
    assert "counting" in found["tasks"]
    assert "counted-digits" in found["data sets"]
    assert "parameters" in found["kinds of study"]


@pytest.mark.slow
def test_a_study_of_another_task_data_set_and_method(ran: Path) -> None:
    """Trained, timed, tabulated, drawn, reported and traced without a line of ours changed."""
    rows = {row["row"]: row for row in table(ran, "counting")}
    assert rows.keys() == {"none", "random", "mine", "cropr"}
    assert all(row["n"] == "2" and float(row["speed_median"]) > 0 for row in rows.values())
    assert suite(ran, "report", "counting.yaml").returncode == 0
    page = (ran / "results/counting/report.html").read_text()
    assert re.search(r'"headline"><code>mine</code> is not shown to differ from random: [+-]0\.\d\d digits, ', page)
    assert "has negative mean absolute error -1." in page
    assert "points" not in page
    heading = (ran / "results/counting/table.md").read_text().splitlines()[0]
    assert [name in heading for name in (" −MAE digits |", " Δ vs. random (digits) |", "pp")] == [True, True, False]
    trace = suite(ran, "trace", "counting:mine:score_median")
    assert trace.returncode == 0, trace.stderr
    assert "minus_error_last" in trace.stdout


@pytest.mark.slow
def test_its_runs_are_in_mlflow_and_its_figures_are_drawn(ran: Path) -> None:
    """Rows and cells have the headline metric of the task, in medians and curves, and so do both views."""
    tracked = suite(ran, "track", "counting.yaml")
    assert tracked.returncode == 0, tracked.stdout + tracked.stderr
    assert "no saved views" not in tracked.stdout
    client = MlflowClient(tracking_uri=f"sqlite:///{ran / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("counting")
    found = {run.info.run_name: run.data for run in client.search_runs([experiment.experiment_id])}
    rows = {row["row"]: row for row in table(ran, "counting")}
    for name, row in rows.items():
        assert found[name].metrics["minus_error_last/median"] == pytest.approx(float(row["score_median"]), rel=1e-4)
    mine, cell = found["mine"].metrics, found["seed 0 · mine"].metrics
    assert mine["difference_to_random/mean"] == pytest.approx(float(rows["mine"]["gap"]), rel=1e-4)
    assert {"minus_error_last", "minus_error_best", "epoch/minus_error"} <= cell.keys()
    assert "Y-axis `minus_error_last`" in experiment.tags["mlflow.note.content"]
    drawn = suite(ran, "figures", "counting.yaml")
    assert drawn.returncode == 0, drawn.stdout + drawn.stderr
    assert "pareto           written to results/counting/pareto.png" in drawn.stdout


@pytest.mark.slow
def test_a_changed_method_file_makes_new_cells(ran: Path) -> None:
    """Its code is part of a cell's identity: only its own cells run anew."""
    path = ran / "mine.py"
    before = path.read_text()
    path.write_text(before.replace(".norm(dim=-1)", ".norm(dim=-1).neg()"))
    plan = json.loads(suite(ran, "plan", "counting.yaml", "--json").stdout)
    path.write_text(before)
    assert {cell["row"] for cell in plan if cell["status"] == "to run"} == {"mine"}


@pytest.mark.slow
def test_a_kind_of_study(there: Path) -> None:
    """Its own record and table, by the same commands."""
    run = suite(there, "run", "parameters.yaml")
    assert run.returncode == 0, run.stdout + run.stderr
    assert [row["backbone"] for row in table(there, "parameters")] == ["vit_tiny_patch16_224", "vit_small_patch16_224"]
    assert suite(there, "report", "parameters.yaml").returncode == 0
    assert "vit_small_patch16_224 has the most parameters" in (there / "results/parameters/report.html").read_text()
    assert suite(there, "run", "parameters.yaml", "--set", "backbones.0.options={depth: 1}").returncode == 0
    (other,) = (path.name for path in (there / "results").glob("parameters+*"))
    assert suite(there, "compare", "parameters", "results/parameters").returncode == 0
    assert suite(there, "compare", "parameters", other).returncode == 1
    mixed = suite(there, "compare", "parameters", str(PACKAGE.parents[1] / "results/costs"))
    assert "parameters is of kind parameters" in mixed.stderr
    drawn = suite(there, "compare", "parameters", other, "--figure", "counts.png")
    assert drawn.stderr == "error: counts of parameters have no figure\n"
    script = "from suite import results; print(results('parameters').scores['score'].round(1).tolist())"
    assert suite(there, "-c", script).stdout == "[5.7, 22.1]\n"
