"""MLflow's store: a tree of runs derived from the record, the same however often; and `suite ui`."""

import base64
import gc
import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import browser
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from sqlalchemy.exc import OperationalError
from test_on_ray import listening
from tiny_study import SUITE, here

from suite.errors import UserError
from suite.kinds.training.line import Line, Versus
from suite.kinds.training.mlflow_views import box_plots, row_metrics, saved, views
from suite.kinds.training.row_cells import Speed
from suite.kinds.training.table import study_table
from suite.redaction import redacted
from suite.report.render import as_records
from suite.report.statistics.aggregates import Spread
from suite.report.statistics.comparisons import Comparison
from suite.report.statistics.intervals import Mean
from suite.run import mlflow_store, mlflow_writer
from suite.run.mlflow_writer import Rows, Tracker
from suite.study.cells import Cell
from suite.study.entry import Entry

SCHEDULE = "12 12 12 12 0 0"


def cell_of(row: str, seed: int) -> Cell:
    """An accuracy cell as a study of classification has them."""
    schedule = "none" if row == "none" else SCHEDULE
    identity = {
        "kind": "accuracy",
        "protocol": 1,
        "task": "classification",
        "threads": 1,
        "seed": seed,
        "start": "none",
        "method": row,
        "version": 1,
        "fusion": "none",
        "settings": {"row": row},
        "backbone": {"name": "vit_tiny_patch16_224", "options": {"img_size": 32, "patch_size": 4}},
        "removed": [0] * 6 if row == "none" else [int(count) for count in SCHEDULE.split()],
        "data": {"recipe": {"recipe": "digit-scenes"}, "digest": "0"},
        "recipe": {"epochs": 8, "batch_size": 32, "learning_rate": 1e-3},
    }
    return Cell(identity, row, schedule)


def entry_of(cell: Cell) -> Entry:
    """A finished cell's record, with as many numbers as a real cell has."""
    score = 50 + len(cell.row) + cell.identity["seed"] / 1000
    names = ("acc1_last", "acc1_best", "tokens_fewest", "macs_full", "macs_linear")
    tokens = ("tokens_attention", "tokens_mlp", "tokens_leaving")
    return {
        "cell_id": cell.cell_id,
        "identity": cell.identity,
        "status": "done",
        "reason": "",
        "seconds": 1.0,
        "metrics": dict(zip(names, (score, score, 17, 9e6, 8e6), strict=True)),
        "units": dict.fromkeys((*names, *tokens), "1"),
        "curves": {name: [score] * 8 for name in ("loss", "acc1", "learning_rate")},
        "repetitions": {name: [65, 53, 41, 29, 17, 17] for name in tokens},
        "provenance": {"commit": "0", "started": "then", "versions": {}},
    }


CELLS = [cell_of(row, seed) for row in ("none", "random", "tome") for seed in (0, 1)]


def summary(**metrics: float) -> tuple[Rows, str, str]:
    """The same metrics for every row."""
    rows = {(cell.row, cell.schedule): metrics for cell in CELLS}
    return rows, "Which is best?", "Tick all runs."


def write(folder: Path, cells: list[Cell], **metrics: float) -> Tracker:
    """What a run of a study of these cells does."""
    tracker = Tracker("trial", cells, folder)
    for cell in cells:
        tracker.sync(cell, entry_of(cell))
    tracker.archive()
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results/table.md").write_text("| none |")
    tracker.conclude(*summary(**metrics), folder / "results")
    tracker.tag(saved({"methods": {"a": 1}}))
    return tracker


def tree(tracker: Tracker) -> dict[str, Any]:
    """Names of the runs, as MLflow's page nests them."""
    found = every(tracker)

    def below(parent: str | None) -> dict[str, Any]:
        own = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent]
        return {run.info.run_name: below(run.info.run_id) for run in own}

    return below(None)


def every(tracker: Tracker) -> list[Run]:
    """All runs there are."""
    return list(tracker.client.search_runs([tracker.experiment.experiment_id]))


def named(tracker: Tracker, name: str) -> Run:
    """The one run of that name."""
    (run,) = [run for run in every(tracker) if run.info.run_name == name]
    return run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three rows with two seeds each."""
    folder = tmp_path_factory.mktemp("written")
    write(folder, CELLS, median=3.0)
    return folder


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Iterator[Path]:
    """A store of one's own; its artifacts stay where they were."""
    shutil.copy(written / "mlflow.db", tmp_path)
    yield tmp_path
    gc.collect()


