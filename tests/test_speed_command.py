"""`suite speed` from the command line, the options it shares with others, and the speed cells of studies."""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from cost_oracle import count_macs
from rich.console import Console
from typer.testing import CliRunner, Result

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.speed import command
from suite.kinds.speed.command import configurations
from suite.kinds.speed.models import build_side_by_side
from suite.kinds.training import cells
from suite.kinds.training.cells import expand
from suite.measure import selftest
from suite.measure.clock import Clock
from suite.measure.timing_options import UNPRUNED, UNPRUNED_EAGER, TimingOptions
from suite.study import provenance
from suite.study.configuration import Configuration
from suite.study.load import load
from suite.study.schema import ScheduleRule

ROOT = Path(__file__).parents[1]
TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 4, "num_heads": 2}
BACKBONE = ["vit_tiny_patch16_224", *(f"--option={name}={value}" for name, value in TINY.items())]
METHODS = ["--method=random", "--method=cropr", "--schedule={removed: [4, 4, 0, 0]}"]


def suite(*arguments: str) -> Result:
    """Run `suite speed`."""
    return CliRunner().invoke(app, ["speed", *arguments], env={"COLUMNS": "120"})


def refusal(*arguments: str) -> str:
    """What `suite speed` refuses to do."""
    error = suite(*arguments).exception
    assert isinstance(error, UserError), error
    return str(error)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The table and the JSON of a small run."""
    file = tmp_path_factory.mktemp("speed") / "speed.json"
    settings = ["--setting=stage=pre", "--setting=cropr.heads=2"]
    fixed = ["--batch-size=1", "--batch-size=6", "--rounds=5", "--option=num_classes=7", f"--output={file}"]
    done = suite(*BACKBONE, *METHODS, *settings, *fixed)
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.stdout, json.loads(file.read_text())


def test_the_table_has_a_row_for_every_model_and_batch(measured: tuple[str, dict[str, Any]]) -> None:
    """References first; ratios to both, MACs beside them, kernels, no absolute units on a processor."""
    table, content = measured
    rows = [line.split() for line in table.splitlines() if "MiB" in line]
    assert [row[0] for row in rows] == ["unpruned", "unpruned", "random", "cropr"] * 2
    ratios = [re.findall(r"\d\.\d\dx", line) for line in table.splitlines() if "MiB" in line]
    for fused, eager in (ratios[:2], ratios[4:6]):
        assert fused[0] == fused[2] == eager[1] == eager[2] == "1.00x"
    assert table.count("flash-for-cpu") == 6
    assert "images/s" not in table.replace("images per second", "")
    assert "1 thread; weights and images in float32" in table
    macs = content["macs_full"]
    assert table.count(f"{macs[UNPRUNED] / macs['random']:.2f}x") >= 2


def test_the_file_has_every_repetition_and_where_it_comes_from(measured: tuple[str, dict[str, Any]]) -> None:
    """Ratios are those of the rounds; provenance, settings, schedule, memory and verdict are there."""
    _, content = measured
    assert content["provenance"].keys() >= {"command", "commit", "versions", "processor", "allocator", "gpu"}
    assert content["unpruned"]["classes"] == 7
    assert content["options"]["rounds"] == 5
    rows = content["rows"]
    assert {row["schedule"]["removed"] == [4, 4, 0, 0] for row in rows.values()} == {True}
    assert rows["random"]["settings"] == {"stage": "pre"}
    assert rows["cropr"]["settings"] == {"stage": "pre", "heads": 2}
    assert [batch["batch_size"] for batch in content["batches"]] == [1, 6]
    for batch in content["batches"]:
        models = batch["models"]
        assert list(models) == [UNPRUNED, UNPRUNED_EAGER, "random", "cropr"]
        for found in models.values():
            assert len(found["seconds"]) == 5
            for ratio, reference in (("speedup", UNPRUNED), ("speedup_eager", UNPRUNED_EAGER)):
                pairs = zip(models[reference]["seconds"], found["seconds"], strict=True)
                assert found[ratio] == pytest.approx([theirs / mine for theirs, mine in pairs])
            assert found["memory_bytes"] > 0
            assert isinstance(found["timing_warnings"], str)
        assert set(models[UNPRUNED_EAGER]["kernels"]) == {"eager"}
        assert models["cropr"]["kernels"] == ["flash-for-cpu"] * 4
        assert batch["machine"].keys() >= {"others", "share", "faults", "timed", "drift"}


def rows_of(removed: tuple[int, ...], *more: str, **settings: Any) -> dict[str, Configuration]:
    """Random pruning and the unpruned model, as the command makes them."""
    fusion, task = more or ("none", "classification")
    rule = ScheduleRule(removed=removed)
    return configurations("vit_tiny_patch16_224", TINY, ("random",), {"random": settings}, rule, fusion, task)


def test_settings_and_schedule_reach_the_models() -> None:
    """All share the backbone's weights; patches leave where the settings say; MACs follow."""
    macs = []
    for settings in ({"stage": "pre"}, {}):
        models, size = build_side_by_side(rows_of((8, 0, 0, 0), **settings))
        assert list(models) == [UNPRUNED, UNPRUNED_EAGER, "random"]
        weights = {id(parameter) for model in models.values() for parameter in model.parameters()}
        assert len(weights) == len(list(models[UNPRUNED].parameters()))
        macs.append({name: count_macs(model, torch.zeros(1, 3, *size)).full for name, model in models.items()})
    before, after = macs
    assert before["random"] < after["random"] < after[UNPRUNED] == after[UNPRUNED_EAGER]


