"""Studies of speed: measured side by side, kept one by one, merged over devices, beside what is published."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import pytest
import torch
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.speed import run as speeds
from suite.kinds.speed.cells import Device, Measurement, measurements
from suite.kinds.speed.lines import Line
from suite.kinds.speed.lines import lines as lines_of
from suite.kinds.speed.models import build_side_by_side
from suite.kinds.speed.published import Published, read_published
from suite.kinds.speed.rounds import export, read_rounds
from suite.kinds.speed.table import table as speed_table
from suite.ledger.asks import TableNumber
from suite.ledger.values import measure
from suite.measure import fit, side_by_side
from suite.measure.timing_options import UNPRUNED
from suite.report.layout import Table
from suite.report.make import make_table
from suite.report.render import FORMATS, as_html, markdown
from suite.report.trace import trace
from suite.study.load import load
from suite.study.records import write_provenance
from suite.study.store import Record

ROOT = Path(__file__).parents[1]
TINY = {"img_size": 32, "patch_size": 4, "embed_dim": 48, "depth": 4, "num_heads": 4, "global_pool": "avg"}
FIGURES = """\
id,where,method,backbone,pretraining,resolution,setting,metric,value,unit,source,evidence
plain,T1,No pruning,tiny,,32,none,throughput,0.86,1000 im/s,paper,primary
drawn,T1,Random,tiny,,32,LLF,throughput,1.5,1000 im/s,paper,primary
cropr,T1,Cropr,tiny,,32,LLF,throughput,1.48,1000 im/s,paper,primary
cropr,T1,Cropr,tiny,,32,LLF,speedup,1.7,x,paper,primary
big,T2,Cropr,big,,32,R=8,speedup,2.1,x,a note,secondary
ats,T1,ATS,tiny,,32,R=8;pool=cls,throughput,0.49,1000 im/s,paper,primary
"""
STUDY = f"""\
question: q
kind: speed
published: published.csv
devices:
  cpu: {{rounds: 5, warmup_rounds: 1}}
  cuda: {{precision: float16, rounds: 5}}
backbones:
  - name: tiny
    backbone: {{name: vit_tiny_patch16_224, options: &tiny {json.dumps(TINY)}}}
    batch_sizes: {{cpu: [2], cuda: [64]}}
    published: plain
    rows:
      - {{name: drawn, method: random, schedule: &some {{removed: "16,16,0,0"}}, fusion: last-layer, published: drawn}}
      - {{name: learned, method: cropr, schedule: *some, fusion: last-layer, published: cropr, compare_to: drawn}}
      - {{name: attended, method: attention-topk, schedule: *some, pool: token, note: In no paper.}}
  - name: second
    backbone: {{name: vit_tiny_patch16_224, options: *tiny}}
    batch_sizes: {{cpu: [1, 3], cuda: [64]}}
    rows:
      - {{name: learned, method: cropr, schedule: *some, published: big}}
excluded:
  - {{published: [at*], note: None of ours.}}
"""
PIXELS = "fusion: logits, settings: {queries: 64}"  # needs a task that reads every patch
ROWS = ("device_type", "backbone", "row", "batch_size")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tiny study, which is the current one."""
    (tmp_path / "published.csv").write_text(FIGURES)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies/trial.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


def suite(*arguments: str) -> Result:
    """Run the command line on a wide terminal."""
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "400"})


def test_a_changed_study_makes_its_table_again_from_its_folder(folder: Path) -> None:
    """Also where a digest stands in the name for what file names cannot have."""
    made = suite(
        "run", "trial", "--in-process", "--set", "question=a/b c", "--set", "backbones.1.batch_sizes={cpu: [1]}"
    )
    assert made.exit_code == 0, made.output
    (name,) = (path.name for path in (folder / "results").iterdir())
    before = (folder / "results" / name / "table.csv").read_bytes()
    (folder / "results" / name / "table.csv").unlink()
    done = suite("table", name)
    assert done.exit_code == 0, done.output
    assert (folder / "results" / name / "table.csv").read_bytes() == before


