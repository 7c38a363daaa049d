"""Speed cells of a study: how they may be measured, what they record, and their columns in its table."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_made import ABOUT, cell
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.speed.cell import _result
from suite.kinds.training import cells
from suite.kinds.training.cells import expand
from suite.kinds.training.execute import run_cell
from suite.kinds.training.line import Line
from suite.kinds.training.schema import Study
from suite.kinds.training.study import lacking
from suite.kinds.training.study import refuse as refuse_for
from suite.kinds.training.summary import read_record, summarise
from suite.kinds.training.table import columns, study_table
from suite.measure import device, fit, side_by_side
from suite.measure.passes import prepare
from suite.measure.speed import compare, references
from suite.measure.timing_options import UNPRUNED, UNPRUNED_EAGER
from suite.reduction.backbone import create_backbone
from suite.reduction.model import reduce
from suite.report.render import as_html, markdown
from suite.report.trace import trace
from suite.study import exported as record
from suite.study.cells import Cell, Job
from suite.study.exported import tidy
from suite.study.load import load
from suite.study.store import Record

ROOT = Path(__file__).parents[1]
TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 4, "num_heads": 2}
FILE = """\
question: How fast?
task: classification
data: {recipe: digit-scenes, canvas: 16, digit_size: [8, 10], train: 64, validation: 32}
backbone: {name: vit_tiny_patch16_224, options: {img_size: 16, patch_size: 4, embed_dim: 16, depth: 4, num_heads: 2}}
base: {recipe: {epochs: 1, learning_rate: 1.0e-3}}
finetune: {epochs: 1, learning_rate: 1.0e-3}
schedules: [{removed: [4, 4, 0, 0]}]
methods: [none, random]
seeds: [0]
speed: {SPEED}
"""


def study(said: str) -> Study:
    """A study whose `speed` says this, from a file in the working folder."""
    Path("trial.yaml").write_text(FILE.replace("SPEED", said))
    return load("trial.yaml").study


def speed_cells(said: str) -> list[Cell]:
    """Its speed cells."""
    return [cell for cell in expand(study(said)) if cell.kind == "speed"]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, without a cluster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


@pytest.mark.usefixtures("workplace")
def test_every_row_has_a_cell_for_each_batch_size() -> None:
    """A list of one is the same as the number; the cells of a row differ in nothing else."""
    cells = speed_cells("batch_size: [1, 8], rounds: 5")
    assert [(cell.row, cell.variant) for cell in cells] == [
        *(("none", "batch 1"), ("none", "batch 8")),
        *(("random", "batch 1"), ("random", "batch 8")),
    ]
    for size in (1, 8):
        alone = {cell.cell_id for cell in cells if cell.variant == f"batch {size}"}
        assert {cell.cell_id for cell in speed_cells(f"batch_size: {size}, rounds: 5")} == alone
        assert {cell.cell_id for cell in speed_cells(f"batch_size: [{size}], rounds: 5")} == alone


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("more", ["precision: bfloat16", "compile: true", "device: cuda", "device: cuda, graph: true"])
def test_how_speed_is_measured_decides_speed_cells_alone(more: str) -> None:
    """Base and accuracy cells stay; device and precision of a speed cell are its own."""
    plain = speed_cells("batch_size: 4")
    assert {cell.cell_id for cell in plain}.isdisjoint(cell.cell_id for cell in speed_cells(f"batch_size: 4, {more}"))
    others = [
        [cell.cell_id for cell in expand(study(said)) if cell.kind != "speed"]
        for said in ("batch_size: 4", f"batch_size: 4, {more}")
    ]
    assert others[0] == others[1]
    said = dict(part.split(": ") for part in more.split(", "))
    for cell_of in speed_cells(f"batch_size: 4, {more}"):
        assert cell_of.identity["device"] == said.get("device", "cpu")
        assert cell_of.identity["precision"] == said.get("precision", "float32")


@pytest.mark.usefixtures("workplace")
def test_a_speed_cell_is_of_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs are distinguished by name, before anything runs; what was timed elsewhere than planned says so."""
    found = []
    for name in ("GPU X", "GPU Y"):
        monkeypatch.setattr(cells, "device_name", lambda _kind, name=name: name)
        found.append(speed_cells("batch_size: 4, device: cuda"))
    ours, theirs = found
    assert {cell.identity["device_name"] for cell in theirs} == {"GPU Y"}
    assert {cell.cell_id for cell in ours}.isdisjoint(cell.cell_id for cell in theirs)
    result = run_cell(Job(identity() | {"device_name": "CPU X"}, None))
    assert result["status"] == "done"
    assert "planned for CPU X, timed on " in result["reason"]


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("graph: true", "speed.graph: CUDA graphs are replayed on a GPU only; leave it out, or say device: cuda"),
        ("batch_size: [4, 4]", "speed.batch_size: batch sizes are different counts from 1, found [4, 4]"),
        ("batch_size: []", "speed.batch_size: "),
        ("precision: float8", "speed.precision: unknown value 'float8'; did you mean"),
    ],
)
def test_what_cannot_be_anywhere_is_refused_with_its_line(said: str, message: str) -> None:
    """When the file is read."""
    with pytest.raises(UserError) as refused:
        study(said)
    assert str(refused.value).startswith(f"trial.yaml:10: {message}")