def test_a_dense_task_times_its_read_out() -> None:
    """Every model gives logits for each pixel, of as many classes as ADE20k has."""
    models, _ = build_side_by_side(rows_of((4, 4, 0, 0), "logits", "segmentation"))
    assert list(models) == [UNPRUNED, UNPRUNED_EAGER, "random + logits"]
    for model in models.values():
        assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 150, 16, 16)


REFUSED: list[tuple[list[str], str]] = [
    ([], "name a timm model to time, for example: suite speed vit_small_patch16_224"),
    ([*BACKBONE, "--method=random"], "a schedule is needed for random, for example: --schedule"),
    ([*BACKBONE, "--method=random", "--schedule={removed: [4,4]}"], "2 counts for a backbone of 4 blocks"),
    ([*BACKBONE, "--schedule={removed: 4-x}"], "schedule: removed: '4-x' is neither a number nor a range"),
    ([*BACKBONE, "--schedule={constant: 4, linear: 4}"], "schedule: .* needs exactly one of .*constant, linear"),
    ([*BACKBONE, "--schedule={linear: 2, fused: true}"], "schedule: the rule linear does not read fused; leave it out"),
    ([*BACKBONE, "--schedule={budget: {macs: 0.6}}"], "schedule: a budget gives every method a schedule of its own"),
    ([*BACKBONE, "--schedule=8"], "--schedule '8' is not a rule in braces; write for example --schedule '{constant"),
    (
        [*BACKBONE, "--schedule={keep_rate: 0.7, blocks: (3, 6,9)}"],
        'schedule: blocks: in braces a text with commas needs quotes; write blocks: "[(]3,6,9[)]"',
    ),
    ([*BACKBONE, "--schedule={constant: 010}"], "--schedule '{constant: 010}': constant: 010 is 8 in YAML"),
    ([*BACKBONE, "--schedule={a"], "--schedule '{a': the value is not readable as YAML: "),
    ([*BACKBONE, *METHODS, "--method=randm"], "unknown method 'randm'; did you mean random?"),
    ([*BACKBONE, *METHODS, "--method=tome", "--fusion=last-layer"], "tome on .*: last-layer fusion needs"),
    ([*BACKBONE, *METHODS, "--fusion=logits"], "classification does not read logits fusion"),
    ([*BACKBONE, *METHODS, "--fusion=lastlayer"], "fusion: unknown value 'lastlayer'; did you mean last-layer"),
    ([*BACKBONE, *METHODS, "--task=detection"], "unknown task 'detection'"),
    ([*BACKBONE, *METHODS, "--setting=random.heads=2"], "method random: heads: unknown key; valid: action, stage"),
    ([*BACKBONE, *METHODS, "--setting=tome.order=kept"], "--setting tome.order: tome is not among the methods random,"),
    ([*BACKBONE, *METHODS, "--setting=stage"], "--setting 'stage' is not NAME=VALUE"),
    ([*BACKBONE, "--option=depth=3"], "--option depth is given twice"),
    ([*BACKBONE, "--option=classtoken=1"], "unexpected keyword argument 'classtoken'"),
    ([*BACKBONE, "--option=class_token=false", "--option=global_pool=avg", "--method=evit",
     "--schedule={removed: [4, 0, 0, 0]}"], "EViT needs a class token and the backbone has none"),
    ([*BACKBONE, "--precision=fp8"], "precision: unknown value 'fp8'; valid: bfloat16, float16, float32"),
    ([*BACKBONE, "--device=gpu"], "device: unknown value 'gpu'; "),
    ([*BACKBONE, "--graph"], "graph: CUDA graphs are replayed on a GPU only"),
    ([*BACKBONE, "--batch-size=100000000000"], "a batch of 100000000000 does not fit .* about --batch-size"),
    ([*BACKBONE, "--output=nowhere/speed.json"], "nowhere/speed.json cannot be written: there is no folder nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_cannot_be_measured_is_refused(arguments: list[str], message: str) -> None:
    """By name, with the cause and what would work."""
    with pytest.raises(UserError, match=message):
        raise UserError(refusal(*arguments))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    """Not replaced by the processor."""
    assert "cannot use the device 'cuda'" in refusal(*BACKBONE, "--device=cuda")


def test_a_gpu_has_absolute_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images per second; the same report on a processor has none."""
    options = TimingOptions(batch_size=(2,), rounds=5)
    report = command.measure(rows_of((4, 4, 0, 0)), options, Console(quiet=True))

    def shown(gpu: str) -> str:
        monkeypatch.setattr(command.Report, "gpu", gpu)
        console = Console(record=True, width=120, file=io.StringIO())
        command.show(report, console)
        return console.export_text()

    rate = f"{2 / statistics.median(report.timings[2].seconds['random']):.0f}"
    assert "images/s" in shown("Fake 1")
    assert rate in shown("Fake 1")
    assert "images/s" not in shown("")
    assert provenance.provenance()["processor"] in shown("")


def test_the_self_test_decides_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 and a table when nothing is wrong, 1 when the protocol does not wait for the device."""
    monkeypatch.setattr(selftest, "_spun", lambda: selftest.Check("known costs here", "1", "1", "right"))
    done = suite("--self-test")
    assert done.exit_code == 0, done.output
    assert "self-test: 4 right" in done.output
    monkeypatch.setattr(Clock, "seconds", selftest.UnsyncedClock.seconds)
    broken = suite("--self-test")
    assert broken.exit_code == 1
    assert "2 wrong" in broken.output


@pytest.mark.parametrize("name", ["quickstart", "digits-segmentation"])
def test_committed_results_are_still_those_of_their_study(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell, speed cells included, has the id under which its result was committed."""
    monkeypatch.chdir(ROOT)
    (device,) = {run["device"] for run in json.loads(Path(f"results/{name}/provenance.json").read_text())["runs"]}
    monkeypatch.setattr(cells, "device_name", lambda _kind: device)
    with Path(f"results/{name}/cells.csv").open() as file:
        committed = {row["cell_id"] for row in csv.DictReader(file)}
    assert {cell.cell_id for cell in expand(load(name).study)} == committed