def test_a_study_without_runs_in_mlflow_is_not_tracked(folder: Path) -> None:
    """The kind says so, not the name of one."""
    done = suite("track", "trial")
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == "trial is a study of kind speed, which has no runs in MLflow to write"


def changed(old: str, new: str) -> None:
    """Change the study in the current folder."""
    assert STUDY.count(old) >= 1
    Path("studies/trial.yaml").write_text(STUDY.replace(old, new))


def rounds_of(folder: Path) -> dict[tuple[str, ...], list[dict[str, str]]]:
    """Lines of the record by device, backbone, row and batch."""
    found: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for line in read_rounds(folder):
        found.setdefault(tuple(line[name] for name in ROWS), []).append(line)
    return found


def invented(one: Measurement, row: str, **changes: Any) -> dict[str, Any]:
    """A record of five rounds of known ratios: method 1.6, random 2, eager half as fast, 0.1 s a pass on a GPU."""
    ratio = {UNPRUNED: 1.0, "drawn": 2.0}.get(row, 1.6)
    rounds = [ratio * share for share in (1.0, 0.9, 1.1, 0.95, 1.05)] if row != UNPRUNED else [1.0] * 5
    entry: dict[str, Any] = {
        "status": "done",
        "speedup": rounds,
        "speedup_eager": [2 * ratio for ratio in rounds],
        "kernels": "flash",
        "timing_warnings": "",
        "session": "one",
        "macs_ratio": 1.0 if row == UNPRUNED else 2.5,
        "provenance": {"started": one.device.name, "device": one.device.name},
    }
    return entry | ({"seconds": [0.1 / ratio for ratio in rounds]} if one.device.type == "cuda" else {}) | changes


def keep(kind: str, name: str, record: Path, change: Callable[[str], dict[str, Any]] = lambda row: {}) -> None:
    """Export the invented record of all rows on a device, as another machine would, with its own `.suite`."""
    study = load("trial").study
    planned = measurements(study, Device(kind, name))  # type: ignore[arg-type]
    for one in planned:
        for row, cell in one.cells.items():
            Record(record).add(cell, invented(one, row, **change(row)))
    export(study, planned, Record(record), Path("results/trial"))


# ---------------------------------------------------------------- from the command line


def test_a_study_of_speed_from_the_command_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It validates, plans, measures every row with every round, and makes its table again from the record alone."""
    assert "valid, 6 models" in suite("validate", "trial").output
    assert suite("plan", "trial").output.count("to run") == 8
    style = {name: value for name, value in mpl.rcParams.items() if "backend" not in name}
    done = suite("run", "trial")
    assert done.exit_code == 0, done.output + str(done.exception)
    assert "3 measurements, 0 finished" in done.output
    results = folder / "results/trial"
    found = rounds_of(results)
    assert list(found) == [
        *(("cpu", "tiny", row, "2") for row in (UNPRUNED, "drawn", "learned", "attended")),
        *(("cpu", "second", row, size) for size in "13" for row in (UNPRUNED, "learned")),
    ]
    macs = {row: float(lines[0]["macs_ratio"]) for (_, _, row, size), lines in found.items() if size == "2"}
    assert macs[UNPRUNED] == 1 < macs["learned"] < macs["drawn"] < macs["attended"]
    for (_, _, row, _), lines in found.items():
        assert [line["round"] for line in lines] == list("01234")
        assert {line["seconds"] for line in lines} == {""}  # of a processor no absolute time is kept
        assert {float(line["speedup"]) for line in lines} == {1.0} or row != UNPRUNED
        assert all(float(line["speedup_eager"]) > 0 for line in lines)
        assert {line["kernels"] for line in lines} == {"flash-for-cpu"}
    for cell in (folder / ".suite/cells").iterdir():
        assert "seconds" not in json.loads(cell.read_text())
    (origin,) = json.loads((results / "provenance.json").read_text())["runs"]
    assert len(origin["cells"]) == 8
    assert origin.keys() >= {"commit", "versions", "processor", "device", "allocator"}
    made = {name: (results / name).read_bytes() for name in (*FORMATS, "rounds.csv")}
    assert (results / "speed.png").read_bytes()[1:4] == b"PNG"

    monkeypatch.setattr(speeds, "time_side_by_side", None)  # whoever measures now fails
    for path in (folder / ".suite/cells").iterdir():
        path.unlink()
    for name in (*FORMATS, "speed.png"):
        (results / name).unlink()
    again = suite("table", "trial")
    assert again.exit_code == 0, again.output + str(again.exception)
    assert {name: (results / name).read_bytes() for name in made} == made
    assert (results / "speed.png").is_file()
    assert {name: mpl.rcParams[name] for name in style} == style, "a figure leaves its style behind"


def test_a_row_of_several_batches_is_traced_by_its_batch(folder: Path) -> None:
    """Its own cell and no other; without the batch the name is not known. A source's table is that of the study."""
    keep("cpu", "CPU X", folder)
    assert suite("table", "trial").exit_code == 0
    one, three = (trace(f"trial:second learned [{size}]:measured").cells for size in "13")
    assert len(one) == len(three) == 1
    assert one[0].cell_id != three[0].cell_id
    with pytest.raises(UserError, match=r"no row 'second learned'; did you mean second learned \["):
        trace("trial:second learned:measured")
    assert trace("trial:tiny learned [2, CPU X]:measured").cells == trace("trial:tiny learned:measured").cells


