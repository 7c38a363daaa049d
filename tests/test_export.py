"""Deployed models, compiled and exported: every method through the real runtimes, and planted faults that must show."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from suite.cli import app as cli
from suite.contract.backbones import MATRIX, scramble
from suite.contract.compiled import inductor_trouble
from suite.errors import UserError
from suite.kinds.export import run as exporting
from suite.kinds.export.cases import BACKBONES, MEASURED, TINY, Case, cases
from suite.kinds.export.record import Line, keep, line_of, models, read_findings
from suite.kinds.export.record import lines as models_of
from suite.kinds.export.run import judge
from suite.kinds.export.table import COLUMNS, cells, export_table, facts, label
from suite.measure import artefacts
from suite.measure.artefacts import PATHS, Compiled, InOnnxRuntime, exported
from suite.measure.export import IMAGES, TRACED, Finding, Unfaithful, _require_same_draws, examine
from suite.measure.timing_options import TimingOptions
from suite.measure.watched import Watched, replay
from suite.reduction.model import reduce
from suite.reduction.registry import default_settings, modules
from suite.report.render import as_csv, as_html, markdown
from suite.study import records
from suite.tasks.task import task

torch.set_num_threads(1)
COMMITTED = Path(__file__).parents[1] / "results/export"

# ---------------------------------------------------------------- every method, through the real runtimes


# the contract has every method under torch.compile, with batches of one size
TIMING = TimingOptions(batch_size=(TRACED,), rounds=5, warmup_rounds=1)
# and ONNX is made of what torch.export makes
RUNS = [(path, "cropr") for path in PATHS]
SLOW = [(path, method) for path in PATHS for method in sorted(set(modules()) - {"cropr"})]


@pytest.mark.parametrize(("path", "method"), [*RUNS, *(pytest.param(*run, marks=pytest.mark.slow) for run in SLOW)])
def test_a_deployed_method_is_the_same_outside_eager_torch(path: str, method: str) -> None:
    """Same logits, same patches, whatever the batch; compiled once."""
    line = judge(Case("classification", TINY, method), path, quick=True)
    assert line["status"] == "works", line["reason"]
    assert line["batch_sizes"] == ("3 7 16" if path == "torch.compile" else "1 3 7 16")
    assert line["recompiled"] == ("0" if path == "torch.compile" else "")
    assert 0 <= float(line["difference"]) <= 1e-5 * float(line["largest_logit"])
    assert float(line["same_class"]) == 1
    assert line["draws"] == ("640" if method == "random" else "")
    leaves = default_settings(method).reduces != "nothing" and method != "random"
    assert line["same_kept"] == ("1.0" if leaves else "")


@pytest.mark.parametrize("fusion", ["concatenation", pytest.param("cross-attention", marks=pytest.mark.slow)])
def test_a_map_of_logits_is_the_same_in_onnx_runtime(fusion: str) -> None:
    """Segmentation, where removed patches come back."""
    line = judge(Case("segmentation", TINY, "cropr", fusion), "ONNX Runtime", quick=True)
    assert (line["status"], line["batch_sizes"]) == ("works", "1 3 7 16"), line["reason"]


@pytest.mark.slow
def test_rotary_tables_follow_their_patches_into_onnx_runtime() -> None:
    """On a tiny EVA-02, whose rotary table is gathered by position; a batch that nobody else tried."""
    backbone = MATRIX["eva02"](depth=2)
    scramble(backbone)
    model = Watched(reduce(backbone, "tome", (20, 0)).deploy())
    artefact = InOnnxRuntime(model, torch.zeros(2, 3, 32, 32))
    assert isinstance(artefact.session.get_inputs()[0].shape[0], str), "the batch is not dynamic"
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = artefact(images), model(images)
    assert torch.equal(found[1], expected[1])
    assert (found[0] - expected[0]).abs().max() < 1e-5 * expected[0].abs().max()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # inductor's own import
def test_with_code_generated_it_is_compiled_once() -> None:
    """Inductor itself, on a model small enough."""
    if inductor_trouble():
        pytest.skip(inductor_trouble())
    found = examine(Sums(), PATHS["torch.compile"], torch.randn(IMAGES, 3, 4, 4), TIMING)
    assert found.reason == ""
    assert found.recompiled == 0
    assert len(found.speed) == 5


# ---------------------------------------------------------------- what a watched model says


def test_a_watched_model_follows_what_leaves() -> None:
    """Logits are those of the model itself; so many patches are there after each block as the schedule says."""
    for method, backbone in (("cropr", "vit"), ("tome", "eva02"), ("idlevit", "vit")):
        timm = MATRIX[backbone]()
        scramble(timm)
        model = reduce(timm, method, (9, 8, 7, 6)).deploy()
        images = torch.randn(3, 3, 32, 32)
        logits, present = Watched(model)(images)
        assert torch.equal(logits, model(images))
        counts = [64, 55, 47, 40] if method == "idlevit" else [55, 47, 40, 34]
        assert present.sum(2).tolist() == [counts] * 3, method


def test_random_pruning_is_replayed_on_the_patches_it_drew() -> None:
    """The replay has the logits of the run it replays, which another run has not."""
    timm = MATRIX["vit"]()
    scramble(timm)
    model = reduce(timm, "random", (9, 8, 7, 6)).deploy()
    images = torch.randn(3, 3, 32, 32)
    logits, present = Watched(model)(images)
    again, same = replay(model, present)(images)
    assert torch.equal(present, same)
    assert (again - logits).abs().max() < 1e-5 * logits.abs().max()
    assert (model(images) - logits).abs().max() > 1e-2 * logits.abs().max()


# ---------------------------------------------------------------- planted methods

METHOD = '''"""A method with one fault."""

import random

import torch
from torch import Tensor

from suite.reduction.projection import Projection
from suite.reduction.scoring import ScoringMethod
from suite.reduction.settings import ScoringSettings
from suite.reduction.tokens import Tokens


class Settings(ScoringSettings):
    """No settings of its own."""


class Planted(ScoringMethod):
    """A fault in its score."""

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        x = tokens.patches
        {code}
'''

PLANTED = {
    "recompiles": (
        "torch.compile",
        "return x.mean(-1) if x.shape[0] > 5 else x.amax(-1)",
        "it is compiled 2 times for batches of 3, 7, 16 images; one graph should serve them all",
    ),
    "branches on values, compiled": (
        "torch.compile",
        "return x.mean(-1) if float(x.sum()) > 0 else x.amax(-1)",
        "it cannot be made: UserError: Consider annotating your code using torch._check*(). Could not guard on data",
    ),
    "branches on values, exported": (
        "torch.export",
        "return x.mean(-1) if float(x.sum()) > 0 else x.amax(-1)",
        "it cannot be made: GuardOnDataDependentSymNode: Could not guard on data-dependent expression",
    ),
    "fixes the batch": (
        "ONNX Runtime",
        "return x.mean(-1) + torch.zeros(1, x.shape[1]).expand(len(x), -1)",
        "it cannot be made: ...: Constraints violated (batch)",
    ),
    "has no ONNX": (
        "ONNX Runtime",
        "return torch.special.bessel_j0(x).mean(-1)",
        "it cannot be made: DispatchError: No ONNX function found for <OpOverload(op='prims.bessel_j0'",
    ),
    "freezes its draws": (
        "torch.export",
        "return torch.tensor([random.random() for _ in range(x.shape[1])]) * torch.ones_like(x[:, :, 0])",
        "it keeps the same patches at every call, and the eager model does not",
    ),
    "draws and fuses": (
        "torch.export",
        "return torch.rand_like(x[:, :, 0])",
        "it draws, and its draws cannot be supplied to eager torch, so nothing was compared",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_a_sentence(tmp_path: Path, name: str) -> None:
    """And not an exception."""
    path, code, reason = PLANTED[name]
    file = tmp_path / "planted.py"
    text = METHOD.replace("{code}", code)
    if name == "draws and fuses":
        text = text.replace('"""No settings of its own."""', 'stage: str = "mid"\n    action: str = "fuse"')
    file.write_text(text)
    line = judge(Case("classification", TINY, str(file)), path, quick=True)
    assert line["status"] == "fails"
    begin, _, end = reason.partition("...")  # between them stands whose error it is
    assert line["reason"].startswith(begin)
    assert end in line["reason"]
    assert line["speed_median"] == ""
    assert line["recompiled"] == ("1" if name == "recompiles" else "")


# ---------------------------------------------------------------- artefacts that are not what they should be


class Sums(nn.Module):
    """Three logits and four patches, of which those with the larger sums stay."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        sums = images.flatten(2).mean(2)
        return sums, images[:, 0].mean(1)[:, None] > 0


