"""The whole job through the real command line on a tiny study, without Ray; MLflow is written afterwards."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from tiny_study import CELLS, RUN, STUDY, finished, here, rows_of, runs, strange, strangers, suite, write

WITHOUT_SCIPY = """import builtins
there = builtins.__import__
def refuse(name, globals=None, *rest, **named):
    ours = (globals or {}).get("__name__", "").split(".")[0] in ("suite", "baselines")
    if ours and name.split(".")[0] == "scipy":  # scikit-learn, which digit scenes come from, may have it
        raise ModuleNotFoundError(name, name="scipy")
    return there(name, globals, *rest, **named)
builtins.__import__ = refuse
"""
ABSENT = (
    *("ray", "mlflow", "sqlalchemy", "mmengine", "mmseg", "mmcv", "matplotlib", "seaborn", "scikit_posthocs"),
    *("jinja2", "tabulate", "onnx"),
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny study ran once."""
    folder = tmp_path_factory.mktemp("ran")
    write(folder)
    done = here(folder, *RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_cell_is_recorded_and_shown(ran: Path) -> None:
    """One file per cell, a tidy record, a table with a line per row, a picture, provenance; no MLflow."""
    results = ran / "results" / "trial"
    assert len(finished(ran)) == CELLS
    assert {row["status"] for row in rows_of(ran)} == {"done"}
    assert {row["cell_id"] for row in rows_of(ran)} == set(finished(ran))
    table = (results / "table.md").read_text()
    for name in ("none", "random", "tome", "cropr", "cropr + last-layer"):
        assert f"| {name}" in table
    assert (results / "pareto.png").read_bytes().startswith(b"\x89PNG")
    origins = json.loads((results / "provenance.json").read_text())["runs"]
    assert origins[0]["device"] == origins[0]["processor"]
    assert origins[0]["versions"]["torch"]
    assert sorted(cell for run in origins for cell in run["cells"]) == sorted(finished(ran))
    assert not list(ran.glob("ml*"))


def test_measured_tokens_are_those_of_the_schedule(ran: Path) -> None:
    """16 patches and a class token: 17, 13, 9, 9 after the blocks; all are back before the last with fusion."""
    rows = [row for row in rows_of(ran) if row["metric"] == "tokens_leaving" and row["seed"] == "0"]
    leaving: dict[str, list[int]] = {}
    for row in sorted(rows, key=lambda row: row["repetition"]):
        leaving.setdefault(row["row"], []).append(int(row["value"]))
    assert leaving["none"] == [17, 17, 17, 17]
    assert leaving["random"] == leaving["tome"] == leaving["cropr"] == [13, 9, 9, 9]
    assert leaving["cropr + last-layer"] == [13, 9, 9, 17]


@pytest.mark.slow
def test_a_study_runs_with_little_installed(tmp_path: Path) -> None:
    """Training and speed need no more, tables scipy too; the rest is named, and Ray's absence says what helps."""
    write(tmp_path, methods=["none", "random"], seeds=[0])
    hook = f"import sys; sys.modules |= dict.fromkeys({ABSENT!r}); from suite.cli.app import main; main()"

    def run(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", before + hook, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    refused = run("run", "trial.yaml")
    assert refused.returncode == 2
    assert "ray is not installed" in refused.stderr
    assert "--in-process" in refused.stderr
    done = run(*RUN, before=WITHOUT_SCIPY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "No table: scipy is not installed; get it with: pip install scipy; where it is: suite table trial"
        in done.stdout
    )
    assert len(finished(tmp_path)) == 1 + 2 + 2
    done = run("table", "trial")
    assert done.returncode == 0, done.stdout + done.stderr
    made = {path.name for path in (tmp_path / "results/trial").iterdir()}
    assert made >= {"cells.csv", "table.csv", "table.html"}
    assert not made & {"table.md", "pareto.png"}
    assert "pareto.png is not drawn" in done.stdout
    assert "Not written: table.md" in done.stdout
    assert "Outdated" not in done.stdout
    for name in ("pareto.png", "table.md"):
        (tmp_path / "results/trial" / name).write_text("of a record before")
    said = run("table", "trial").stdout.splitlines()[-1]
    assert said.startswith("Outdated: pareto.png, table.md, of an earlier run; ")
    assert said.endswith("make them with: suite table trial")


@pytest.mark.parametrize("act", [pytest.param("SIGKILL", marks=pytest.mark.slow), "SIGINT"])
def test_what_ends_a_run_keeps_what_is_finished(tmp_path: Path, act: str) -> None:
    """The same command then runs only what was not; a cell that raises fails alone and is tried again."""
    environment = strangers(tmp_path)
    methods = ["none", strange(tmp_path, "raise"), strange(tmp_path, act), "random"]
    write(tmp_path, methods=methods, seeds=[0], speed=None)
    ended = suite(tmp_path, *RUN, **environment)
    assert ended.returncode == {"SIGKILL": -signal.SIGKILL, "SIGINT": 130}[act], ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    kept = finished(tmp_path)
    assert len(kept) == 2, "the base, and what came before"
    (failure,) = (tmp_path / ".suite/failed").iterdir()
    assert "stumbled over a token" in json.loads(failure.read_text())["reason"]
    done = suite(tmp_path, *RUN, **environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 finished, 3 to run" in done.stdout
    assert {cell: finished(tmp_path)[cell] for cell in kept} == kept
    status = {row["row"]: row["status"] for row in rows_of(tmp_path)}
    assert status == {"base": "done", "none": "done", "raise": "failed", act: "done", "random": "done"}
    assert (tmp_path / "raise").read_text() == "xx"
    assert "RuntimeError: stumbled over a token" in (tmp_path / "results/trial/table.html").read_text()


def test_a_second_call_runs_nothing(ran: Path) -> None:
    """It rebuilds the table, to the byte, from what is there."""
    before, results = finished(ran), ran / "results/trial"
    content = {name: (results / name).read_bytes() for name in ("table.md", "cells.csv", "curves.csv")}
    (results / "table.md").unlink()
    done = here(ran, *RUN)
    assert done.returncode == 0, done.stderr
    assert f"{CELLS} finished, 0 to run" in done.stdout
    assert finished(ran) == before
    assert {name: (results / name).read_bytes() for name in content} == content


def test_committed_results_never_count_as_done(ran: Path, tmp_path: Path) -> None:
    """Without .suite/ the plan says that everything is to run."""
    write(tmp_path)
    shutil.copytree(ran / "results", tmp_path / "results")
    assert here(tmp_path, "plan", "trial.yaml").stdout.count("to run") == CELLS
    assert here(ran, "plan", "trial.yaml").stdout.count("to run") == 0


def test_an_old_record_is_refused(ran: Path, tmp_path: Path) -> None:
    """With what to do."""
    write(tmp_path)
    shutil.copytree(ran / ".suite", tmp_path / ".suite")
    assert (tmp_path / ".suite/format").read_text() == "2\n"
    (tmp_path / ".suite/format").unlink()
    for command in (("plan", "trial.yaml"), RUN):
        done = here(tmp_path, *command)
        assert done.returncode == 2
        assert "(mv .suite .suite-1)" in done.stderr


@pytest.fixture(scope="module")
def tracked(ran: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two MLflow stores: written from the record, and from nothing but the exported results."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("record", "results")}
    shutil.copytree(ran / ".suite", folders["record"] / ".suite")
    for folder in folders.values():
        write(folder)
        shutil.copytree(ran / "results", folder / "results")
        done = here(folder, "track", "trial.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
    return folders


@pytest.mark.parametrize("source", ["record", "results"])
def test_mlflow_has_a_run_per_cell(ran: Path, tracked: dict[str, Path], source: str) -> None:
    """With the tags, parameters, curves, finals and token counts that a comparison needs."""
    folder = tracked[source]
    found = runs(folder)
    assert {run.data.tags["cell_id"] for run in found} == set(finished(ran))
    assert len(found) == CELLS
    assert {run.info.status for run in found} == {"FINISHED"}
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    tome = next(run for run in found if run.data.tags["row"] == "tome" and run.data.tags["kind"] == "accuracy")
    for tag in ("cell_id", "study", "method", "seed", "task", "git_commit", "protocol"):
        assert tag in tome.data.tags
    assert tome.data.params["method"] == "tome"
    row, study = (client.get_run(run_id) for run_id in _ancestors(client, tome))
    assert row.info.run_name == "tome"
    assert row.data.params == {name: value for name, value in tome.data.params.items() if name != "seed"}
    scores = [
        run.data.metrics["acc1_last"] for run in found if run.data.tags["row"] == "tome" and "seed" in run.data.params
    ]
    assert row.data.metrics["acc1_last/median"] == pytest.approx(sum(scores) / 2, rel=1e-4)
    assert study.data.params["recipe/epochs"] == "2"
    assert {"table.md", "pareto.png", "cells.csv"} <= {file.path for file in client.list_artifacts(study.info.run_id)}
    assert {run.info.status for run in runs(folder, "'study', 'row'")} == {"FINISHED"}
    assert tome.data.params["settings/proportional_attention"] == "True"
    assert {"acc1_last", "acc1_best", "macs_full"} <= tome.data.metrics.keys()
    curve = client.get_metric_history(tome.info.run_id, "epoch/acc1")
    assert [point.step for point in curve] == [0, 1]
    assert curve[-1].value == tome.data.metrics["acc1_last"]
    tokens = client.get_metric_history(tome.info.run_id, "block/tokens_leaving")
    assert [point.value for point in sorted(tokens, key=lambda point: point.step)] == [13, 9, 9, 9]


def test_exported_results_tell_mlflow_as_much_as_the_record(tracked: dict[str, Path]) -> None:
    """Every metric of every cell."""
    found = [
        {run.data.tags["cell_id"]: (run.data.metrics, run.data.params) for run in runs(folder)}
        for folder in tracked.values()
    ]
    assert found[0] == found[1]


def test_without_saved_views_all_else_is_written(
    tracked: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An MLflow that takes none loses the views and nothing else, and it is said."""
    for name in (".suite", "results", "mlflow.db", "trial.yaml"):
        subprocess.run(["cp", "-r", tracked["record"] / name, tmp_path], check=True)
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        store.execute("DELETE FROM experiment_tags WHERE key LIKE 'mlflow.sharedViewState%'")
        assert store.total_changes == 2
        store.execute("DELETE FROM latest_metrics WHERE key = 'acc1_last/median'")
        store.execute("DELETE FROM tags WHERE key = 'summary'")
    tag = mlflow.MlflowClient.set_experiment_tag

    def choosy(self: mlflow.MlflowClient, experiment_id: str, key: str, value: str) -> None:
        if key.startswith("mlflow.sharedViewState"):
            raise MlflowException("no such tag")
        tag(self, experiment_id, key, value)

    monkeypatch.setattr(mlflow.MlflowClient, "set_experiment_tag", choosy)
    done = here(tmp_path, "track", "trial.yaml")
    assert done.returncode == 0, done.stderr
    assert "MLflow's page has no saved views of this study: no such tag" in done.stdout
    assert all("acc1_last/median" in run.data.metrics for run in runs(tmp_path, "'row'"))


def _ancestors(client: mlflow.MlflowClient, run: Any) -> list[str]:
    """Ids of the run's parent and of that one's parent."""
    parent = run.data.tags["mlflow.parentRunId"]
    return [parent, client.get_run(parent).data.tags["mlflow.parentRunId"]]


def test_where_nothing_is_recorded_nothing_is_tracked(tmp_path: Path) -> None:
    """And no store is made."""
    write(tmp_path)
    done = here(tmp_path, "track", "trial.yaml")
    assert done.returncode == 2
    assert "there is nothing of trial in .suite or results/trial" in done.stderr
    assert not (tmp_path / "mlflow.db").exists()


def test_a_row_that_changed_is_one_run_still(tracked: dict[str, Path], tmp_path: Path) -> None:
    """Renaming a row rewrites its runs instead of adding some; with all cells done no Ray is started for it."""
    for name in (".suite", "mlflow.db"):
        subprocess.run(["cp", "-r", tracked["record"] / name, tmp_path], check=True)
    write(tmp_path, methods=["none", {"method": "random", "name": "dice"}, *STUDY["methods"][2:]])
    done = here(tmp_path, "run", "trial.yaml", RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert "0 to run" in done.stdout
    found = runs(tmp_path)
    assert len(found) == CELLS
    assert {run.data.tags["row"] for run in found} == {"base", "none", "dice", "tome", "cropr", "cropr + last-layer"}


def test_a_broken_store_stops_no_study(ran: Path, tmp_path: Path) -> None:
    """It is said, with what helps; tracking by itself is an error."""
    write(tmp_path)
    shutil.copytree(ran / ".suite", tmp_path / ".suite")
    (tmp_path / "mlflow.db").write_text("no database")
    done = here(tmp_path, "run", "trial.yaml")
    assert done.returncode == 0, done.stderr
    assert "not written to MLflow" in done.stdout
    assert "suite track trial" in done.stdout
    assert (tmp_path / "results/trial/table.md").is_file()
    assert here(tmp_path, "track", "trial.yaml").returncode == 2


@pytest.mark.slow
def test_in_any_order_a_cell_gives_the_same_bits(ran: Path) -> None:
    """The same cells in a fresh process, in reverse order, end in the same numbers."""
    program = f"""
import json, sys
from pathlib import Path
from suite.kinds.training.checks import MEASURED
from suite.kinds.training.execute import run_cell
from suite.study.cells import Job
home = Path({str(ran)!r}) / ".suite"
entries = [json.loads(path.read_text()) for path in sorted((home / "cells").glob("*.json"), reverse=True)]
for entry in [entry for entry in entries if entry["identity"]["kind"] != "speed"]:
    identity = entry["identity"]
    start = home / "weights" / (identity["start"] + ".pt") if "start" in identity else None
    again = run_cell(Job(identity, start))
    measured, wanted = again["metrics"], entry["metrics"]
    assert measured.keys() == wanted.keys()
    differing = [key for key in wanted if measured[key] != wanted[key]]
    assert MEASURED.issuperset(differing), (identity, measured, wanted)
    assert again["curves"] == entry["curves"], identity
    print("same")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("same") == CELLS - 5


def test_a_diverging_cell_fails_with_a_sentence(tmp_path: Path) -> None:
    """A learning rate far too high: the reason says what to try. A base stops what starts from it, but no speed."""
    write(tmp_path, methods=["none"], seeds=[0], finetune=STUDY["finetune"] | {"learning_rate": 1e30}, speed=None)
    done = here(tmp_path, *RUN)
    assert done.returncode == 1
    assert "TrainingFailed: " in done.stdout
    assert "lower learning_rate" in done.stdout
    assert "| 0/1, 1 diverged |" in " ".join((tmp_path / "results/trial/table.md").read_text().split())
    write(tmp_path, methods=["none"], seeds=[0], base={"recipe": STUDY["base"]["recipe"] | {"learning_rate": 1e30}})
    done = here(tmp_path, *RUN)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 cells failed and 1 were not run, 1 are finished and kept; " in done.stdout
    assert "resume with: suite run trial.yaml --in-process\n" in done.stdout


def test_what_cannot_be_written_is_named(ran: Path, tmp_path: Path) -> None:
    """One sentence and code 2. What is finished stays finished."""
    write(tmp_path)
    (tmp_path / ".suite").mkdir()
    (tmp_path / ".suite/format").write_text("2\n")
    (tmp_path / ".suite/cells").write_text("a file where a folder should be")
    done = here(tmp_path, *RUN)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: cannot write .suite/cells/")
    shutil.rmtree(tmp_path / ".suite")
    shutil.rmtree(tmp_path / "results")
    shutil.copytree(ran / ".suite", tmp_path / ".suite")
    (tmp_path / "results").write_text("a file where a folder should be")
    done = here(tmp_path, *RUN)
    assert done.returncode == 2, done.stderr
    assert "error: results is no folder" in done.stderr
    assert len(finished(tmp_path)) == CELLS


def test_a_method_that_lacks_what_it_needs_is_skipped(tmp_path: Path) -> None:
    """EViT on a backbone without class token: recorded as skipped, with the reason, and not tried again."""
    options = STUDY["backbone"]["options"] | {"class_token": False, "global_pool": "avg"}
    backbone = STUDY["backbone"] | {"options": options}
    write(tmp_path, methods=["none", "evit"], seeds=[0], backbone=backbone)
    done = here(tmp_path, *RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [row for row in rows_of(tmp_path) if row["status"] == "skipped"]
    assert {row["row"] for row in skipped} == {"evit"}
    assert skipped[0]["reason"] == "EViT needs a class token and the backbone has none"
    assert "0 to run" in here(tmp_path, *RUN).stdout