def unreliable(row: str) -> dict[str, str]:
    """An invented record with a timing warning."""
    return {"timing_warnings": f"{row} drifted"}


def test_the_ledger_reads_a_gpu_and_says_what_a_processor_measured(folder: Path) -> None:
    """A processor decides nothing; a GPU's ratio and its thousand images per second do."""
    row, only = {"backbone": "tiny", "row": "learned"}, {"device_type": "cuda", "timing_warnings": ""}
    asked = TableNumber(study="trial", row=row, column="measured_median", only=only, also_show="device")
    images = TableNumber(study="trial", row=row, column="images_per_second", only=only, per=1000)
    assert measure(asked, "x") == (None, "", "")
    keep("cpu", "CPU X", folder / "here")
    assert measure(asked, "x")[::2] == (None, "CPU X (device_type cpu): 1.60 x, which decides nothing")
    keep("cuda", "GPU Y", folder / "there")
    assert measure(asked, "x").value == pytest.approx((1.6,))
    own = ("cuda", "tiny", "learned")
    rounds = [
        line
        for line in read_rounds(Path("results/trial"))
        if (line["device_type"], line["backbone"], line["row"]) == own
    ]
    middle = median(float(line["seconds"]) for line in rounds)
    assert measure(images, "1000 im/s").value == pytest.approx((0.064 / middle,))
    keep("cuda", "GPU Y", folder / "again", unreliable)
    value, _, remark = measure(asked, "x")
    assert value is None
    assert "GPU Y (timing_warnings learned drifted): 1.60 x, which decides nothing" in remark
    with pytest.raises(UserError, match="no column 'measured_medium'; did you mean measured_median"):
        measure(asked.model_copy(update={"column": "measured_medium"}), "x")