def refuse(*_arguments: object) -> Callable[..., object]:
    """A compiler that is not there."""
    raise RuntimeError("no working C++ compiler")


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("precision: float16", "speed: float16 on this cpu would be emulated"),
        ("compile: true", "speed: torch.compile cannot compile anything here (RuntimeError: no working C++ compiler)"),
        ("device: cuda", "this study times on cuda, and torch finds no CUDA device here"),
    ],
)
def test_what_this_machine_lacks_is_said(said: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `validate`, and before anything is run; a cluster may have it."""
    monkeypatch.setattr(torch, "compile", refuse)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device, "_has_instructions", lambda dtype, _device: dtype == torch.float32)
    cells = expand(study(said))
    with pytest.raises(UserError) as refused:
        refuse_for(lacking(cells))
    assert str(refused.value).startswith(message)
    validated = CliRunner().invoke(app, ["validate", "trial.yaml"])
    assert validated.exit_code == 0, validated.output
    assert f"missing input: {message}" in validated.output
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:1")
    assert lacking(cells) == []
    monkeypatch.delenv("RAY_ADDRESS")
    assert lacking(expand(study("batch_size: 4"))) == []


def identity(method: str = "random", **speed: Any) -> dict[str, Any]:
    """That of a speed cell."""
    where = {name: speed.pop(name) for name in ("device", "precision") if name in speed}
    how = {"batch_size": 3, "rounds": 6, "warmup_rounds": 1, "compile": False, "graph": False} | speed
    return {
        "kind": "speed",
        "protocol": 1,
        "task": "classification",
        "backbone": {"name": "vit_tiny_patch16_224", "options": TINY},
        "classes": 10,
        "device": "cpu",
        "precision": "float32",
        "method": method,
        "settings": {},
        "removed": [0] * 4 if method == "none" else [4, 4, 0, 0],
        "fusion": "none",
        "threads": 1,
        "speed": how,
    } | where


def test_a_speed_cell_records_memory_and_what_was_done_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the method and of the unpruned model: weights, images and activations, which precision lowers."""
    monkeypatch.setattr(device, "_has_instructions", lambda _dtype, _device: True)
    found = {how: run_cell(Job(identity(precision=how), None)) for how in ("float32", "bfloat16")}
    for result in found.values():
        assert result["status"] == "done"
        assert result["metrics"].keys() == result["units"].keys()
        assert not result["repetitions"].keys() & {"seconds", "seconds_unpruned"}
        assert result["origin"].keys() == {"device", "numerics", "allocator"}
        for name in ("speed_ratio", "speed_ratio_eager"):
            assert len(result["repetitions"][name]) == 6
            assert result["metrics"][name] == statistics.median(result["repetitions"][name])
            assert result["units"][name] == "x"
        assert result["metrics"].keys() >= {"others_cores", "own_share", "page_faults", "round_drift", "timed_share"}
    metrics = {how: result["metrics"] for how, result in found.items()}
    backbone, images = create_backbone("vit_tiny_patch16_224", TINY, 10).eval(), torch.rand(3, 3, 16, 16)
    whole = prepare("vit", backbone, images)
    assert metrics["float32"]["memory_bytes_unpruned"] == whole.facts.memory
    reduced = prepare("random", reduce(backbone, "random", (4, 4, 0, 0)).deploy(), images)
    assert metrics["float32"]["memory_bytes"] == reduced.facts.memory != whole.facts.memory
    halved = prepare("vit", backbone.bfloat16(), images.bfloat16())  # some processors add buffers of their own
    assert metrics["bfloat16"]["memory_bytes_unpruned"] == halved.facts.memory < whole.facts.memory
    fused = ("flash-for-cpu",) * 4
    kernels = {"reduced": fused, UNPRUNED: fused, UNPRUNED_EAGER: ("eager",) * 4}
    assert found["bfloat16"]["details"]["kernels"] == kernels


def test_a_batch_that_does_not_fit_fails_with_the_largest_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before more than two images are made; what cannot be opened here fails with its reason too."""
    drawn: list[int] = []

    def spy(size: tuple[int, int], where: torch.device, dtype: torch.dtype, count: int) -> torch.Tensor:
        drawn.append(count)
        return torch.rand(count, 3, *size, device=where, dtype=dtype)

    monkeypatch.setattr(side_by_side, "draw_images", spy)
    monkeypatch.setattr(fit, "usable_memory", lambda _device=None: 2**20)
    result = run_cell(Job(identity(batch_size=4096), None))
    assert result["status"] == "failed"
    assert result["reason"].startswith("a batch of 4096 does not fit into memory: ")
    largest = int(result["reason"].rpartition(" ")[2])
    assert max(drawn) == 3
    assert run_cell(Job(identity(batch_size=largest), None))["status"] == "done"
    assert run_cell(Job(identity(batch_size=largest + 1), None))["status"] == "failed"
    monkeypatch.setattr(device, "_has_instructions", lambda dtype, _device: dtype == torch.float32)
    refused = run_cell(Job(identity(precision="float16"), None))
    assert refused["status"] == "failed"
    assert "would be emulated" in refused["reason"]


def test_a_compiled_speed_cell_says_what_the_compiler_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model in one graph, compiled once, before it is timed; the compiler is tried first."""
    tried: list[torch.device] = []
    monkeypatch.setattr(device, "check_compiler", tried.append)
    monkeypatch.setattr(side_by_side, "prepare", functools.partial(prepare, backend="eager"))
    result = run_cell(Job(identity(compile=True), None))
    assert result["status"] == "done", result["reason"]
    assert tried == [torch.device("cpu")]
    compiled = result["details"]["compiled"]
    assert {name: (one["graphs"], one["again"]) for name, one in compiled.items()} == dict.fromkeys(
        ("reduced", UNPRUNED, UNPRUNED_EAGER), (1, 0)
    )
    assert "compiled" not in run_cell(Job(identity(), None))["details"]


def test_a_gpu_has_its_seconds_under_its_name() -> None:
    """Every round of the method and of the unpruned model."""
    backbone = create_backbone("vit_tiny_patch16_224", TINY, 10).eval()
    models = {"reduced": backbone, **references(backbone)}
    passes = {name: prepare(name, model, torch.rand(2, 3, 16, 16)) for name, model in models.items()}
    timing = compare(passes, torch.device("cpu"), rounds=5, warmup_rounds=1)
    result = _result(timing, {"gpu": "Fake 1"})
    assert result["repetitions"]["seconds"] == list(timing.seconds["reduced"])
    assert result["repetitions"]["seconds_unpruned"] == list(timing.seconds[UNPRUNED])
    assert result["units"]["seconds"] == "s"
    assert result["details"]["gpu"] == "Fake 1"


def test_the_record_knows_the_batch_size_of_a_cell_that_failed(tmp_path: Path) -> None:
    """So that the table puts its reason where it belongs."""
    kept, failed = Record(tmp_path), Cell(identity(batch_size=7), "random", "4 4 0 0")
    kept.add(failed, {"status": "failed", "reason": "a batch of 7 does not fit"})
    (line,) = tidy("trial", [failed], kept)
    assert (line["metric"], line["value"], line["unit"]) == ("batch_size", "7", "images")
    assert (line["status"], line["reason"]) == ("failed", "a batch of 7 does not fit")


def timed(row: str, batch: int, ratios: list[float], reason: str = "", status: str = "done") -> list[dict[str, object]]:
    """Tidy rows of a speed cell, as they are written."""
    same = ABOUT | {"cell_id": f"{row}-{batch}", "kind": "speed", "status": status, "row": row, "reason": reason}
    same |= {"method": row, "schedule": "8 8 0", "fusion": "none", "seed": "", "repetition": ""}
    rounds = [
        same | {"metric": name, "repetition": f"{index:04}", "value": repr(value * factor)}
        for name, factor in (("speed_ratio", 1.0), ("speed_ratio_eager", 1.5))
        for index, value in enumerate(ratios)
    ]
    return [same | {"metric": "batch_size", "value": repr(batch)}, *rounds]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two rows at three batch sizes; one cell's timing is unreliable, one failed."""
    rows = [
        *(row for method in ("random", "good") for seed in range(2) for row in cell(method, seed, 70.0 + seed)),
        *(row for batch in (1, 8, 64) for row in timed("random", batch, [batch + 0.1, batch + 0.2, batch + 0.3])),
        *timed("good", 1, [0.7, 0.8, 0.9], reason="spread: wide"),
        *timed("good", 8, [1.1, 1.2, 1.3]),
        *timed("good", 64, [], reason="a batch of 64 does not fit", status="failed"),
    ]
    record.write_csv(tmp_path / "trial" / "cells.csv", rows, {"runs": []})
    (tmp_path / "trial" / "table.csv").write_text("")
    return tmp_path


def lines_of(results: Path) -> dict[str, Line]:
    """The lines of the table, by row."""
    return {line.row: line for line in summarise(read_record(results / "trial"))}


def test_the_table_has_a_column_for_each_further_batch_size(results: Path) -> None:
    """The largest is the speed, also where a row lacks it; marks stand at the batch size they are of."""
    lines = lines_of(results)
    table = study_table("trial", list(lines.values()))
    text, long = markdown(table), as_html(table)
    shown = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    headings, *rows = shown
    assert headings[-3:] == ["speed", "speed, batch 8", "speed, batch 1"]
    cells = {row[0].removesuffix(" †"): row[-3:] for row in rows}
    assert cells["random"] == ["64.20x", "8.20x", "1.20x"]
    assert cells["good"] == ["–", "1.20x", "0.80x ‡"]
    assert "‡ good: a batch of 64 does not fit." in long
    assert "‡ good, batch 1: spread: wide." in long
    eager = lines["random"].speeds[0].eager
    assert eager is not None
    assert eager.median == pytest.approx(1.5 * 64.2)


@pytest.mark.parametrize(
    ("column", "cell_id", "first"),
    [("speed", "random-64", 64.1), ("speed, batch 8", "random-8", 8.1), ("speed_batch_1_median", "random-1", 1.1),
     ("speed, eager", "random-64", 1.5 * 64.1)],
)  # fmt: skip
def test_a_speed_is_traced_to_the_cell_of_its_batch_size(
    column: str, cell_id: str, first: float, results: Path
) -> None:
    """And to no other."""
    (only,) = trace(f"trial:random:{column}", results).cells
    assert only.cell_id == cell_id
    assert only.values[0] == pytest.approx(first)


@pytest.mark.parametrize("says", [True, False])
def test_a_record_of_one_batch_size_has_one_column_of_speed(says: bool, tmp_path: Path) -> None:
    """Whether or not it says which: those of before did not."""
    rows = [*cell("random", 0, 70.0), *timed("random", 8, [1.1, 1.2, 1.3])]
    kept = [row for row in rows if says or row["metric"] != "batch_size"]
    record.write_csv(tmp_path / "trial" / "cells.csv", kept, {"runs": []})
    (tmp_path / "trial" / "table.csv").write_text("")
    line = lines_of(tmp_path)["random"]
    assert [one.batch for one in line.speeds] == [8 if says else None]
    assert line.speed is not None
    assert line.speed.median == 1.2
    assert "speed_batch" not in ",".join(field for column in columns([line]) for field in column.fields)
    assert trace("trial:random:speed", tmp_path).cells[0].values == (1.1, 1.2, 1.3)