class Draws(nn.Module):
    """Patches that stay with a probability each."""

    def __init__(self, first: float = 0.5, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.first, self.shape = first, shape

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        level = torch.full((4,), 0.5)
        level[0] = self.first
        return images[:, :, 0, 0], (torch.rand(*(self.shape or (len(images),)), 1, 4) < level).expand(len(images), 1, 4)


FAULTS = {
    "logits": (lambda x, p: (x * 1.001, p), r"logits are off by 0.001 of the largest; 1e-05 is allowed"),
    "not a number": (lambda x, p: (x * torch.nan, p), "logits are off by nan of the largest"),
    "patches": (lambda x, p: (x, ~p), "0% of the images keep the same patches; 95% are required"),
    "images": (lambda x, p: (x[:1], p[:1]), "for 16 images it returns logits of 1"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_artefact_with_other_outputs_is_found(name: str) -> None:
    """Off by more than rounding, not a number, other patches, other images."""
    spoil, reason = FAULTS[name]

    class Spoilt(Sums):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return spoil(*super().forward(images))

    found = examine(Sums(), lambda *_: Spoilt(), torch.randn(IMAGES, 3, 4, 4), TIMING)
    assert found.reason[: len(reason)] == reason
    assert not found.speed


def test_a_few_ties_may_break_either_way() -> None:
    """One image of 27 may keep others, and then its logits are not compared; two may not."""

    class Tied(Sums):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            logits, present = super().forward(images)
            tied = images[:, 0, 0, 0] > 50
            return torch.where(tied[:, None], 9.0, logits), present ^ tied[:, None, None]

    for count, works in ((1, True), (2, False)):
        images = torch.randn(IMAGES, 3, 4, 4)
        images[:count, :, 0, 0] = 100.0
        found = examine(Sums(), lambda *_: Tied(), images, None)
        assert found.same_kept == pytest.approx(1 - count / IMAGES)
        assert (found.reason == "") == works
        assert found.difference is not None
        assert found.difference < 1e-6


@pytest.mark.parametrize("size", [3, 7, 1])
def test_an_artefact_that_refuses_a_batch_is_found(size: int) -> None:
    """The sentence has the batch it was made with, the one that it refuses, and its own words."""

    class Static(Sums):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            if len(images) == size:
                raise ValueError("Got invalid dimensions")
            return super().forward(images)

    found = examine(Sums(), lambda *_: Static(), torch.randn(IMAGES, 3, 4, 4), None)
    assert found == Finding(f"made with {TRACED} images, it refuses {size}: ValueError: Got invalid dimensions")


@pytest.mark.parametrize(
    ("drawn", "reason"),
    [
        (Draws(0.7), r"after block 0 patch 0 is there in (6|7)\d\.\d% of 640 draws, and in (4|5)\d\.\d% of the eager"),
        (Draws(shape=(1,)), "it keeps the same patches for all images of a batch"),
    ],
)
def test_draws_are_as_in_eager_torch(drawn: nn.Module, reason: str) -> None:
    """As often, and for every image anew; the same distribution passes."""
    torch.manual_seed(0)
    images = torch.zeros(TRACED, 3, 4, 4)
    assert _require_same_draws(Draws(), Draws(), images) == 640
    assert _require_same_draws(Draws(0.9), Draws(0.9), images) == 640
    with pytest.raises(Unfaithful, match=reason):
        _require_same_draws(Draws(), drawn, images)


def test_a_graph_of_its_own_for_a_single_image() -> None:
    """What the notes say of torch.compile, and that the counter counts it."""
    artefact = Compiled(Sums(), torch.zeros(TRACED, 3, 4, 4), backend="aot_eager")
    counts = []
    for size in (16, 5, 9, 1, 2):
        artefact(torch.randn(size, 3, 4, 4))
        counts.append(artefact.graphs)
    assert counts == [1, 1, 1, 2, 2]


def test_an_exported_graph_is_not_the_eager_model() -> None:
    """It goes on when the model's own Python is gone."""
    model = Sums()
    artefact = exported(model, torch.zeros(TRACED, 3, 4, 4))
    images = torch.randn(5, 3, 4, 4)
    expected = model(images)
    model.forward = None  # type: ignore[assignment]
    assert torch.equal(artefact(images)[0], expected[0])


# ---------------------------------------------------------------- what is missing


def test_without_a_compiler_torch_compile_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no fault of the method; the reason says so, and --quick does without."""
    monkeypatch.setattr(exporting, "inductor_trouble", lambda: "InvalidCxxCompiler: no C++ compiler was found")
    line = judge(Case("classification", TINY, "none"), "torch.compile", quick=False)
    assert line["status"] == "skipped"
    assert line["reason"] == "inductor cannot compile anything here: InvalidCxxCompiler: no C++ compiler was found"
    assert judge(Case("classification", TINY, "none"), "torch.compile", quick=True)["status"] == "works"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of `suite`."""
    monkeypatch.setattr(sys, "argv", ["suite", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_missing_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything runs."""
    monkeypatch.setattr(artefacts, "ONNX_PACKAGES", ("onnx", "no_such_package", "nor_this"))
    assert run(monkeypatch, "export", "--quick") == 2
    message = "error: no_such_package and nor_this are not installed; ONNX needs: pip install 'cropr-suite[export]'\n"
    assert capsys.readouterr().err == message
    assert run(monkeypatch, "export", "croppr") == 2
    assert "did you mean cropr" in capsys.readouterr().err


def test_what_fails_is_shown_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The matrix is complete, the sentence below it; nothing is written."""
    file = tmp_path / "planted.py"
    file.write_text(METHOD.replace("{code}", "return x.mean(-1) if float(x.sum()) > 0 else x.amax(-1)"))
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "export", "--quick", "planted.py") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "tiny ViT planted.py fails fails fails" in shown
    assert "planted.py on tiny ViT (classification), torch.compile fails: it cannot be made: UserError: Cons" in shown
    assert list(tmp_path.iterdir()) == [file]


# ---------------------------------------------------------------- the matrix and its record


def test_the_matrix_has_every_method_on_every_backbone() -> None:
    """And last-layer fusion for those that can, and some segmentation; --quick has each method once."""
    names = sorted(modules())
    planned = cases(names, quick=False)
    assert len(set(planned)) == len(planned)
    for backbone in MEASURED:
        assert [case.method for case in planned if case.backbone == backbone and case.fusion == "none"][:1] == names[:1]
        assert {case.method for case in planned if case.backbone == backbone} == set(names)
    fused = {case.method for case in planned if case.task == "classification" and case.fusion == "last-layer"}
    assert fused == {"ats", "attention-topk", "cropr", "dynamicvit", "k-medoids", "non-salient", "random", "variance"}
    dense = {case.method for case in planned if case.task == "segmentation"}
    assert dense == {
        *("atc", "cropr", "diffrate", "dpc-knn", "evit", "mctf", "non-salient", "pitome", "tofu", "tome"),
    }
    assert [case.method for case in cases(names, quick=True)] == names
    assert set(BACKBONES) == {*MEASURED, TINY}


def test_the_matrix_has_whatever_tasks_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks them whether they are dense and which fusions they read, and not for their names."""
    names = {"classification": "photos", "segmentation": "maps"}
    found = {quick: cases(["cropr", "tome"], quick) for quick in (True, False)}
    others = {new: replace(task(name), name=new) for name, new in names.items()}
    monkeypatch.setattr("suite.plugins.every", lambda *_: others)
    for quick, planned in found.items():
        assert cases(["cropr", "tome"], quick) == [replace(case, task=names[case.task]) for case in planned]


def _lines(method: str, difference: float) -> list[dict[str, str]]:
    model = {"task": "classification", "backbone": "ViT-Ti", "method": method, "fusion": "none"}
    found = Finding(batch_sizes=(1, 16), difference=difference, largest_logit=1.0, same_class=1.0, recompiled=0)
    return [line_of(model, path, "works", found) for path in PATHS]


def test_a_later_run_replaces_its_own_models_only(tmp_path: Path) -> None:
    """Table and provenance both say which run a line is from."""
    keep(_lines("cropr", 1e-6), {"started": "first"}, tmp_path)
    keep(_lines("tome", 2e-6), {"started": "first"}, tmp_path)
    keep(_lines("cropr", 3e-6), {"started": "second"}, tmp_path)
    lines = read_findings(tmp_path)
    found = [(line["method"], line["difference"]) for line in lines]
    assert found == [("cropr", "3e-06")] * 3 + [("tome", "2e-06")] * 3
    runs = json.loads((tmp_path / "provenance.json").read_text())["runs"]
    names = {run["started"]: [model[2] for model in run["models"]] for run in runs}
    assert names == {"first": ["tome"], "second": ["cropr"]}
    assert "| ViT-Ti     | cropr    |   3.0e-06 |" in markdown(export_table("export", models(lines)))
    keep(_lines("tome", 2e-6), {"started": "third"}, tmp_path)
    runs = json.loads((tmp_path / "provenance.json").read_text())["runs"]
    assert [run["started"] for run in runs] == ["second", "third"]


def test_a_run_that_is_killed_between_record_and_provenance_says_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is newer than its digest, or has none yet; deleting both makes the folder usable again."""
    folder = tmp_path / "export"
    for earlier in (False, True):
        if earlier:
            keep(_lines("cropr", 1e-6), {"started": "first"}, folder)
        with monkeypatch.context() as killed:
            killed.setattr(records, "write_provenance", _killed)
            with pytest.raises(KeyboardInterrupt):
                keep(_lines("tome", 1e-6), {"started": "second"}, folder)
        with pytest.raises(UserError, match="delete both and make them again with: suite export"):
            keep(_lines("tome", 1e-6), {"started": "third"}, folder)
        for name in ("findings.csv", "provenance.json"):
            (folder / name).unlink(missing_ok=True)
    keep(_lines("tome", 1e-6), {"started": "third"}, folder)
    (run_,) = json.loads((folder / "provenance.json").read_text())["runs"]
    assert run_["started"] == "third"


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


# ---------------------------------------------------------------- its table


def _matrix() -> list[Line]:
    """Two tasks: one model with a unreliable speed, one that draws its patches, one that fails in two ways."""
    lines = [line | {"speed_median": "1.25", "speed_timing_warnings": ""} for line in _lines("cropr", 1e-6)]
    lines[1] |= {"speed_timing_warnings": "the clock jumped", "same_kept": "0.5", "same_class": "0.25"}
    lines += [line | {"draws": "640"} for line in _lines("random", 1 / 3)]
    failed = [line | {"task": "segmentation", "fusion": "logits"} for line in _lines("tome", 2e-6)]
    for line in failed[1:]:
        line |= {"status": "fails", "reason": "no kernel", "difference": "", "same_class": ""}
    failed[2] |= {"status": "skipped"}
    return lines + failed


def _texts(lines: list[Line]) -> dict[str, dict[str, str]]:
    """By method, then by heading."""
    table = export_table("export", models(lines))
    shown = [{column.heading: row.text(column) for column in table.shown("short")} for row in table.rows()]
    return {row["method"]: row for row in shown}


def test_the_matrix_has_a_row_for_each_model_and_columns_for_the_ways() -> None:
    """A block for each task; the worst way for what is the same; a dash where something was not tried."""
    table, rows = export_table("export", models(_matrix())), _texts(_matrix())
    assert [(block.name, len(block.rows)) for block in table.blocks] == [("classification", 2), ("segmentation", 1)]
    assert list(rows["cropr"].items()) == [
        *(("backbone", "ViT-Ti"), ("method", "cropr"), ("compile", "1.0e-06"), ("recompiled", "0")),
        *(("speed, compile", "1.25x"), ("export", "1.0e-06"), ("speed, export", "1.25x ‡"), ("ONNX", "1.0e-06")),
        *(("speed, ONNX", "1.25x"), ("same patches", "50 %"), ("same class", "25 %")),
    ]
    assert (rows["random"]["same patches"], rows["random"]["speed, ONNX"]) == ("drawn", "–")
    failed = rows["tome + logits"]
    assert [failed[way] for way in ("compile", "export", "ONNX", "same class")] == ["2.0e-06", "fails", "–", "100 %"]
    untimed = export_table("export", models(_lines("cropr", 1e-6)))
    assert not any("speed" in column.heading for column in untimed.shown("long"))
    assert not any(note.text.startswith("Speed: ") for note in untimed.notes)


def test_the_csv_of_the_matrix_has_all_of_the_record() -> None:
    """Every field of every way, as it stands there."""
    rows = list(csv.DictReader(io.StringIO(as_csv(export_table("export", models(_matrix()))))))
    assert len(rows) == 3
    for index, line in enumerate(_matrix()):
        row, way = rows[index // 3], line["path"].replace("torch.", "").replace(" Runtime", "").lower()
        for field, value in line.items():
            if field != "path":
                assert row[field if field in ("task", "backbone", "method", "fusion") else f"{way}_{field}"] == value


def test_notes_of_the_matrix_say_what_fails_and_what_is_unreliable() -> None:
    """Why a speed is unreliable stands in HTML, by row; elsewhere one note says where."""
    table = export_table("export", models(_matrix()))
    text, page = markdown(table), as_html(table)
    for said in (text, page):
        assert "tome + logits on ViT-Ti (segmentation), torch.export fails: no kernel" in said
        assert "tome + logits on ViT-Ti (segmentation), ONNX Runtime skipped: no kernel" in said
    (note,) = [line for line in text.splitlines() if line.startswith("- ‡")]
    assert (
        "unreliable timing (1 of 3); reasons in `table.html`, in `table.csv` (`export_speed_timing_warnings`)" in note
    )
    assert "the clock jumped" not in text
    assert "<li>‡ cropr on ViT-Ti (classification), torch.export: the clock jumped.</li>" in page
    assert "‡" not in markdown(export_table("export", models(_lines("cropr", 1e-6))))


def test_what_is_behind_a_number_of_the_matrix() -> None:
    """The model as provenance calls it, with the value of the path; details are the line of the record."""
    found = models_of(COMMITTED)
    own = next(one for one in found if label(one) == "segmentation ViT-Ti cropr + last-layer")
    row = dict(zip(map(label, found), export_table("export", found).rows(), strict=True))[label(own)]
    (used,) = cells(COMMITTED, found, own, "ONNX Runtime speed", "")
    assert used.values == (row.values["ONNX Runtime speed"],) == (float(own.paths["ONNX Runtime"]["speed_median"]),)
    assert row.details["ONNX Runtime speed"]["batch_sizes"] == "1 3 7 16"
    runs = json.loads((COMMITTED / "provenance.json").read_text())["runs"]
    assert sum(used.cell_id.split() == " ".join(model).split() for run in runs for model in run["models"]) == 1
    (worst,) = cells(COMMITTED, found, own, "same_class", "")
    assert min(worst.values) == row.values["same_class"]
    assert all(column.how for column in COLUMNS)
    assert facts(COMMITTED, found).headline == "34 of 34 deployed models work by all three paths."