@pytest.mark.slow
def test_a_second_run_measures_only_what_is_missing(folder: Path) -> None:
    """A deleted cell is measured again with both references, the others stay; a new batch size is measured alone."""
    assert suite("run", "trial").exit_code == 0
    cells = folder / ".suite/cells"
    (one,) = [path for path in cells.iterdir() if '"pool"' not in path.read_text() and '"token"' in path.read_text()]
    one.unlink()
    before = {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    again = suite("run", "trial")
    assert again.exit_code == 0
    assert "3 measurements, 2 finished" in again.output
    assert {path: path.stat().st_mtime_ns for path in cells.iterdir() if path != one} == before
    sessions = {key: {line["session"] for line in lines} for key, lines in rounds_of(Path("results/trial")).items()}
    assert sessions["cpu", "tiny", "attended", "2"] != sessions["cpu", "tiny", "learned", "2"]
    assert sessions["cpu", "tiny", "drawn", "2"] == sessions["cpu", "tiny", "learned", "2"]
    changed("cpu: [1, 3]", "cpu: [1, 3, 4]")
    assert "4 measurements, 3 finished" in suite("run", "trial").output
    assert {path: path.stat().st_mtime_ns for path in before} == before


PROGRAM = """
import sys
lacking = "ray mlflow mmseg mmcv mmengine seaborn matplotlib scipy sklearn jinja2 tabulate typer"
sys.modules.update(dict.fromkeys(lacking.split()))  # importing one raises ModuleNotFoundError
from rich.console import Console
from suite.kinds.speed.run import check, run
from suite.study.load import load
loaded = load("trial")
assert check(loaded) == "6 models"
sys.exit(run(loaded, Console()))
"""


def test_a_run_needs_neither_ray_nor_mlflow_nor_mmseg(folder: Path) -> None:
    """Of a backbone that segments either, with the read-out for every pixel; nor several other libraries."""
    dense = "name: second\n    task: segmentation\n    classes: 7"
    text = STUDY.replace("name: second", dense).replace("cpu: [1, 3]", "cpu: [1]")
    Path("studies/trial.yaml").write_text(text.replace("*some, published: big", "*some, published: big, " + PIXELS))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rounds_of(Path("results/trial"))) == 6


STOPPED = """
import os
from suite.cli.app import main
from suite.kinds.speed import run
time_side_by_side, calls = run.time_side_by_side, []
def second(*arguments, **options):
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), {how})
    return time_side_by_side(*arguments, **options)
run.time_side_by_side = second
main()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_run_that_is_stopped_keeps_what_it_measured(folder: Path, how: signal.Signals) -> None:
    """Whole files or none; the next run does the rest. Ctrl-C makes the table of what there is, and exits with 130."""
    program = [sys.executable, "-c", STOPPED.format(how=int(how)), "run", "trial"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(program, capture_output=True, text=True, env=environment, check=False)
    kept = {path: path.stat().st_mtime_ns for path in folder.glob(".suite/cells/*")}
    assert len(kept) == 4, ended.stdout + ended.stderr
    assert all(json.loads(path.read_text())["status"] == "done" for path in kept)
    assert ended.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    if how == signal.SIGINT:
        assert "resume with: suite run trial\n" in ended.stdout + ended.stderr
        assert "not measured" in Path("results/trial/table.md").read_text()
    again = suite("run", "trial")
    assert again.exit_code == 0, again.output + str(again.exception)
    assert len(rounds_of(Path("results/trial"))) == 8
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


# ---------------------------------------------------------------- what cannot be measured


def test_a_batch_that_does_not_fit_is_refused_and_the_rest_is_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the largest that fits; nothing is made smaller."""
    changed("cpu: [1, 3]", "cpu: [1, 512]")
    monkeypatch.setattr(fit, "usable_memory", lambda _device=None: 30_000_000)
    done = suite("run", "trial")
    assert done.exit_code == 1
    assert "second, batch of 512: a batch of 512 does not fit into memory: unpruned (eager) needs" in done.output
    assert "the largest that fits is about" in done.output
    again = suite("run", "trial", "--set", "question=which")
    assert "resume with: suite run trial+question=which\n" in again.output
    found = {(backbone, size) for _, backbone, _, size in rounds_of(Path("results/trial"))}
    assert found == {("tiny", "2"), ("second", "1")}
    table = [line.split("|") for line in Path("results/trial/table.md").read_text().splitlines()]
    left = [tuple(cell.strip() for cell in line[1:6]) for line in table if "not measured" in "".join(line[5:6])]
    assert left == [
        (UNPRUNED, "second", "512", "–", "not measured"),
        ("learned", "second", "512", "2.1x °", "not measured"),
    ]