def test_study_row_and_seed_are_nested(written: Path) -> None:
    """With parameters alike in rows and cells, what is common on the study, and what was found on the parents."""
    tracker = Tracker("trial", CELLS, written)
    rows = {row: {f"seed {seed} · {row}": {} for seed in (0, 1)} for row in ("none", "random", "tome")}
    assert tree(tracker) == {"trial": rows}
    study, row, cell = (named(tracker, name) for name in ("trial", "tome", "seed 1 · tome"))
    assert cell.data.params == row.data.params | {"seed": "1"}
    named_alike = {"row": "tome", "method": "tome", "fusion": "none", "settings/row": "tome"}
    assert row.data.params == named_alike | {"schedule": SCHEDULE}
    assert study.data.params["recipe/learning_rate"] == "0.001"
    assert not study.data.params.keys() & cell.data.params.keys()
    assert row.data.metrics == {"median": 3.0}
    assert cell.data.metrics["gmacs"] == 0.009
    assert study.data.tags["mlflow.note.content"] == "Which is best?"
    assert [file.path for file in tracker.client.list_artifacts(study.info.run_id)] == ["table.md"]
    starts = [named(tracker, row).info.start_time for row in rows]
    assert starts == sorted(set(starts), reverse=True), "MLflow's page shows the newest first"
    saved = json.loads(tracker.experiment.tags["mlflow.sharedViewState.methods"])
    assert saved["name"] == "methods"
    packing, state = saved["state"].split(";")
    assert packing == "deflate"
    assert json.loads(zlib.decompress(base64.b64decode(state))) == {"a": 1}


