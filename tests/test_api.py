"""The Python interface: its examples run, agree with the committed results, and leave the process as it was."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import build
from PIL import Image

import suite
from suite import api
from suite.errors import UserError
from suite.reduction.schedule import constant
from suite.reduction.settings import Fusion

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["api", *api.__all__])
def test_examples_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every function of the page has an example, and prints what it says."""
    monkeypatch.chdir(ROOT)
    found = api if name == "api" else getattr(api, name)
    tests = doctest.DocTestFinder(recurse=False).find(found, name, module=api, globs=vars(api).copy())
    assert name == "Results" or tests[0].examples
    for test in tests:
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_importing_the_package_is_light() -> None:
    """PyTorch is imported when a function is asked for; an unknown name is refused as everywhere."""
    program = "import sys, suite; print('torch' in sys.modules); suite.reduce; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == ["False", "True"]
    assert suite.count is api.count
    with pytest.raises(AttributeError, match="no attribute 'cuont'"):
        suite.cuont  # type: ignore[attr-defined]  # noqa: B018


def test_removed_and_schedule() -> None:
    """Counts, a schedule and a rule of a study mean the same; what is none is refused."""
    counts = (4, 3, 3, 0)
    for model in (
        api.reduce(build("vit"), "random", list(counts)),
        api.reduce(build("vit"), "random", constant(64, 4, 3, (0, 1, 2), extra_first=1)),
        api.reduce(build("vit"), "random", schedule={"constant": 3, "blocks": "0-2", "extra_first": 1}),
    ):
        assert model.method.counts == counts
    with pytest.raises(UserError, match="give one of them"):
        api.reduce(build("vit"), "random", counts, schedule={"constant": 3})
    with pytest.raises(UserError, match=r"schedule: .*did you mean constant"):
        api.reduce(build("vit"), "random", schedule={"constat": 3})


@pytest.mark.parametrize(
    ("fusion", "message"), [("last_layer", "did you mean last-layer"), ("foo", "valid: concatenation")]
)
def test_an_unknown_fusion_is_refused(fusion: Fusion, message: str) -> None:
    """Also where nothing is removed; the nearest name is offered."""
    with pytest.raises(UserError, match=f"unknown fusion '{fusion}'; {message}"):
        api.reduce(build("vit"), "none", fusion=fusion)


def test_timing_leaves_everything_as_it_was() -> None:
    """Threads, the random generator, and the models' modes, weights and parts for training."""
    unpruned, cropr = build("vit").train(), api.reduce(build("vit"), "cropr", (9, 0, 0, 0)).train()
    threads = torch.get_num_threads()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    timing = api.time_side_by_side(
        {"unpruned": unpruned, "cropr": cropr}, batch_size=2, rounds=5, warmup_rounds=1, threads=threads + 1
    )
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert [len(seconds) for seconds in timing.seconds.values()] == [5, 5]
    assert unpruned.training
    assert cropr.training
    assert cropr.method.croppers["0"].aggregator is not None
    with pytest.raises(UserError, match=r"options of time_side_by_side: .*did you mean rounds"):
        api.time_side_by_side({"unpruned": unpruned}, round=5)


def test_accuracy_over_batches_and_folders(tmp_path: Path) -> None:
    """Over unequal batches, in evaluation mode; a folder gives the labels by its folders' order."""
    model = build("vit stochastic").train()
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    best = model.eval()(images).argmax(1)
    labels = torch.where(torch.arange(5) < 2, best, (best + 1) % 10)
    found = api.evaluate(model.train(), [(images[:4], labels[:4]), (images[4:], labels[4:])])
    assert (found.images, found.top1) == (5, 40.0)
    assert model.training
    with pytest.raises(ValueError, match="no images"):
        api.evaluate(model, [])
    for number in range(10):
        (tmp_path / "val" / f"class-{number}").mkdir(parents=True)
        Image.new("RGB", (40, 40), (20 * number, 0, 0)).save(tmp_path / "val" / f"class-{number}" / "one.png")
    assert api.evaluate(model, tmp_path, batch_size=3).images == 10
    with pytest.raises(UserError, match=r"^data: there is no folder .*; give one that holds a folder of images"):
        api.evaluate(model, tmp_path / "nowhere")


def test_results_are_the_committed_ones(tmp_path: Path) -> None:
    """A score for each row and seed, whose medians are those of the table; studies without scores say so."""
    found = api.results("quickstart", ROOT / "results")
    scores = found.scores
    assert sorted(scores["seed"].unique()) == [0, 1, 2, 3, 4]
    assert set(scores["metric"]) == {"acc1_last"}
    medians = scores.groupby("row")["score"].median()
    table = found.table.set_index("row")["score_median"]
    assert medians.sort_index().tolist() == pytest.approx(table.sort_index().tolist())
    with pytest.raises(UserError, match=r"costs is of kind costs, which has no scores over seeds; use table$"):
        _ = api.results("costs", ROOT / "results").scores
    with pytest.raises(UserError, match="did you mean quickstart"):
        api.results("quickstrat", ROOT / "results")
    with pytest.raises(UserError, match=r"^name: there are no results .*; .* has none; make some: suite run NAME"):
        api.results("quickstart", tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda vit: api.time_side_by_side({}), r"models: there is none to time; give at least one, such as {.*}"),
        (
            lambda vit: api.time_side_by_side({"unpruned": vit}, batch_size=[1, 2]),
            r"batch_size: one number, found \[1, 2\]; call time_side_by_side for each",
        ),
        (
            lambda vit: api.reduce(vit, "tome", removed=8),
            r"removed: a count for each block, found 8; give such as \(8, 8, 0, 0\), or schedule={'constant': 8}",
        ),
        (lambda vit: api.reduce(vit, "tome", removed="88"), r"removed: a count for each block, found '88'; .*"),
        (lambda vit: api.reduce(vit, "tome", schedule="x"), r"schedule: a mapping, found 'x'; .* {'constant': 8}"),
        (lambda vit: api.reduce(vit, "evit", settings=3), r"settings: a mapping, found 3; .*"),
        (
            lambda vit: api.reduce(vit, "cropr", settings={"querys": 2}),
            r"settings of cropr: querys: unknown key; did you mean queries\?",
        ),
    ],
)
def test_wrong_calls_are_one_sentence(call: Callable[[Any], object], message: str) -> None:
    """It names the argument, what was found and what would work."""
    with pytest.raises(UserError) as error:
        call(build("vit"))
    assert re.fullmatch(message, str(error.value)), error.value