def test_a_row_that_fails_costs_no_other_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is said, and recorded where the plan shows it; the others are timed without it."""
    real = side_by_side.prepare

    def broken(name: str, *arguments: Any) -> Any:
        if name == "learned":
            raise RuntimeError("no kernel for this")
        return real(name, *arguments)

    monkeypatch.setattr(side_by_side, "prepare", broken)
    done = suite("run", "trial")
    assert done.exit_code == 1
    assert "tiny, batch of 2: learned: RuntimeError: no kernel for this" in done.output
    assert {row for _, _, row, _ in rounds_of(Path("results/trial"))} == {UNPRUNED, "drawn", "attended"}
    assert suite("plan", "trial").output.count("RuntimeError: no kernel for this") == 3
    monkeypatch.setattr(side_by_side, "prepare", real)
    assert suite("run", "trial").exit_code == 0
    assert "failed" not in suite("plan", "trial").output


def test_the_device_is_the_gpu_if_there_is_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the study names it; a study for another device is refused."""
    study = load("trial").study
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GPU X")
    assert speeds.device_here(study) == Device("cuda", "GPU X")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert speeds.device_here(study).type == "cpu"
    changed("  cpu: {rounds: 5, warmup_rounds: 1}\n", "")
    with pytest.raises(UserError, match=r"measures on cuda, which is not at hand; name under devices how .* on cpu"):
        speeds.device_here(load("trial").study)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("published: big", "published: bug", r"trial.yaml:20: backbones.1.rows.0.published: .* has no figure 'bug'"),
        ("published: big", "published: drawn", r":20: .*published: the published figure drawn is named twice"),
        ("[at*]", "[plain]", r":22: excluded.0.published.0: the published figure plain is named twice"),
        ("  - {published: [at*], note: None of ours.}", "  []", r":3: published: no row names ats; add rows"),
        ("published: published.csv", "published: x.csv", r":3: published: x.csv does not exist"),
        (
            "compare_to: drawn",
            "compare_to: drown",
            r":14: .*compare_to: tiny has no other row 'drown'; did you mean drawn",
        ),
        ("fusion: last-layer, published: drawn", "published: drawn", r":14: .*drawn has another schedule or fusion"),
        ("name: attended", "name: drawn", r":15: backbones.0.rows.2: 'drawn' is there twice"),
        ("name: attended", "name: unpruned", r":15: backbones.0.rows.2: 'unpruned' is there twice"),
        ("name: second", "name: tiny", r":16: backbones.1: 'tiny' is there twice"),
        ("16,16,0,0", "16,16,0,9", r":13: .*drawn: with last-layer fusion the last 2 of 4 blocks must remove nothing"),
        ("16,16,0,0", "16,16,0", r":13: .*drawn: 3 counts for a backbone of 4 blocks"),
        (
            "name: second\n    backbone: {name: vit_",
            "name: second\n    backbone: {name: vyt_",
            r":17: backbones.1.backbone: second: .* no model",
        ),
        ("cpu: [2]", "cpu: [0]", r":10: .*batch sizes are different counts from 1"),
        ("rounds: 5, warmup_rounds: 1", "rounds: 5, graph: true", r":5: .*CUDA graphs are replayed on a GPU only"),
    ],
)
def test_what_a_study_of_speed_refuses(folder: Path, old: str, new: str, sentence: str) -> None:
    """Each with its line."""
    changed(old, new)
    with pytest.raises(UserError, match=sentence):
        speeds.check(load("trial"))