def test_doing_it_again_writes_nothing(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent, and not a byte of the store's content changes."""
    write(copy, CELLS, median=3.0)
    with sqlite3.connect(copy / "mlflow.db") as store:
        before = list(store.iterdump())
    for name in ("create_run", "delete_run", "log_batch", "log_artifact", "set_tag", "delete_tag", "set_terminated"):
        monkeypatch.delattr(MlflowClient, name)
    monkeypatch.delattr(MlflowClient, "set_experiment_tag")
    write(copy, CELLS, median=3.0)
    with sqlite3.connect(copy / "mlflow.db") as store:
        assert list(store.iterdump()) == before


def test_what_a_killed_run_left_is_completed(copy: Path) -> None:
    """A cell's run without its digest is written again; a parent without its parameters gets them."""
    tracker = Tracker("trial", CELLS, copy)
    cut = named(tracker, "seed 1 · tome").info.run_id
    with sqlite3.connect(copy / "mlflow.db") as store:
        store.execute("DELETE FROM tags WHERE key = 'complete'")
        store.execute("DELETE FROM params")
    tracker = write(copy, CELLS, median=3.0)
    cell, row = named(tracker, "seed 1 · tome"), named(tracker, "tome")
    assert cell.info.run_id != cut
    assert row.data.params["method"] == cell.data.params["method"] == "tome"
    assert len(every(tracker)) == 1 + 3 + 6


def test_cells_that_left_the_study_are_archived_and_come_back(copy: Path) -> None:
    """Under a run of their own, with another kind, so that no comparison meets them."""
    tracker = write(copy, CELLS[:3], median=3.0)
    assert list(tree(tracker)["trial"]) == ["none", "random"]
    assert list(tree(tracker)["trial"]["random"]) == ["seed 0 · random"]
    kinds = {run.info.run_name: run.data.tags["kind"] for run in every(tracker)}
    assert (kinds["seed 1 · random"], kinds["tome"]) == ("earlier accuracy", "earlier row")
    assert {run.info.status for run in every(tracker)} == {"FINISHED"}
    tracker = write(copy, CELLS, median=3.0)
    assert set(tree(tracker)["trial"]["tome"]) == {"seed 0 · tome", "seed 1 · tome"}
    assert {run.data.tags["kind"] for run in every(tracker)} == {"study", "row", "accuracy", "earlier"}


def test_parents_say_how_their_cells_ended(copy: Path) -> None:
    """Failed if one did, killed if one has not run; and finished when all are."""
    tracker = Tracker("trial", CELLS, copy)
    tracker.sync(CELLS[4], {"status": "failed", "reason": "RuntimeError: no"})
    tracker.conclude(*summary(), copy / "results")
    assert [named(tracker, name).info.status for name in ("trial", "tome", "none")] == ["FAILED", "FAILED", "FINISHED"]
    more = [*CELLS, cell_of("none", 2)]
    tracker = Tracker("trial", more, copy)
    tracker.sync(CELLS[4], entry_of(CELLS[4]))
    tracker.conclude(*summary(), copy / "results")
    assert [named(tracker, name).info.status for name in ("trial", "tome", "none")] == ["KILLED", "FINISHED", "KILLED"]


def test_a_changed_file_replaces_its_artifact(tmp_path: Path) -> None:
    """And only that one is sent."""
    write(tmp_path, CELLS[:1])
    (tmp_path / "results/deep").mkdir()
    (tmp_path / "results/deep/maps.png").write_text("first")
    tracker = Tracker("trial", CELLS[:1], tmp_path)
    sent: list[str] = []
    log = tracker.client.log_artifact
    tracker.client.log_artifact = lambda run, path, inside: (sent.append(Path(path).name), log(run, path, inside))  # type: ignore[assignment, func-returns-value]
    tracker.conclude(*summary(), tmp_path / "results")
    (tmp_path / "results/deep/maps.png").write_text("second")
    tracker.conclude(*summary(), tmp_path / "results")
    assert sent == ["maps.png", "maps.png"]
    found = tracker.client.download_artifacts(named(tracker, "trial").info.run_id, "deep/maps.png", str(tmp_path))
    assert Path(found).read_text() == "second"
    before = [run.info.run_id for run in every(tracker)]
    other = [replace(cell, identity=cell.identity | {"threads": 7}) for cell in CELLS[:1]]
    assert not Tracker("trial", other, tmp_path).started, "nothing has run with other settings"
    assert [run.info.run_id for run in every(tracker)] == before


def test_many_runs_are_read_page_by_page(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In as many requests as there are pages, however many runs there are: none is asked for by itself."""
    requests: list[int] = []
    search = MlflowClient.search_runs

    def counted(self: MlflowClient, *arguments: Any, **options: Any) -> Any:
        requests.append(options["max_results"])
        return search(self, *arguments, **options)

    monkeypatch.setattr(mlflow_writer, "PAGE", 4)
    monkeypatch.setattr(MlflowClient, "search_runs", counted)
    monkeypatch.delattr(MlflowClient, "get_run")
    tracker = write(copy, CELLS, median=3.0)
    assert requests == [4, 4, 4], "ten runs"
    assert sum(map(len, tracker.known.values())) == 1 + 3 + 6


@pytest.mark.parametrize("name", ["50% #1 r=8?", "日本 q'\"` &=;a@b:c+%20\\c"])
def test_the_store_lies_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """The database in it, no other file beside it, and artifacts are found; MLflow does not say where it wrote."""
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    capfd.readouterr()
    tracker = write(Path(), CELLS[:1])
    assert capfd.readouterr().out == ""
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlartifacts", "results"}
    assert list(tmp_path.iterdir()) == [folder]
    study = named(tracker, "trial").info.run_id
    assert [file.path for file in tracker.client.list_artifacts(study)] == ["table.md"]
    assert Path(tracker.client.download_artifacts(study, "table.md", str(tmp_path))).read_text() == "| none |"
    assert mlflow_store.missing_file(mlflow_store.store_uri()) is None
    assert mlflow_store.experiment_id(mlflow_store.store_uri(), "trial") == tracker.experiment.experiment_id


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://u:SECRET@h:port/db",
        "mysql://h:1:2/db",
        "postgresql://[::1/db",
        "postgresql://u:SECRET@h:99999/db",
        "mysql+pymysql:/h/db://",
        "http://u:SECRET@h:port/",
        "https://[::1/",
        "http://h:99999",
    ],
)
def test_an_address_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    """Without what stands in it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for ask in (lambda: mlflow_store.check(uri), lambda: mlflow_store.open_experiment("trial", Path())):
        with pytest.raises(UserError, match="the address in MLFLOW_TRACKING_URI cannot be read; write ") as refused:
            ask()
        assert "SECRET" not in str(refused.value)
        assert redacted(str(refused.value)) == str(refused.value), "the form is shown as it is"


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite:///:memory:"])
def test_a_store_without_a_file_is_refused(uri: str) -> None:
    """It would end with the command, which says that all cells are in it."""
    with pytest.raises(UserError, match="ends with this command, as it has no file; name one"):
        mlflow_store.check(uri)


def damage(path: Path, how: str) -> None:
    """Make of a good database one that is none."""
    content = path.read_bytes()
    path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how == "half made":
        with closing(sqlite3.connect(path)) as store:
            store.execute("CREATE TABLE _alembic_tmp_experiments (id)")
    else:
        bad = {"garbage": b"\x17" * 7000, "cut": content[: len(content) // 2], "text": b"no database\n"}
        path.write_bytes(bad.get(how) or content[:8192] + b"\xff" * 20_000 + content[28_192:])


@pytest.mark.parametrize("how", ["garbage", "cut", "text", "overwritten", "a folder", "half made"])
def test_a_damaged_store_is_named_with_its_cure(copy: Path, how: str) -> None:
    """In one line and at once; moved away, it is written anew."""
    path = copy / "mlflow.db"
    damage(path, how)
    began = time.process_time()
    with pytest.raises(UserError) as error:
        Tracker("trial", CELLS[:1], copy)
    assert time.process_time() - began < 5
    said = str(error.value)
    assert said.startswith(f"cannot use the MLflow store {path}: it ")
    assert said.endswith("move it away, and write it anew with: suite track STUDY")
    assert "\n" not in said


def test_a_locked_store_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may be writing."""
    monkeypatch.setattr(mlflow_store, "PATIENCE", 0.1)
    with closing(sqlite3.connect(copy / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"mlflow\.db: another process has locked it; end that process") as error:
            Tracker("trial", CELLS[:1], copy)
    assert "\n" not in str(error.value)
    assert Tracker("trial", CELLS[:1], copy).started


def test_a_store_for_which_there_is_no_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the next run can make it."""

    def full(uri: str, artifacts: str) -> None:
        for name in ("mlflow.db", "mlflow.db-journal"):
            (tmp_path / name).touch()
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr(mlflow_store, "SqlAlchemyStore", full)
    with pytest.raises(UserError, match=r"mlflow.db here\): database or disk is full$"):
        Tracker("trial", CELLS[:1], tmp_path)
    assert not list(tmp_path.iterdir())


def test_telemetry_of_mlflow_is_off() -> None:
    """Its telemetry is off, whichever module of ours is the first."""
    program = "import suite.run.mlflow_writer, mlflow.telemetry.client as client; print(client.get_telemetry_client())"
    hushed = {"MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI", "PYTEST_CURRENT_TEST"}
    environment = {name: value for name, value in os.environ.items() if name not in hushed}
    assert subprocess.check_output([sys.executable, "-c", program], text=True, env=environment) == "None\n"


def line_of(cell: Cell) -> Line:
    """A line of the table, as good as any, of a row that is compared with random pruning."""
    some = Spread(1, 1, 1, 2)
    line = Line(cell.row, cell.row, cell.schedule, cell.row, "classification", some, 3, 17, 9e6, (Speed(8, some),))
    gap = Mean(3.5, 4.5, 2, 4.0, 0.75)
    compared = Versus(won=(1, 2), comparison=Comparison((4.0, 4.0), 4.0, gap, 0.5, 0.75))
    return replace(line, interval=Mean(0.5, 2.5, 2, 1.5, 0.1), versus=compared, gap=gap, p=0.75)


def metrics_of(lines: list[Line]) -> dict[tuple[str, str], dict[str, float]]:
    """What the parents of these lines get."""
    return row_metrics(as_records(study_table("trial", lines)), "classification")


def test_views_compare_what_the_task_is_judged_by(written: Path) -> None:
    """Every metric and parameter that a view names is on the runs that its filter finds."""
    compared = line_of(CELLS[-1])
    bare = replace(compared, versus=Versus(), p=None, gap=None, interval=None, speeds=(Speed(),))
    cell = named(Tracker("trial", CELLS, written), "seed 1 · tome").data
    named_in = {}
    for lines in ([compared], [bare]):
        metrics = metrics_of(lines)["tome", SCHEDULE]
        for view, known, parameters in (
            ("methods", metrics, cell.params.keys() - {"seed"}),
            ("seeds", cell.metrics, cell.params.keys()),
        ):
            state = views(lines, metrics)[view]
            columns = [column.split(".", 1) for column in state["selectedColumns"]]
            charts = [chart for chart in state["compareRunCharts"] if "metricKey" in chart]
            shown = {name.strip("`") for kind, name in columns if kind == "metrics"}
            assert shown | {chart["metricKey"] for chart in charts} <= known.keys()
            assert {name.strip("`") for kind, name in columns if kind == "params"} <= parameters
            assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {
                section["uuid"] for section in state["compareRunSections"]
            }
            named_in[view, lines[0] is bare] = shown
    assert named_in["methods", False] - named_in["methods", True] == {
        *("acc1_last/ci95_low", "acc1_last/ci95_high", "difference_to_random/mean", "difference_to_random/p_holm"),
        *("speed_ratio/median", "speed_reliable"),
    }


def test_a_speed_says_whether_it_is_reliable() -> None:
    """And a row whose speed was not measured says nothing."""
    line = line_of(CELLS[-1])
    drifted = replace(line.speeds[0], timing_warnings="drift")
    lines = [
        line,
        replace(line, row="a", speeds=(drifted,)),
        replace(line, row="b", speeds=(replace(drifted, fused=None),)),
    ]
    found = {row: metrics.get("speed_reliable") for (row, _), metrics in metrics_of(lines).items()}
    assert found == {"tome": 1.0, "a": 0.0, "b": None}


def test_parents_of_an_older_store_get_what_is_new(copy: Path) -> None:
    """The difference with its interval and p, and seeds, on the same runs; no cell is written again.

    All names are such that MLflow's box plot can take them: it cuts a name at a hyphen.
    """
    before = {run.info.run_id for run in every(Tracker("trial", CELLS, copy))}
    found = metrics_of([line_of(cell) for cell in CELLS[::2]])
    tracker = Tracker("trial", CELLS, copy)
    tracker.conclude(found, *summary()[1:], copy / "results")
    row, cell = named(tracker, "tome").data, named(tracker, "seed 1 · tome").data
    assert {run.info.run_id for run in every(tracker)} == before
    gone = row.metrics.pop("median")
    spreads = {f"{name}/{end}": 1 for name in ("acc1_last", "speed_ratio") for end in ("median", "q25", "q75")}
    assert row.metrics == spreads | {
        "acc1_last/ci95_low": 0.5,
        "acc1_last/ci95_high": 2.5,
        "difference_to_random/mean": 4,
        "difference_to_random/ci95_low": 3.5,
        "difference_to_random/ci95_high": 4.5,
        "difference_to_random/p_holm": 0.75,
        "seeds": 2,
        "seeds_tried": 3,
        "seeds_above_random": 1,
        "seeds_compared": 2,
        "speed_reliable": 1,
        "tokens_fewest": 17,
        "gmacs": 0.009,
    }
    assert math.isnan(gone)
    assert "acc1_last" not in row.metrics, "a parent would stand among its seeds"
    assert not [name for name in (*row.metrics, *cell.metrics, *cell.params) if "-" in name]


def test_what_a_person_wrote_on_the_experiment_stays(copy: Path) -> None:
    """Our own line there, how to get box plots, is renewed."""
    tracker, lines = Tracker("trial", CELLS, copy), [line_of(cell) for cell in CELLS[2:]]
    assert tracker.experiment.tags["mlflow.note.content"] == "Tick all runs."
    hint = box_plots(lines)
    assert hint.endswith("tick all runs, then Compare, Box Plot, X-axis `row`, Y-axis `acc1_last`.")
    assert "tick the runs of one schedule," in box_plots([*lines, replace(lines[0], schedule="8 8 8 8 0 0")])
    for written_there, expected in ((None, hint), ("Mine.", "Mine.")):
        if written_there:
            tracker.client.set_experiment_tag(tracker.experiment.experiment_id, "mlflow.note.content", written_there)
        Tracker("trial", CELLS, copy).conclude(*summary()[:2], hint, copy / "results")
        tags = tracker.client.get_experiment(tracker.experiment.experiment_id).tags
        assert tags["mlflow.note.content"] == expected


@contextmanager
def suite_ui(folder: Path, output: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`suite ui` in a folder, in a session of its own; what it says goes into a file."""
    with output.open("wb") as file:
        running = subprocess.Popen(
            [*SUITE, "ui", *arguments, "--no-open"], cwd=folder, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def said(output: Path, word: str, running: subprocess.Popen[bytes]) -> str:
    """What is in the file once the word is."""
    end = time.monotonic() + 120
    while word not in output.read_text():
        assert running.poll() is None, output.read_text()
        assert time.monotonic() < end
        time.sleep(0.1)
    return output.read_text()


@pytest.mark.slow
def test_the_page_opens_on_the_study_and_ends_with_ctrl_c(written: Path, tmp_path: Path) -> None:
    """On loopback only; the address answers, a second server is refused the port, and no process is left."""
    port, first, second = browser.free_port(), tmp_path / "first", tmp_path / "second"
    with suite_ui(written, first, "trial", "--port", str(port)) as running:
        text = said(first, "Ctrl-C", running)
        assert text.startswith(f"MLflow: http://127.0.0.1:{port}/#/experiments/1/runs?")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
            assert b"<title>MLflow</title>" in page.read()
        family = [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]
        assert len(family) > 1
        assert listening(running.pid) == {("127.0.0.1", port)}
        assert not [process for process in family if "mlflow.db" in " ".join(process.cmdline())]
        with suite_ui(written, second, "--port", str(port)) as refused:
            assert refused.wait(60) == 2
        assert f"error: cannot listen on port {port} of 127.0.0.1: Address already in use; choose" in second.read_text()
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(60) == 0, "it ends as if nothing had happened"
    assert "Traceback" not in first.read_text()
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.skipif(not all(browser.PROGRAMS), reason="no Chromium and chromedriver here")
def test_a_browser_shows_seeds_as_box_plots(copy: Path, tmp_path: Path) -> None:
    """On the way that the experiment's note tells: a named box for each row, of its seeds alone."""
    lines = [line_of(cell) for cell in CELLS[::2]]
    tracker = Tracker("trial", CELLS, copy)
    tracker.conclude(metrics_of(lines), "", box_plots(lines), copy / "results")
    tracker.tag(saved(views(lines, metrics_of(lines)["tome", SCHEDULE])))
    output, port = tmp_path / "said", browser.free_port()
    with suite_ui(copy, output, "trial", "--port", str(port)) as running, browser.browser() as chromium:
        address = said(output, "Ctrl-C", running).split()[1]
        chromium.devtools(
            "Emulation.setDeviceMetricsOverride", width=2400, height=1000, deviceScaleFactor=1, mobile=False
        )
        chromium.visit(address)
        chromium.wait("document.body.innerText.includes('difference_to_random/p_holm')")
        assert chromium.ask("document.body.innerText.includes('Compare, Box Plot, X-axis row, Y-axis acc1_last.')")
        chromium.visit(address.replace("Key=methods", "Key=seeds"))
        chromium.wait("document.body.innerText.includes('seed 1 · tome')")
        chromium.click(".ag-header input[type=checkbox]")
        for button in ("Compare", "Box Plot"):
            chromium.click("button", button)
        for axis, name in (("x", "row"), ("y", "acc1_last")):
            chromium.click(f"#{axis}-axis-selector")
            chromium.click("[role=option]", name)
        plot = "document.querySelector('.js-plotly-plot')?.data?.map(box => [box.name, box.type, box.y])"
        scores = {row: ("box", [50 + len(row), 50 + len(row) + 1e-3]) for row in ("none", "random", "tome")}
        end, boxes = time.monotonic() + 60, {}
        while boxes != scores and time.monotonic() < end:  # each choice of an axis draws it anew
            time.sleep(0.2)
            drawn = [box for box in chromium.wait(plot) if None not in (box[2] or [])]
            boxes = {name: (kind, sorted(values or [])) for name, kind, values in drawn}
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(60) == 0
    assert boxes == scores


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "there are no runs in "),
        (["other"], {"MLFLOW_TRACKING_URI": "here"}, "MLflow has no runs of other; make them with: suite run other"),
        (["trial"], {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}, "cannot use the MLflow store"),
    ],
)
def test_what_cannot_be_shown_is_named(
    written: Path, tmp_path: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    """One sentence and code 2, and no store is made."""
    if environment.get("MLFLOW_TRACKING_URI") == "here":
        environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{written / 'mlflow.db'}"}
    done = here(tmp_path, "ui", *arguments, "--no-open", **environment)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {message}")
    assert not list(tmp_path.iterdir())