@pytest.mark.parametrize(
    ("own", "text", "low", "high"),
    [
        ({"throughput": "1.48", "speedup": "1.7"}, "1.72", 1.475 / 0.865, 1.485 / 0.855),
        ({"throughput": "1.5"}, "1.74", 1.495 / 0.865, 1.505 / 0.855),
        ({"speedup": "2.1"}, "2.1", 2.05, 2.15),
    ],
)
def test_a_published_ratio_is_as_sure_as_its_digits(own: dict[str, str], text: str, low: float, high: float) -> None:
    """Of two throughputs, of which 1.5 was printed as 1.50, as the 0.86 beside it says; else of what is printed."""
    whole, figure = (Published("", "", "", "", "", "", "", values) for values in ({"throughput": "0.86"}, own))
    found = figure.ratio(whole)
    assert found is not None
    assert found.text == text
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)
    assert Published("", "", "", "", "", "", "").ratio(whole) is None


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("2.1,x", "2.1,%", "published.csv:6: speedup 2.1 %: expected throughput in"),
        ("LLF,speedup", "R=9,speedup", "published.csv:5: the id cropr is already that of another"),
        (
            "speedup,1.7,x",
            "throughput,1.7,1000 im/s",
            "published.csv:5: duplicate id 'cropr'; the other is at published.csv:4",
        ),
    ],
)
def test_bad_tables_of_published_speeds_are_refused(folder: Path, old: str, new: str, sentence: str) -> None:
    """With the line."""
    Path("published.csv").write_text(FIGURES.replace(old, new))
    with pytest.raises(UserError, match=sentence):
        read_published(Path("published.csv"))


def test_a_record_that_is_none_is_refused(folder: Path) -> None:
    """With what is wrong: nothing measured, other columns, no number."""
    Path("results/trial").mkdir(parents=True)
    with pytest.raises(UserError, match=r"rounds.csv has nothing that the study asks for; make it with: suite run"):
        lines_of(Path("results/trial"))
    keep("cpu", "CPU Y", folder)
    record = Path("results/trial/rounds.csv")
    for old, new, sentence in (
        ("device_type", "kind", "has the columns kind"),
        (",1.0,", ",one,", "rounds.csv:2: not a line"),
    ):
        text = record.read_text()
        record.write_text(text.replace(old, new, 1))
        write_provenance(record.parent, {})
        with pytest.raises(UserError, match=sentence):
            read_rounds(record.parent)
        record.write_text(text)


# ---------------------------------------------------------------- the table


def lines(kind: str = "") -> list[Line]:
    """Lines of the table of the record in the current folder."""
    return [line for line in lines_of(Path("results/trial")) if kind in line.setup.device_type]


def table() -> Table:
    """The table of the record in the current folder."""
    return speed_table("trial", lines())


def test_what_the_table_says_of_known_rounds(folder: Path) -> None:
    """Published ratios of throughputs where printed, medians and quartiles of rounds, ratios of two rows by round."""
    keep("cuda", "GPU X", folder, lambda row: {"timing_warnings": "not alone"} if row == "attended" else {})
    unpruned, drawn, learned, attended, _, second, ats = lines()
    assert [line.ratio and line.ratio.text for line in (unpruned, drawn, learned, attended, second)] == [
        *("1.00", "1.74", "1.72", None, "2.1")
    ]
    assert ats.status == "excluded"
    assert ats.ratio
    assert ats.ratio.text == f"{0.49 / 0.86:.2f}"
    assert learned.measured is not None
    assert drawn.measured is not None
    assert learned.measured.unpruned.median == pytest.approx(1.6)
    assert (learned.measured.unpruned.low, learned.measured.unpruned.high) == pytest.approx((1.52, 1.68))
    assert learned.measured.eager.median == pytest.approx(3.2)
    assert learned.measured.realised == pytest.approx(1.6 / 2.5)
    assert learned.measured.rate == pytest.approx(64 * 1.6 / 0.1)
    assert learned.measured.compare_to is not None
    assert learned.measured.compare_to.median == pytest.approx(0.8)
    assert learned.measured.compare_to.high == pytest.approx(0.8)  # of rounds, which rise and fall together
    assert learned.published_compare_to == pytest.approx(1.48 / 1.5)
    text = markdown(table())
    row = next(line for line in text.splitlines() if line.startswith("| attended"))
    assert [cell.strip() for cell in row.split("|")[5:12]] == [
        *("1.60x ‡", "1.52–1.68", "3.20x", "2.50x", "0.64", "1024", "[1]")
    ]
    assert "|      2.1x ° |" in text
    assert "- ° read in a text about the source." in text
    assert "- [1] In no paper." in text
    assert "learned over drawn, tiny, GPU X, batch of 64, round by round: 0.800x (0.800–0.800); published 0.987" in text
    assert "A processor: not measured." in text
    assert "A GPU: not measured." not in text


def test_rows_of_two_sessions_are_not_set_beside_each_other(folder: Path) -> None:
    """They were not timed side by side."""
    keep("cpu", "CPU Y", folder, lambda row: {"session": row})
    learned = next(line for line in lines() if line.row == "learned")
    assert learned.measured is not None
    assert learned.measured.compare_to is None
    said = [note.text for note in table().notes]
    assert "learned over drawn, tiny, CPU Y, batch of 2: not timed in one session." in said


def test_warnings_about_a_timing_are_one_note_in_short_forms(folder: Path) -> None:
    """The mark is on the row; why stands in HTML, by row, and in the CSV; without a warning there is neither."""
    keep("cpu", "CPU Y", folder / "calm")
    assert "‡" not in markdown(table())
    assert [note for note in table().notes if note.mark == "‡"] == []
    keep(
        "cpu",
        "CPU Y",
        folder / "busy",
        lambda row: {"timing_warnings": "the clock jumped"} if row == "attended" else {},
    )
    short = "‡ unreliable timing; reason in `table.html` and `table.csv` (`timing_warnings`)"
    assert short in markdown(table())
    assert "the clock jumped" not in markdown(table())
    assert [note for note in re.findall("<li>(.*)</li>", as_html(table())) if "‡" in note] == [
        "‡ tiny attended, batch of 2 (CPU Y): the clock jumped."
    ]
    assert suite("table", "trial").exit_code == 0
    with Path("results/trial/table.csv").open() as file:
        assert [row["row"] for row in csv.DictReader(file) if row["timing_warnings"] == "the clock jumped"] == [
            "attended"
        ]


def test_devices_share_a_record(folder: Path) -> None:
    """Whoever measures last erases nobody: lines and provenance of others stay, each device has its own table."""
    keep("cuda", "GPU X", folder / "there")
    first = rounds_of(Path("results/trial"))
    assert suite("run", "trial").exit_code == 0
    both = rounds_of(Path("results/trial"))
    assert {key: found for key, found in both.items() if key[0] == "cuda"} == first
    assert {key[0] for key in both} == {"cpu", "cuda"}
    runs = json.loads(Path("results/trial/provenance.json").read_text())["runs"]
    assert {run["device"]: len(run["cells"]) for run in runs}["GPU X"] == 5  # they share a cell
    assert len(runs) == 2
    text = Path("results/trial/table.md").read_text()
    names = [block.name for block in table().blocks]
    assert names[1] == "GPU X (GPU), float16"
    assert [text.count(f"| *{name}*") for name in names] == [1, 1]
    assert "not measured" not in text
    keep("cuda", "GPU X", folder / "there", lambda row: {"kernels": "efficient"})  # measured again
    again = rounds_of(Path("results/trial"))
    assert again.keys() == both.keys()
    assert {line["kernels"] for key, found in again.items() if key[0] == "cuda" for line in found} == {"efficient"}
    assert {len(found) for found in again.values()} == {5}


def test_rounds_that_the_study_no_longer_asks_for_are_left_out(folder: Path) -> None:
    """A row whose schedule has changed must not pass for the new one; the run says so."""
    keep("cuda", "GPU X", folder / "there")
    changed('"16,16,0,0"', '"16,15,0,0"')
    assert [line.row for line in lines("cuda") if line.status == "measured"] == [UNPRUNED, UNPRUNED]
    done = suite("run", "trial")
    assert "left out of rounds.csv: 4 rows that the study no longer asks for" in done.output
    assert {row for kind, _, row, _ in rounds_of(Path("results/trial")) if kind == "cuda"} == {UNPRUNED}


def test_the_csv_has_every_line_at_full_precision(folder: Path) -> None:
    """Of both devices, with source and evidence of what is published."""
    keep("cuda", "GPU X", folder / "there")
    keep("cpu", "CPU Y", folder / "here")
    make_table(Path("results/trial"), Console(quiet=True))
    with Path("results/trial/table.csv").open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(lines()) == 7 + 9
    for row in found:
        if row["row"] == "learned" and row["backbone"] == "tiny":
            assert float(row["realised_of_macs"]) == float(row["measured_median"]) / float(row["macs_ratio"])
            assert (row["throughput"], row["speedup"], row["evidence"]) == ("1.48", "1.7", "primary")
            assert bool(row["images_per_second"]) == (row["device_type"] == "cuda")
    assert [row["status"] for row in found if "ATS" in row["row"]] == ["excluded"] * 2


# ---------------------------------------------------------------- the committed study


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> list[Measurement]:
    """What `imagenet-vitl-speed` measures on a GPU, on the same backbones of little width."""
    content = yaml.safe_load((ROOT / "studies/imagenet-vitl-speed.yaml").read_text())
    content["published"] = str(ROOT / content["published"])
    for one in content["backbones"]:
        name, options = one["backbone"], {}
        if isinstance(name, dict):
            name, options = name["name"], name["options"]
        one["backbone"] = {"name": name, "options": options | {"embed_dim": 16, "num_heads": 2}}
        one["batch_sizes"]["cuda"] = [1]
    path = tmp_path_factory.mktemp("committed") / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return measurements(load(str(path)).study, Device("cuda", "GPU X"))


def removed_of(one: Measurement) -> dict[str, list[int]]:
    """Patches that each row removes in each block."""
    return {row: cell.identity["removed"] for row, cell in one.cells.items()}


def test_the_committed_study_has_the_schedules_of_the_paper(committed: list[Measurement]) -> None:
    """Tokens of each block as in the official logs; R=50 after the sixth, twelfth and eighteenth block."""
    vit_l = next(one for one in committed if one.backbone.name == "ViT-L/16")
    entering = {row: [197 - sum(removed[:block]) for block in range(24)] for row, removed in removed_of(vit_l).items()}
    fused = [197, *range(188, 19, -8)]
    assert entering["cropr R=8 LLF"] == [*fused, 20]  # before those removed are back for the last block
    assert entering["cropr R=8"] == [*fused, 12]
    assert entering["cropr R=50"] == [197] * 6 + [146] * 6 + [96] * 6 + [46] * 6
    assert sum(removed_of(vit_l)["tome r=8, average"]) == 8 * 23 + 6
    eva = next(one for one in committed if one.backbone.name.startswith("EVA"))
    assert 1025 - sum(removed_of(eva)["cropr R=40 LLF"]) == 144
    for one in committed:
        for row in one.backbone.rows:
            other = removed_of(one).get(row.compare_to)
            assert other in (None, removed_of(one)[row.name])


@pytest.mark.slow
@pytest.mark.parametrize("large", [False, True])
def test_every_row_of_the_committed_study_runs_in_half_precision(committed: list[Measurement], large: bool) -> None:
    """As on a GPU; on narrow backbones, whose weights all rows share; slow where images are large."""
    torch.manual_seed(0)
    chosen = [one for one in committed if (build_side_by_side(one.rows)[1][0] > 224) == large]
    assert chosen
    for one in chosen:
        models, size = build_side_by_side(one.rows)
        assert len(models) == 1 + len(one.cells)
        blocks = [{id(w) for name, w in model.named_parameters() if "blocks." in name} for model in models.values()]
        assert blocks[0]
        assert all(weights == blocks[0] for weights in blocks)
        images = torch.rand(1, 3, *size, dtype=torch.float16)
        with torch.inference_mode():
            for name, model in models.items():
                assert model.to(torch.float16)(images).isfinite().all(), name
