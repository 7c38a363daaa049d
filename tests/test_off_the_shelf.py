"""Studies without training: loyalty image by image, what draws, what is skipped, the control of smaller images."""

from __future__ import annotations

import csv
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier
from tiny_study import here, write

from suite.errors import UserError
from suite.kinds.off_the_shelf import choose, execute, models
from suite.kinds.off_the_shelf import run as execution
from suite.kinds.off_the_shelf.cells import SMALLER, UNPRUNED, around, expand
from suite.kinds.off_the_shelf.execute import run_cell
from suite.kinds.off_the_shelf.record import Found, Line, export, lines, lines_of, rows_of
from suite.kinds.off_the_shelf.run import check_inputs
from suite.kinds.off_the_shelf.schema import OffTheShelfStudy
from suite.kinds.off_the_shelf.scores import look, loyalty
from suite.kinds.off_the_shelf.table import cells as cells_of
from suite.kinds.off_the_shelf.table import table
from suite.measure.count import count
from suite.reduction.backbone import create_backbone
from suite.reduction.model import reduce
from suite.report.statistics.intervals import Mean, share
from suite.study.cells import Cell, Job, Result
from suite.study.configuration import Configuration
from suite.study.load import load
from suite.study.schema import Backbone
from suite.study.store import Record

# isort: split
import timm
from timm.data import create_transform

AUGREG = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
CLASSES, EACH, DEPTH = 3, 4, 6
SIZES = {"img_size": 32, "patch_size": 4, "embed_dim": 48, "depth": DEPTH, "num_heads": 4}
STUDY: dict[str, Any] = {
    "question": "How much does it change?",
    "kind": "off-the-shelf",
    "finetune": "none",
    "data": {"recipe": "images", "source": "data", "size": 32},
    "backbone": {"name": "vit_tiny_patch16_224", "options": SIZES},
    "classes": CLASSES,
    "start": "weights.pth",
    "budgets": [0.5],
    "methods": ["random"],
    "batch_size": 5,
}
SWAP = '''"""The first two images of the first batch get each other's patches."""
from dataclasses import replace
from suite.methods import Method, MethodSettings

class Settings(MethodSettings):
    """None."""

class Swap(Method):
    """Removes nothing."""

    def forward_block(self, block, tokens, layer):
        tokens = super().forward_block(block, tokens, layer)
        if layer == 0 and tokens.x.shape[0] == 5 and not getattr(self, "swapped", False):
            self.swapped = True
            tokens = replace(tokens, x=tokens.x[[1, 0, 2, 3, 4]])
        return tokens
'''
FAIL = '''"""Fails on images of 32 pixels."""
from suite.methods import ScoringMethod, ScoringSettings

class Settings(ScoringSettings):
    """None."""

class Fail(ScoringMethod):
    """Keeps nothing."""

    def score(self, tokens, projection, layer):
        if tokens.x.device.type != "meta" and self.context.schedule.patches == 64:
            raise RuntimeError("stumbled over a token")
        return tokens.patches.norm(dim=-1)
'''
TRAINED = '''"""Keeps what running statistics of its training put first."""
import torch
from suite.methods import ScoringMethod, ScoringSettings

class Settings(ScoringSettings):
    """None."""

class Trained(ScoringMethod):
    """Keeps the patches that are nearest to a mean."""

    def __init__(self, context, settings):
        super().__init__(context, settings)
        self.register_buffer("mean", torch.zeros(context.width))
        self.register_buffer("steps", torch.zeros(2))

    def score(self, tokens, projection, layer):
        return -(tokens.patches - self.mean).norm(dim=-1)
'''
STOP = '''"""Stops the process, once."""
import os
import signal
from pathlib import Path
from suite.methods import ScoringMethod, ScoringSettings

class Settings(ScoringSettings):
    """Where it says that it was there."""

    diary: str

class Stop(ScoringMethod):
    """Keeps the longest patches."""

    def score(self, tokens, projection, layer):
        if tokens.x.device.type != "meta" and not Path(self.settings.diary).exists():
            Path(self.settings.diary).touch()
            os.kill(os.getpid(), signal.SIGINT)
        return tokens.patches.norm(dim=-1)
'''


def backbone() -> torch.nn.Module:
    """A ViT whose random weights are so large that images get different classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_backbone("vit_tiny_patch16_224", SIZES, CLASSES)
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=1.2 / math.sqrt(weight[0].numel()))
    return model.eval()


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights and images of coarse noise, a folder for each class."""
    folder, draw = tmp_path_factory.mktemp("shelf"), np.random.RandomState(0)
    torch.save(backbone().state_dict(), folder / "weights.pth")
    for number in range(CLASSES * EACH):
        path = folder / "data" / "abc"[number % CLASSES] / f"{number // CLASSES // 2}-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw.randint(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(np.kron(pixels, np.ones((8, 8, 1), np.uint8))).save(path)
    return folder


@pytest.fixture
def folder(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with links to these."""
    for name in ("weights.pth", "data"):
        (tmp_path / name).symlink_to(there / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(**changes: Any) -> OffTheShelfStudy:
    """The study, checked."""
    Path("trial.yaml").write_text(yaml.safe_dump(STUDY | changes))
    found: OffTheShelfStudy = load("trial.yaml").study
    return found


def ran(cell: Cell) -> Result:
    """What a cell finds."""
    return run_cell(Job(cell.identity, None, places=cell.places))


def of_rows(cells: list[Cell], *rows: str) -> list[Cell]:
    """Those of these rows."""
    return [cell for cell in cells if cell.row in rows]


def test_what_images_take_without_padding(folder: Path) -> None:
    """Where a method keeps different numbers of patches, the mean stands beside what is paid."""
    cells = expand(
        study(budgets=[], schedules=[{"name": "few", "removed": [24, 0, 0, 0, 0, 0]}], methods=["ats", "random"])
    )
    found = {cell.row: ran(cell)["metrics"] for cell in of_rows(cells, "ats", "random")}
    assert found["ats"]["tokens_mlp"] == 41
    assert 1 < found["ats"]["tokens_unpadded"] < 41
    assert found["ats"]["macs_full_unpadded"] < found["ats"]["macs_full"]
    assert not any("unpadded" in metric for metric in found["random"])


def test_nothing_removed_is_perfect(folder: Path) -> None:
    """Of every method, fusion and image, to the bit of logits; of the unpruned model too."""
    nothing = [{"name": "nothing", "removed": [0] * DEPTH}]
    rows = ["random", {"method": "random", "fusion": "last-layer"}, *("tome", "evit", "idlevit", "attention-topk")]
    cells = expand(study(budgets=[], schedules=nothing, methods=rows, smaller_images=False))
    assert len(cells) == 1 + len(rows)
    for cell in cells:
        found = ran(cell)["repetitions"]
        assert found["same_top1"] == [1.0] * CLASSES * EACH
        assert found["kl"] == [0.0] * CLASSES * EACH
        assert found["cosine_feature"] == pytest.approx([1.0] * CLASSES * EACH, abs=1e-12)
        assert found["cosine_patches"] == pytest.approx([1.0] * CLASSES * EACH, abs=1e-12)


def test_each_image_is_compared_with_itself(folder: Path) -> None:
    """A planted method that swaps two images harms these two alone."""
    (folder / "swap.py").write_text(SWAP)
    rows = [{"method": "./swap.py"}]
    cells = expand(study(budgets=[], schedules=[{"removed": [0] * DEPTH}], methods=rows, smaller_images=False))
    found = ran(of_rows(cells, "swap")[0])["repetitions"]
    assert min(found["kl"][:2]) > 1e-3
    assert max(found["cosine_patches"][:2]) < 0.99
    assert found["kl"][2:] == [0.0] * (CLASSES * EACH - 2)


def test_draws_depend_on_the_seed_alone(folder: Path) -> None:
    """Not on what was drawn before; only what draws has a cell for each seed."""
    cells = expand(study(methods=["random", "tome"], seeds=[3, 4], smaller_images=False))
    known = [(cell.row, cell.identity.get("seed")) for cell in cells[1:]]
    assert known == [("random", 3), ("random", 4), ("tome", None)]
    one, other, tome = cells[1:]
    assert expand(study(methods=["random", "tome"], seeds=[5], smaller_images=False))[-1].cell_id == tome.cell_id
    first = ran(one)["repetitions"]
    torch.manual_seed(99)
    random.seed(99)
    assert ran(one)["repetitions"] == first
    assert ran(other)["repetitions"]["cosine_feature"] != first["cosine_feature"]


def test_a_method_that_fails_is_planned(folder: Path) -> None:
    """As one that may draw; its cells fail and say why."""
    (folder / "fail.py").write_text(FAIL.replace("== 64", "< 64"))
    cells = expand(study(methods=[{"method": "./fail.py"}], seeds=[0, 1], smaller_images=False))
    assert [cell.row for cell in cells] == ["none", "fail", "fail"]


def test_a_method_that_needs_training_is_skipped(folder: Path) -> None:
    """And runs where the file brings its weights."""
    cells = expand(study(methods=["cropr"], smaller_images=False))
    found = ran(cells[1])
    assert found["status"] == "skipped"
    assert found["reason"].startswith("cropr needs training: ")
    assert "such as method.croppers.0" in found["reason"]
    model = reduce(backbone(), "cropr", tuple(cells[1].identity["removed"])).deploy()
    torch.save(model.state_dict(), "all.pth")
    cells = expand(study(methods=["cropr"], start="all.pth", smaller_images=False))
    assert [ran(cell)["status"] for cell in cells] == ["done", "done"]


def test_buffers_of_a_method_are_brought_too(folder: Path) -> None:
    """Running statistics count as weights of training, where the file has them; others stay as they are made."""
    (folder / "trained.py").write_text(TRAINED)
    state = {f"backbone.{name}": x for name, x in backbone().state_dict().items()}
    torch.save(state | {"method.mean": torch.full((SIZES["embed_dim"],), 3.0)}, "all.pth")
    cells = expand(study(methods=[{"method": "./trained.py"}], start="all.pth", smaller_images=False))
    model = models.reduced(cells[1].identity, cells[1].places)
    assert model.method.mean.tolist() == [3.0] * SIZES["embed_dim"]
    assert model.method.steps.tolist() == [0.0] * 2


def test_a_schedule_that_a_row_cannot_have(folder: Path) -> None:
    """Is one cell that says why, as long as another schedule is possible for the row; others of it run."""
    rules = [{"name": "last", "removed": [0, 0, 0, 0, 0, 8]}, {"name": "early", "removed": [8, 0, 0, 0, 0, 0]}]
    rows = ["random", {"method": "random", "fusion": "last-layer"}]
    cells = expand(study(budgets=[], schedules=rules, methods=rows, seeds=[0, 1], smaller_images=False))
    known = [(cell.schedule, cell.row) for cell in cells[1:]]
    assert known.count(("last", "random + last-layer")) == 1
    assert known.count(("early", "random + last-layer")) == 2
    found = ran(next(cell for cell in cells if (cell.schedule, cell.row) == ("last", "random + last-layer")))
    assert found["status"] == "skipped"
    assert found["reason"].startswith("with last-layer fusion the last 2 of 6 blocks must remove nothing")
    with pytest.raises(UserError, match=r"methods.1: random \+ last-layer: with last-layer fusion the last 2"):
        study(budgets=[], schedules=rules[:1], methods=rows)


def test_a_method_that_the_backbone_lacks_a_part_for(folder: Path) -> None:
    """EViT without a class token is a row that says so; others are planned, by budgets and by counts."""
    without = {"name": "vit_tiny_patch16_224", "options": SIZES | {"class_token": False, "global_pool": "avg"}}
    counts = [{"name": "counts", "removed": [4] * 4 + [0, 0]}]
    for rules in ({"budgets": [0.5]}, {"budgets": [], "schedules": counts}):
        cells = expand(study(backbone=without, methods=["random", "evit"], **rules))
        assert "impossible" not in of_rows(cells, "random")[0].identity
        (skipped,) = of_rows(cells, "evit")
        assert "class token" in skipped.identity["impossible"]


def test_a_budget_out_of_reach(folder: Path) -> None:
    """Is not compared with smaller images that meet it."""
    (skipped,) = of_rows(expand(study(budgets=[0.02])), "random")
    assert "nearest to 0.02 of MACs (full) needs 0." in skipped.identity["impossible"]


def test_smaller_images_lie_around_every_row(folder: Path) -> None:
    """The next size below and above its cost; between them no other, and above the largest the unpruned model."""
    rules = [{"name": "fixed", "removed": [8] * 4 + [0] * 2}, {"name": "little", "removed": [1] + [0] * 5}]
    planned = study(budgets=[0.9, 0.5, 0.2], schedules=rules, methods=["random", "tome"])
    cells = expand(planned)
    possible = [cell for cell in cells if "impossible" not in cell.identity]
    assert {cell.row for cell in cells if cell not in possible} == {"tome"}, "which cannot remove so many"
    macs = {(cell.schedule, cell.row): ran(cell)["metrics"]["macs_full"] for cell in possible}
    every = {
        side: count(create_backbone("vit_tiny_patch16_224", SIZES | {"img_size": side}, CLASSES)).macs.full
        for side in range(4, 32, 4)
    }
    rows = [found for (schedule, _), found in macs.items() if schedule not in (UNPRUNED, SMALLER)]
    wanted = set()
    for needed in rows:
        assert min(every.values()) < needed < macs[UNPRUNED, UNPRUNED]
        wanted |= {max(side for side in every if every[side] <= needed)}
        wanted |= {*[side for side in every if every[side] > needed][:1]}
    found = {cell.identity["image"][0]: macs[SMALLER, cell.row] for cell in cells if cell.schedule == SMALLER}
    assert found == {side: every[side] for side in sorted(wanted)}
    assert macs["little", "random"] > max(found.values())
    assert around(planned, every[4] - 1) == []
    assert around(planned, every[8]) == [(8, 8), (12, 12)]


def test_accuracy_is_that_of_timm(folder: Path) -> None:
    """Image by image, with timm's own transform for evaluation."""
    model, prepare = backbone(), create_transform(32, crop_pct=0.875, interpolation="bicubic")
    paths = sorted(folder.glob("data/*/*.png"))
    with torch.no_grad():
        classes = [int(model(prepare(Image.open(path))[None]).argmax()) for path in paths]
    right = [float("abc"[number] == path.parent.name) for number, path in zip(classes, paths, strict=True)]
    assert 0 < sum(right) < len(right)
    assert ran(expand(study())[0])["repetitions"]["correct"] == right


def test_images_without_classes(folder: Path) -> None:
    """Have loyalty and no accuracy; of a model without a head it is that of features alone."""
    about = STUDY["data"] | {"labels": False}
    found = ran(expand(study(data=about))[1])["repetitions"]
    assert found.keys() == {"same_top1", "kl", "cosine_feature", "cosine_patches"}
    torch.save({name: x for name, x in backbone().state_dict().items() if "head" not in name}, "headless.pth")
    headless = study(data=about, start="headless.pth", classes=0)
    assert ran(expand(headless)[1])["repetitions"].keys() == {"cosine_feature", "cosine_patches"}
    with pytest.raises(UserError, match=r"headless.pth has no head.weight of shape \(3, 48\)"):
        ran(expand(study(start="headless.pth"))[0])


def test_photographs_count_once(folder: Path) -> None:
    """Intervals are over groups: to have every image twice in its group changes nothing, without groups it does."""
    cell, draw = expand(study(smaller_images=False))[1], np.random.RandomState(0)
    values = draw.rand(12).tolist()

    def interval(values: list[float], groups: list[str]) -> tuple[object, ...]:
        entry: Any = {"status": "done", "repetitions": {"kl": values}, "metrics": {"macs_full": 1.0}}
        (row,) = rows_of([cell], {cell.cell_id: entry}, groups)
        return row["mean"], row["low"], row["high"], row["groups"]

    alone = interval(values, [str(number) for number in range(12)])
    assert interval(values * 2, [str(number) for number in range(12)] * 2) == alone
    assert float(str(interval(values * 2, list(map(str, range(24))))[2])) < float(str(alone[2]))
    about = STUDY["data"] | {"groups": r"(\d+)-"}
    data = study(data=about).data
    assert len(set(data.groups_of(data.labelled()))) == EACH // 2
    with pytest.raises(UserError, match=r"'\(x\)' is not found in a/0-0.png and 11 more"):
        study(data=about | {"groups": "(x)"}).data.check()
    nameless = replace(data.labelled(), names=lambda: [("all", 12)])
    with pytest.raises(UserError, match="have no names of their own"):
        data.groups_of(nameless)
    assert len(study().data.groups_of(nameless)) == CLASSES * EACH


def test_a_share_has_wilsons_interval() -> None:
    """As scipy's; values between 0 and 1 may be shares themselves."""
    for right, of in ((0, 9), (4, 9), (9, 9)):
        wanted = stats.binomtest(right, of).proportion_ci(method="wilson")
        found = share([1.0] * right + [0.0] * (of - right))
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert share([0.5, 0.5]) == share([0.0, 1.0])
    for of in range(1, 50):
        assert share([1.0] * of).high == 1.0
        assert share([0.0] * of).low == 0.0


def test_gains_are_against_smaller_images_at_equal_cost(folder: Path) -> None:
    """On the line between two sizes, group by group; none while a size is missing, or for a row below the smallest."""
    cells, draw = expand(study(methods=["random"])), np.random.RandomState(0)
    assert [cell.schedule for cell in cells[1:-1]] == [SMALLER] * 2
    unpruned, small, large, row = (cell.cell_id for cell in cells)
    costs = {unpruned: 100.0, small: 40.0, large: 60.0, row: 45.0}
    values = {cell_id: draw.rand(12) for cell_id in costs}

    def gain(costs: dict[str, float]) -> list[float]:
        entries: Any = {
            cell_id: {
                "status": "done",
                "repetitions": {"cosine_feature": values[cell_id].tolist()},
                "metrics": {"macs_full": cost},
            }
            for cell_id, cost in costs.items()
        }
        (one,) = [one for one in rows_of(cells, entries, list("abcdefghijkl")) if one["row"] == "random"]
        wanted = dict(zip("abcdefghijkl", values[row], strict=True))
        assert json.loads(str(one["values"])) == pytest.approx(wanted, abs=1e-6)
        return [float(str(one[name])) for name in ("gain", "gain_low", "gain_high") if name in one]

    for cost, at in (
        (45.0, 0.75 * values[small] + 0.25 * values[large]),
        (60.0, values[large]),
        (80.0, (values[large] + values[unpruned]) / 2),
    ):
        differences = values[row] - at
        wanted = stats.ttest_1samp(differences, 0).confidence_interval()
        assert gain(costs | {row: cost}) == pytest.approx([differences.mean(), wanted.low, wanted.high], abs=1e-6)
    assert gain(costs | {row: 120.0})[0] == pytest.approx((values[row] - values[unpruned]).mean())
    assert gain(costs | {row: 39.0}) == []
    del costs[large]
    assert gain(costs) == []


def test_gains_hold_for_all_rows_at_once(folder: Path) -> None:
    """Each interval is that of so many comparisons; equal differences of two groups say nothing."""
    cells, draw = expand(study(methods=["random", "tome"])), np.random.RandomState(0)
    values = {cell.cell_id: draw.rand(12).tolist() for cell in cells}

    def gains(values: dict[str, list[float]], groups: list[str]) -> list[tuple[object, object]]:
        entries: Any = {
            cell.cell_id: {
                "status": "done",
                "repetitions": {"cosine_feature": values[cell.cell_id]},
                "metrics": {"macs_full": 2.0 - (cell.schedule == SMALLER)},
            }
            for cell in cells
        }
        rows = rows_of(cells, entries, groups)
        return [(row.get("gain_low"), row.get("gain_high")) for row in rows if row["row"] in ("random", "tome")]

    control, own = np.array(values[cells[0].cell_id]), [cell for cell in cells if cell.row in ("random", "tome")]
    for cell, (low, high) in zip(own, gains(values, [f"{number:02}" for number in range(12)]), strict=True):
        wanted = stats.ttest_1samp(np.array(values[cell.cell_id]) - control, 0).confidence_interval(1 - 0.05 / 2)
        assert (float(str(low)), float(str(high))) == pytest.approx((wanted.low, wanted.high), abs=1e-6)
    same = {cell.cell_id: [0.5 + 0.1 * (cell.row == "tome")] * 2 for cell in cells}
    assert gains(same, ["a", "b"]) == [(None, None)] * 2


def test_maps_of_a_decoder(folder: Path) -> None:
    """Are those that it makes of features; images of another size are compared on the unpruned model's grid."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decode = torch.nn.ConvTranspose2d(SIZES["embed_dim"], 1, 2, 2).requires_grad_(False)
    shapes = {"input": {0: torch.export.Dim("batch"), 2: torch.export.Dim("rows"), 3: torch.export.Dim("columns")}}
    example = torch.zeros(2, SIZES["embed_dim"], 8, 7)
    torch.export.save(torch.export.export(decode, (example,), dynamic_shapes=shapes), "decoder.pt2")
    nothing = {"name": "nothing", "removed": [0] * DEPTH}
    cells = expand(study(schedules=[nothing], budgets=[0.5], decoder="decoder.pt2"))
    assert len({cell.cell_id for cell in cells} & {cell.cell_id for cell in expand(study(schedules=[nothing]))}) == 0
    unpruned, small, pruned = (ran(cell)["repetitions"] for cell in (cells[0], cells[1], of_rows(cells, "random")[0]))
    assert unpruned["map_rank"] == pytest.approx([1.0] * CLASSES * EACH)
    assert unpruned["map_overlap"] == [1.0] * CLASSES * EACH
    assert all(-1 < value < 0.999 for found in (small, pruned) for value in found["map_rank"])
    both, images = [models.reduced(cells[0].identity, cells[0].places)], torch.randn(3, 3, 32, 32)
    both.append(models.reduced(cells[-1].identity | {"removed": [8] * 4 + [0, 0]}, cells[-1].places))
    whole, found = (look(model, images) for model in both)
    maps = [decode(seen.patches.movedim(-1, 1)).detach().flatten(1).numpy() for seen in (found, whole)]
    scores = loyalty(found, whole, decode)
    for number in range(3):
        one, other = (values[number] for values in maps)
        assert float(scores["map_rank"][number]) == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-6)
        most = [values >= np.sort(values)[-(len(values) // 10)] for values in (one, other)]
        assert float(scores["map_overlap"][number]) == pytest.approx(
            (most[0] & most[1]).sum() / (most[0] | most[1]).sum()
        )
    Path("decoder.pt2").write_bytes(b"none")
    with pytest.raises(UserError, match=r"decoder\.pt2 is no program of torch.export"):
        ran(expand(study(decoder="decoder.pt2"))[0])
    models._decoder.cache_clear()
    with pytest.raises(UserError, match=r"decoder\.pt2 is not the file that this study was planned with"):
        ran(cells[0])


def test_classes_by_neighbours(folder: Path) -> None:
    """As scikit-learn's nearest neighbours have it, with the method on training images too; so many of each split."""
    (folder / "split").mkdir()
    for split in ("train", "test"):
        (folder / "split" / split).symlink_to(folder / "data")
    about = STUDY["data"] | {"source": "split", "neighbours": {"count": 3, "images": 7}, "images": 10}
    torch.save({name: x for name, x in backbone().state_dict().items() if "head" not in name}, "headless.pth")
    planned = study(data=about, start="headless.pth", classes=0, methods=["tome"])
    cell = of_rows(expand(planned), "tome")[0]
    scores, model = ran(cell), models.reduced(cell.identity, cell.places)
    seen = {}
    for split in ("train", "validation"):
        found = planned.data.labelled(split)
        pictures = torch.stack([planned_transform()(Image.open(one)) for one in found.pictures])
        seen[split] = look(model, pictures).feature.numpy(), found.labels
    assert (len(seen["train"][1]), len(seen["validation"][1])) == (7, 10)
    voting = KNeighborsClassifier(3, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    wanted = voting.fit(*seen["train"]).predict(seen["validation"][0]) == seen["validation"][1]
    assert scores["repetitions"]["neighbours"] == wanted.astype(float).tolist()
    assert 0 < wanted.sum() < 10
    assert "correct" not in scores["repetitions"]
    with pytest.raises(UserError, match="neighbours vote for classes"):
        study(data=about | {"labels": False})


def planned_transform() -> Any:
    """That of timm for evaluation, as the study has it."""
    return create_transform(32, crop_pct=0.875, interpolation="bicubic")


def test_other_models_stand_beside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what logits say alone; by their own size and weights."""
    options = SIZES | {"embed_dim": 32, "num_heads": 2, "img_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        torch.save(create_backbone("vit_tiny_patch16_224", options, CLASSES).state_dict(), "other.pth")
    narrow = {"name": "narrow", "backbone": STUDY["backbone"] | {"options": options}, "start": "other.pth"}
    cells = expand(study(models=[narrow], smaller_images=False, speed={"batch_size": 2, "rounds": 5}))
    unpruned, other = cells[0], of_rows(cells, "narrow")[0]
    found = ran(other)
    assert found["repetitions"].keys() == {"correct", "same_top1", "kl"}
    assert found["metrics"]["macs_full"] < 0.3 * ran(unpruned)["metrics"]["macs_full"]
    assert max(found["repetitions"]["kl"]) > 0
    control = expand(study(models=[narrow], budgets=[0.8]))
    cost = found["metrics"]["macs_full"]
    around_it = [cell for cell in control if cell.identity.get("image") in map(list, around(study(), cost))]
    assert [cell.schedule for cell in around_it] == [SMALLER] * 2
    absent = expand(study(models=[narrow | {"start": "absent.pth"}], smaller_images=False))
    assert "absent.pth, are not on this machine" in ran(of_rows(absent, "narrow")[0])["reason"]
    (timed,) = [cell for cell in of_rows(cells, "narrow") if cell.alone]
    reduced, unpruned = _timed_side_by_side(timed, monkeypatch)
    assert (reduced.size, reduced.model.backbone.embed_dim, unpruned.embed_dim) == ((16, 16), 32, 48)


def _timed_side_by_side(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The two models that a cell times."""
    seen = list[Any]()
    monkeypatch.setattr(execute, "time_cell", lambda _identity, *models: seen.extend(models) or {})
    ran(cell)
    assert seen[2] == (32, 32)
    return seen[0], seen[1]


def test_what_cannot_be_used_is_said_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is computed: another model's head, a decoder of other features, a device of timing."""
    torch.save(create_backbone("vit_tiny_patch16_224", SIZES, CLASSES + 2).state_dict(), "five.pth")
    other = {"name": "five", "backbone": STUDY["backbone"], "start": "five.pth"}
    decoder = {name: torch.nn.Conv2d(*sizes, 1) for name, sizes in {"wide": (40, 1), "deep": (48, 2)}.items()}
    for name, module in decoder.items():
        example = torch.zeros(2, module.in_channels, 8, 8)
        torch.export.save(torch.export.export(module, (example,)), f"{name}.pt2")
    for changes, message in (
        ({"models": [other]}, r"models: five: .*five\.pth has no head\.weight of shape \(3, 48\)"),
        ({"decoder": "wide.pt2"}, r"wide\.pt2 does not take features of shape \(2, 48, 8, 8\)"),
        ({"decoder": "deep.pt2"}, r"deep\.pt2 makes \(2, 2, 8, 8\) of features of shape \(2, 48, 8, 8\)"),
    ):
        planned = study(**changes)
        with pytest.raises(UserError, match=message):
            check_inputs(planned, expand(planned), Console(quiet=True))
    planned, asked = study(speed={"batch_size": 2, "device": "cuda"}), list[str]()
    monkeypatch.setattr(execution, "check_device", asked.append)
    check_inputs(planned, expand(planned), Console(quiet=True))
    assert sorted(asked) == ["cpu", "cuda"]


def test_speed_stands_beside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every row that there is, seeds as one; without it nothing is timed, and the cells are the same."""
    rows = ["random", "tome", "cropr"]
    timing = {"batch_size": 2, "rounds": 5}
    cells = expand(study(methods=rows, seeds=[0, 1], budgets=[0.5, 0.2], speed=timing))
    timed = [cell for cell in cells if cell.alone]
    possible = {(cell.schedule, cell.row) for cell in cells if "impossible" not in cell.identity} - {("none", "none")}
    assert sorted(possible) == sorted((cell.schedule, cell.row) for cell in timed)
    without = expand(study(methods=rows, seeds=[0, 1], budgets=[0.5, 0.2]))
    assert [cell.cell_id for cell in without] == [cell.cell_id for cell in cells if not cell.alone]
    small = next(cell for cell in timed if cell.schedule == SMALLER)
    found = ran(small)
    assert found["metrics"]["speed_ratio"] == np.median(found["repetitions"]["speed_ratio"])
    reduced, unpruned = _timed_side_by_side(small, monkeypatch)
    assert isinstance(reduced, execute.Shrunk)
    assert count(reduced.model).macs.full < count(unpruned).macs.full == count(backbone()).macs.full
    entries: Any = {
        cell.cell_id: {"status": "done", "reason": "shaken", "repetitions": {"speed_ratio": [1.0, 2.0, 4.0]}}
        if cell.alone
        else {"status": "done", "repetitions": {"kl": [0.5] * 2}, "metrics": {"macs_full": 1.0}}
        for cell in cells
    }
    shown = table("trial", lines_of(rows_of(cells, entries, ["a", "b"])))
    of_row = {row.values["row"]: row for block in shown.blocks for row in block.rows}
    assert of_row["random"].values["speed"] == (2.0, 1.5, 3.0)
    assert of_row["random"].values["speed_timing_warnings"] == "shaken"
    assert of_row["random"].marks
    assert "speed" not in of_row["none"].values
    found_lines = {line.row: line for line in lines_of(rows_of(cells, entries, ["a", "b"]))}
    (used,), schedule = cells_of(Path(), [], found_lines["random"], "speed", ""), found_lines["random"].schedule
    wanted = {(cell.schedule, cell.row): cell.cell_id for cell in timed}
    assert (used.cell_id, used.values) == (wanted[schedule, "random"], (2.0,))
    assert cells_of(Path(), [], found_lines["none"], "speed", "") == []
    with pytest.raises(UserError, match="one batch_size is timed here"):
        study(speed=timing | {"batch_size": [2, 4]})


def test_some_of_the_images_and_how_far_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are spread evenly, more than there are is all; a cell says which part of them it has seen."""
    data = study(data=STUDY["data"] | {"images": 5}).data
    every = study(data=STUDY["data"] | {"images": 50}).data.labelled().names()
    assert len(every) == CLASSES * EACH
    assert data.labelled().names() == [every[index] for index in (0, 2, 4, 7, 9)]
    assert data.labelled().labels.tolist() == [0, 0, 1, 1, 2]
    cell, parts = expand(study(smaller_images=False))[0], list[float]()
    monkeypatch.setattr(execute, "SECONDS_APART", -1.0)
    run_cell(Job(cell.identity, None, parts.append, cell.places))
    assert parts == [5 / 12, 10 / 12, 1.0]


def test_a_row_whose_first_seed_failed(folder: Path) -> None:
    """Has the cost and the scores of the others, and says that one failed."""
    cells = expand(study(seeds=[0, 1], smaller_images=False))
    entries: Any = {
        cell.cell_id: {"status": "done", "repetitions": {"kl": [0.5] * 2}, "metrics": {"macs_full": 7.0}}
        for cell in cells
    }
    entries[cells[1].cell_id] = {"status": "failed", "reason": "shaken"}
    _, line = lines_of(rows_of(cells, entries, ["a", "b"]))
    assert (line.status, line.reason, line.macs_full) == ("failed", "shaken", 7.0)
    assert line.found["kl"].mean[0] == 0.5


def test_intervals_end_where_the_metric_does(folder: Path) -> None:
    """A divergence is not below 0, a cosine not above 1."""
    cell = expand(study(smaller_images=False))[1]
    entry: Any = {"status": "done", "repetitions": {"kl": [0.0, 0.0, 0.9]}, "metrics": {"macs_full": 1.0}}
    (row,) = rows_of([cell], {cell.cell_id: entry}, ["a", "b", "c"])
    assert float(str(row["low"])) == 0
    assert float(str(row["high"])) > 1
    entry["repetitions"] = {"cosine_feature": [1.0, -1.0]}
    (row,) = rows_of([cell], {cell.cell_id: entry}, ["a", "b"])
    assert (float(str(row["low"])), float(str(row["high"]))) == (-1, 1)


def test_an_interval_has_its_mean_in_it(folder: Path) -> None:
    """Also where rounding made it shorter than what a computer adds to 1, which figures cannot draw."""
    cell = expand(study(smaller_images=False))[1]
    entry: Any = {"status": "done", "repetitions": {"cosine_feature": [1 + 4e-16] * 8}, "metrics": {"macs_full": 1.0}}
    (row,) = rows_of([cell], {cell.cell_id: entry}, list("aabbccdd"))
    assert float(str(row["low"])) <= float(str(row["mean"])) <= float(str(row["high"]))
    assert float(str(row["mean"])) > 1


def test_what_is_not_finite_is_named(folder: Path) -> None:
    """By metric and image; the record could not take a mean of it."""
    state = backbone().state_dict()
    state["head.weight"][:] = 3e38
    torch.save(state, "broken.pth")
    with pytest.raises(FloatingPointError, match="kl of image 0 is not finite"):
        ran(expand(study(start="broken.pth"))[0])


def test_plan_and_check_count_alike(folder: Path) -> None:
    """What two schedules share is one cell."""
    rules = [{"name": name, "removed": [4] * 4 + [0, 0]} for name in ("one", "other")]
    study(budgets=[], schedules=rules)
    loaded = load("trial.yaml")
    assert loaded.kind.check(loaded) == f"{len(loaded.kind.plan(loaded))} cells" == "3 cells"


def test_data_sets_of_torchvision_are_read_as_in_training(folder: Path) -> None:
    """By the same piece: one that is not there is said so, and is no unknown name."""
    about = STUDY["data"] | {"torchvision": "cifar100", "class_count": CLASSES}
    with pytest.raises(UserError, match="cifar100 is not in"):
        study(data=about).data.labelled()


def test_a_record_without_rows_says_how_to_make_some(tmp_path: Path) -> None:
    """As an interrupt before the first cell ends leaves it."""
    export(tmp_path / "trial", [], Record(tmp_path), [])
    with pytest.raises(UserError, match=r"loyalty\.csv has no row yet; make some with: suite run trial"):
        lines(tmp_path / "trial")


def test_an_interrupted_study_goes_on(folder: Path) -> None:
    """Its finished cells stay; the table has every row with its reason, and trace its cells."""
    (folder / "stop.py").write_text(STOP)
    rows = ["random", "cropr", {"method": "./stop.py", "settings": {"diary": "diary"}}]
    study(methods=rows, budgets=[], schedules=[{"removed": [8, 8, 8, 8, 0, 0]}])
    (folder / "diary").touch()
    valid = here(folder, "validate", "trial.yaml")
    assert valid.returncode == 0, valid.stderr
    (folder / "diary").unlink()
    first = here(folder, "run", "trial.yaml", "--in-process")
    assert first.returncode == 130, first.stdout + first.stderr
    kept = set((folder / ".suite/cells").glob("*.json"))
    assert len(kept) == 5
    before = {path: path.stat().st_mtime_ns for path in kept}
    second = here(folder, "run", "trial.yaml", "--in-process")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "6 cells, 5 finished, 1 to run" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    with (folder / "results/trial/table.csv").open() as file:
        found = {row["row"]: row for row in csv.DictReader(file)}
    assert next(iter(found)) == UNPRUNED
    assert list(found)[-3:] == ["random", "cropr", "stop"]
    assert all(row.endswith("pixels") for row in list(found)[1:-3])
    assert found["stop"]["status"] == "done"
    assert found["cropr"]["reason"].startswith("cropr needs training")
    assert (folder / "results/trial/budgets.png").is_file()
    traced = here(folder, "trace", "trial:random [removed 8 8 8 8 0 0]:KL, nats")
    assert traced.returncode == 0, traced.stderr
    assert "1 of 1 cells were made by" in traced.stdout
    traced = here(folder, "trace", "trial:random [removed 8 8 8 8 0 0]:gain")
    assert "4 of 4 cells were made by" in traced.stdout
    page = here(folder, "report", "trial")
    assert page.returncode == 0, page.stderr


def test_what_a_study_cannot_say(folder: Path) -> None:
    """Each refused with its place."""
    other = {"backbone": STUDY["backbone"], "start": "weights.pth"}
    for changes, message in (
        ({"methods": ["none"]}, r"methods: no method reduces anything"),
        ({"data": STUDY["data"] | {"size": 64}}, r"data.size: the backbone takes 32 x 32 pixels"),
        ({"budgets": []}, r"say how much methods remove"),
        ({"methods": ["tome", "tome"]}, r"methods.1: 'tome' is a duplicate"),
        (
            {"methods": [{"method": "tome", "fusion": "last-layer"}]},
            r"methods.0: tome \+ last-layer: .* needs removed patches to be stashed",
        ),
        ({"methods": [{"method": "random", "fusion": "logits"}]}, r"methods.0.fusion: classification does not read"),
        ({"data": STUDY["data"] | {"groups": "abc"}}, r"data.groups: a group in \( \)"),
        ({"finetune": {"epochs": 1}}, r"finetune: unknown value"),
        ({"data": STUDY["data"] | {"labels": False, "order": "text"}}, r"data: .* without classes; leave out order"),
        ({"models": [{"backbone": {"name": "resnet50"}, "start": "a.pth"}]}, r"models.0.backbone: .* is not supported"),
        ({"classes": 0, "data": STUDY["data"] | {"labels": False}, "models": [other]}, r"models: features of other"),
        ({"models": [other | {"name": "none"}]}, r"models.0: 'none' is what tables call another row"),
        ({"models": [other | {"name": "random"}]}, r"models.0: 'random' is what tables call another row"),
        ({"models": [other | {"name": "a\tb"}]}, r"models.0: .* is no name of a row"),
        ({"schedules": [{"name": "none", "removed": [8] * DEPTH}]}, r"schedules.0: 'none' is what tables call no"),
    ):
        with pytest.raises(UserError, match=message):
            study(**changes)
    write(folder, finetune="none")
    with pytest.raises(UserError, match=r"finetune: a study that trains nothing is of another kind; say kind: off-the"):
        load("trial.yaml")


def test_one_method_on_a_file_of_weights(folder: Path) -> None:
    """`suite evaluate --method` shows the study's numbers; what does not fit is refused."""
    rule = "{removed: [8, 8, 8, 8, 0, 0]}"
    options = [word for name, value in SIZES.items() for word in ("--option", f"{name}={value}")]
    words = ("evaluate", "--checkpoint", "weights.pth", "--data", "data")
    tiny = (*words, "--backbone", "vit_tiny_patch16_224", *options, "--method", "tome", "--schedule", rule)
    done = here(folder, *tiny, "--batch-size", "5")
    assert done.returncode == 0, done.stderr
    about = STUDY["data"] | {"crop": 0.9, "normalisation": "inception"}  # as timm says of the model
    cells = expand(study(data=about, budgets=[], schedules=[yaml.safe_load(rule)], methods=["tome"]))
    line = next(line for line in done.stdout.splitlines() if line.strip().startswith("tome "))
    assert f" {ran(of_rows(cells, 'tome')[0])['metrics']['kl']:.3f} " in line
    for more, message in (
        ((*words, "--schedule", rule), "--schedule is read with --method"),
        ((*words, "--fusion", "last-layer"), "--fusion is read with --method"),
        ((*words, "--no-labels"), "--no-labels is read with --method"),
        ((*tiny, "--backbone", "vit_base_patch16_clip_224.openai"), "timm prepares images for vit_base_patch16_clip"),
        ((*words, "--method", "tome"), "a schedule is needed for tome"),
        ((*words, "--method", "tome", "--schedule", rule), "weights.pth does not say which model it is of"),
        ((*tiny, "--layout", "tome"), "--layout is of official checkpoints"),
        ((*words, "--checkpoint", "timm/vit_tiny_patch16_224.none", *tiny[7:]), "timm has no weights"),
    ):
        refused = here(folder, *more)
        assert refused.returncode == 2
        assert message in refused.stderr


def test_what_one_method_on_one_model_cannot_be(folder: Path) -> None:
    """Said in a sentence: classes of a model without a head, and outputs that are not finite."""
    state = backbone().state_dict()
    torch.save({name: x for name, x in state.items() if "head" not in name}, "headless.pth")
    state["head.weight"][:] = 3e38
    torch.save(state, "broken.pth")
    options = [word for name, value in SIZES.items() for word in ("--option", f"{name}={value}")]
    words = ("--data", "data", "--backbone", "vit_tiny_patch16_224", *options, "--method", "tome")
    rule = ("--schedule", "{removed: [8, 8, 8, 8, 0, 0]}")
    refused = here(folder, "evaluate", "--checkpoint", "headless.pth", *words, *rule)
    assert (refused.returncode, "add --no-labels" in refused.stderr) == (2, True)
    refused = here(folder, "choose", "headless.pth", *words, "--drop", "1")
    assert (refused.returncode, "add --no-labels" in refused.stderr) == (2, True)
    refused = here(folder, "evaluate", "--checkpoint", "broken.pth", *words, *rule)
    assert (refused.returncode, refused.stderr) == (2, "error: none: kl of image 0 is not finite\n")


def test_weights_whose_images_are_normalised_otherwise(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A warning names those that timm knows; how images are prepared is said in any case."""
    other = {"name": "large", "backbone": STUDY["backbone"], "start": f"timm/{AUGREG}"}
    planned = study(models=[other], smaller_images=False)
    check_inputs(planned, expand(planned), console := Console(record=True, width=200))
    assert "prepared at 32 pixels, crop 0.875, normalisation imagenet" in console.export_text()
    assert f"timm/{AUGREG} takes images of mean (0.5, 0.5, 0.5)" in capsys.readouterr().err
    planned = study(models=[other], smaller_images=False, data=STUDY["data"] | {"normalisation": "inception"})
    check_inputs(planned, expand(planned), Console(quiet=True))
    assert capsys.readouterr().err == ""


def test_plan_says_how_long_and_validate_reads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first finished cell on; broken images are named before anything runs."""
    monkeypatch.setattr(execution, "cores", lambda: 1)
    study(budgets=[], schedules=[{"removed": [8, 8, 8, 8, 0, 0]}], smaller_images=False, speed={"batch_size": 2})
    loaded, record = load("trial.yaml"), Record()
    assert "0 of 3 cells finished; how long the other 3 take is not known" in here(folder, "plan", "trial.yaml").stdout
    cell = expand(loaded.study)[0]
    record.add(cell, {"status": "done", "seconds": 7200.0, "provenance": {}, "metrics": {}, "units": {}})
    said = here(folder, "plan", "trial.yaml").stdout
    assert "1 of 3 cells finished; the others about 2.0 h on" in said
    assert said.endswith(", and 1 timings\n")
    assert "12 images of " in here(folder, "validate", "trial.yaml", "--read").stdout
    (folder / "data").unlink()
    (folder / "data/a").mkdir(parents=True)
    (folder / "data/a/torn.png").write_bytes(b"torn")
    study(data=STUDY["data"] | {"labels": False})
    refused = here(folder, "validate", "trial.yaml", "--read")
    assert (refused.returncode, "torn.png cannot be read" in refused.stderr) == (2, True)


def test_a_plan_builds_each_backbone_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is removed of it, because planning took minutes otherwise."""
    built, build = list[Backbone](), Configuration.build_backbone

    def counted(self: Configuration, device: str = "meta") -> Any:
        built.append(self.backbone)
        return build(self, device)

    monkeypatch.setattr(Configuration, "build_backbone", counted)
    own = {"backbone": {"name": "vit_tiny_patch16_224", "options": SIZES | {"mlp_ratio": 3}}}
    rules = [{"name": str(count), "removed": [count] * 4 + [0, 0]} for count in range(1, 5)]
    expand(study(methods=["random", "tome", "evit"], budgets=[0.8, 0.6], schedules=rules, **own))
    assert len(built) == len({one.model_dump_json() for one in built}) <= 1 + 7


def test_a_choice_among_what_is_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is named and ends the command with 1; without the unpruned model nothing is chosen."""
    monkeypatch.setattr(execute, "time_cell", _by_cost)
    (folder / "fail.py").write_text(FAIL)
    options = [word for name, value in SIZES.items() for word in ("--option", f"{name}={value}")]
    words = ("choose", "weights.pth", "--data", "data", "--backbone", "vit_tiny_patch16_224", *options)
    words += ("--method", "variance", "--method", "./fail.py", "--drop", "90")
    done = here(folder, *words)
    assert done.returncode == 1, done.stderr
    assert "Chosen: " in done.stdout
    assert "Failed, and not compared: fail [0.9 of MACs (full)], " in done.stdout
    assert "stumbled over a token" in done.stdout.split("Failed, and not compared")[1]
    (unpruned,) = [cell for cell in expand(load("choose-weights.yaml").study) if cell.schedule == UNPRUNED]
    Record().cell_file(unpruned.cell_id).unlink()
    monkeypatch.setattr(execute, "_scores", lambda *_: 1 / 0)
    refused = here(folder, *words)
    assert refused.returncode == 2
    assert "nothing can be compared with the unpruned model\n" in refused.stderr
    assert "Failed, and not compared: none, fail [0.9 of MACs (full)], " in refused.stderr
    assert "ZeroDivisionError: division by zero" in refused.stderr


def test_what_failed_is_named_once(folder: Path) -> None:
    """By its reason; a failed or unreliable timing too, and what was skipped."""
    lines = [_timed_line("none", None), _timed_line("good", 1.5), _timed_line("late", None)]
    lines += [replace(_timed_line(name, None), status="failed", reason="shaken") for name in ("one", "two")]
    lines += [replace(_timed_line("cropr", None), status="skipped", reason="needs training")]
    lines += [replace(_timed_line("noisy", 1.4), speed_timing_warnings="others were busy")]
    lines[2] = replace(lines[2], speed_timing_warnings="out of memory")
    assert choose.missed(lines) == [
        "Failed, and not compared: late [late]: not timed; out of memory",
        "Failed, and not compared: one [one], two [two]: shaken",
        "Skipped, and not compared: cropr [cropr]: needs training",
        "Timed unreliably, and not on the front: noisy [noisy]: others were busy",
    ]


@pytest.mark.slow
def test_choose_a_method(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study is written and run, the choice is as wanted, its code makes its model, and so do both files."""
    monkeypatch.setattr(execute, "time_cell", _by_cost)
    options = [word for name, value in SIZES.items() for word in ("--option", f"{name}={value}")]
    words = ("choose", "weights.pth", "--data", "data", "--backbone", "vit_tiny_patch16_224", *options)
    words += ("--method", "tome", "--method", "variance", "--batch-size", "2", "--images", "8")
    done = here(folder, *words, "--drop", "60", "--export", "made")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {line.label: line for line in lines(folder / "results/choose-weights")}
    label = done.stdout.split("Chosen: ")[1].split(": ")[0]
    within = [line for line in found.values() if line.speed is not None and _points(line, found["none"]) <= 60]
    assert found[label].speed == max(line.speed or 0 for line in within)
    assert (folder / "results/choose-weights/pareto.png").is_file()
    made = _of_code(done.stdout[done.stdout.index("from suite.kinds") : done.stdout.index("wrote made")])
    images = torch.rand(3, 3, *getattr(made, "backbone", made).patch_embed.img_size)
    with torch.no_grad():
        wanted = made(images)
        assert torch.allclose(torch.export.load("made/model.pt2").module()(images), wanted, atol=1e-5)
    session = onnxruntime.InferenceSession("made/model.onnx")
    (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert np.allclose(logits, wanted.numpy(), atol=1e-5)
    refused = here(folder, *words, "--speedup", "50")
    assert refused.returncode == 2
    assert "nothing that was tried is as wanted" in refused.stderr
    assert "0 to run" in refused.stdout
    both = here(folder, *words, "--speedup", "2", "--drop", "1")
    assert "say what is wanted" in both.stderr


def _by_cost(_identity: Any, reduced: Any, unpruned: Any, _size: Any) -> Result:
    """What timing would find if speed were the inverse of multiply-accumulates."""
    ratio = count(unpruned).macs.full / count(getattr(reduced, "model", reduced)).macs.full
    numbers = {"metrics": {"speed_ratio": ratio}, "units": {"speed_ratio": "x"}, "details": {}, "origin": {}}
    return {"reason": "", "repetitions": {"speed_ratio": [ratio] * 5}} | numbers


def _of_code(code: str) -> Any:
    """The model that lines of Python make."""
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  (our own)
    return names["model"]


def test_code_of_a_choice(folder: Path) -> None:
    """Makes the model of its cell, with the weights of the file as they are read here; of a smaller image too."""
    rows = [{"method": "tome", "settings": {"proportional_attention": False}}, {"method": "variance", "name": "own"}]
    removed = (5, 4, 0, 3, 0, 0)
    model = reduce(backbone(), "cropr", removed).deploy()
    torch.save({"model": model.state_dict(), "model_ema": {}}, "all.pth")
    averaged = {name: torch.zeros_like(x) for name, x in backbone().state_dict().items()}
    torch.save({"model": backbone().state_dict(), "model_ema": averaged}, "averaged.pth")
    for start, methods in (("weights.pth", rows), ("averaged.pth", rows[:1]), ("all.pth", ["cropr"])):
        planned = study(methods=methods, schedules=[{"removed": removed}], budgets=[], start=start)
        for cell in expand(planned)[1:]:
            image = torch.rand(2, 3, *cell.identity.get("image", (32, 32)))
            with torch.no_grad():
                found = _of_code("\n".join(choose.code(planned, cell)))(image)
                assert torch.equal(found, models.reduced(cell.identity, cell.places)(image)), (start, cell.row)


def test_code_of_a_choice_with_weights_of_timm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks timm for the weights of the tag, by the study's options; the model is that of the cell."""
    tag, asked, create = AUGREG, list[Any](), timm.create_model

    def untrained(name: str, *, pretrained: bool, **options: Any) -> Any:
        asked.append((name, pretrained))
        return create(name, **options)

    planned = study(methods=["tome"], start=f"timm/{tag}", schedules=[{"removed": [8] * 4 + [0] * 2}], budgets=[])
    cells = [cell for cell in expand(planned) if cell.schedule != UNPRUNED]
    with monkeypatch.context() as patched:
        patched.setattr(timm, "create_model", untrained)
        made = [_of_code("\n".join(choose.code(planned, cell))) for cell in cells]
    assert asked == [(tag, True)] * len(cells)
    assert [getattr(one, "backbone", one).patch_embed.img_size for one in made] == [(24, 24), (28, 28), (32, 32)]
    assert count(made[-1]).macs == count(models.untrained(cells[-1].identity, cells[-1].places)).macs
    assert count(made[-1]).macs.full < count(backbone()).macs.full
    assert made[0].num_classes == CLASSES


def test_the_choice_is_as_wanted(folder: Path) -> None:
    """The fastest within the drop, or the best that is fast enough; and whether the next one can be told apart."""
    speeds = {"none": None, "slow": 1.2, "fast": 1.5, "faster": 1.55, "fastest": 3.0}
    draw, whole = np.random.RandomState(0), np.full(50, 100.0)
    losses = {"slow": 0.1, "fast": 1.0, "fastest": 20.0}
    scores = {("none", "none"): whole} | {(name, name): whole - loss - draw.rand(50) for name, loss in losses.items()}

    scores["faster", "faster"] = scores["fast", "fast"] - 0.01 + np.tile([0.5, -0.5], 25)

    line = _timed_line
    tried = [line(name, speed) for name, speed in speeds.items() if speed]
    quick = choose.best(tried, scores, 5.0, None)
    assert (quick.line.row, quick.second and quick.second.row) == ("faster", "fast")
    assert "speeds cannot be told apart" in quick.tie
    assert quick.loss == pytest.approx((whole - scores["faster", "faster"]).mean())
    assert quick.ends is not None
    assert quick.ends.mean == pytest.approx(quick.loss)
    good = choose.best(tried, scores, None, 1.4)
    assert {good.line.row, good.second and good.second.row} == {"fast", "faster"}
    assert "scores cannot be told apart" in good.tie
    sure = choose.best(tried, scores, None, 1.0)
    assert (sure.line.row, sure.tie) == ("slow", "")
    only = choose.best(tried, scores, None, 2.0)
    assert (only.line.row, only.second, only.tie) == ("fastest", None, "")
    with pytest.raises(
        UserError, match=r"the least drop is 0\.\d+ points, the most speed 3\.00x; allow a larger --drop"
    ):
        choose.best(tried, scores, 0.01, None)
    with pytest.raises(UserError, match="ask for a smaller --speedup"):
        choose.best(tried, scores, None, 4.0)
    twice = [line("fastest", 3.0), replace(line("fast", 3.0), speed_cell="fastest"), line("slow", 1.2)]
    second = choose.best(twice, scores, 50.0, None).second
    assert second is not None
    assert second.row == "slow", "two schedules of one model are one candidate"
    slower = [line("slow", 0.9)]
    assert choose.best([*slower, *tried[1:]], scores, None, 1.0).line.row == "fast"
    for drop, speedup in ((5.0, None), (None, 1.0)):
        with pytest.raises(UserError, match="nothing that was tried is faster than the unpruned model"):
            choose.best(slower, scores, drop, speedup)


def test_few_images_tell_no_scores_apart() -> None:
    """Two equal differences may be chance; of one image nothing is known. The loss is known nevertheless."""
    both = [_timed_line("good", 1.5), _timed_line("bad", 1.6)]

    def best(count: int) -> choose.Choice:
        scores = {("good", "good"): np.full(count, 100.0), ("bad", "bad"): np.zeros(count)}
        return choose.best(both, scores | {("none", "none"): np.full(count, 100.0)}, None, 1.0)

    assert "one image, or one group of them" in best(1).tie
    assert (best(1).loss, best(1).ends) == (0, None)
    assert "within noise" in best(2).tie
    assert best(20).tie == ""
    values = {("a", "a"): {"correct": np.array([0.5, 1])}, ("b", "b"): {"kl": np.array([0.5, 1])}}
    assert {key: own.tolist() for key, own in choose.points_of(values, "correct").items()} == {("a", "a"): [50, 100]}
    lost = choose.Choice(both[0], None, 2.0, Mean(1.0, 4.0, 9, 2.0, 0.01), "")
    assert "acc. -2.00 points (95 %: -4.00 to -1.00) against" in " ".join(choose._said(lost, "correct"))
    assert "feature +0.00 points against" in " ".join(choose._said(best(1), "cosine_feature"))


def _timed_line(name: str, speed: float | None, score: float = 0) -> Line:
    """A row of this name, timed and scored."""
    ends = (None, None) if speed is None else (speed - 0.1, speed + 0.1)
    found = {"correct": Found((score, None, None), None, {})}
    return Line(name, name, name, "", "none", "", speed, *ends, "", name, "done", "", 1.0, 1.0, 50, 50, found)


def test_the_front_has_what_nothing_beats() -> None:
    """The unpruned model beats what is slower and no better, and stands there, as the first."""
    speeds = {"none": (None, 0.8), "worse": (0.9, 0.7), "better": (0.8, 0.9), "fast": (2.0, 0.5), "slow": (1.5, 0.5)}
    found = [_timed_line(name, *both) for name, both in speeds.items()]
    found.append(replace(_timed_line("noisy", 1.9, 0.9), speed_timing_warnings="others were busy"))
    (block,) = choose._front("trial", found, found[1:], "correct").blocks
    assert [row.values["row"] for row in block.rows] == ["better", "none", "fast"]


def test_another_model_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although both files of weights are called alike; the same model on the same images goes on in its own."""
    monkeypatch.chdir(tmp_path)
    abouts = [
        {"start": Path(folder, "best.pth"), "data": {"source": data}, "threads": 1}
        for folder, data in (("a", "x"), ("b", "x"), ("a", "y"))
    ]
    for _ in range(2):
        paths = list[Path]()
        for about in abouts:
            choose.write(path := choose.free("best", about), about, "cpu", 8, ())
            paths.append(path)
        assert [path.name for path in paths] == ["choose-best.yaml", "choose-best-2.yaml", "choose-best-3.yaml"]
    for content in (b"a: [", b"\xff", b"text", b"question: mine"):
        Path("choose-own.yaml").write_bytes(content)
        with pytest.raises(UserError, match=r"choose-own\.yaml was edited, or suite choose did not write it"):
            choose.write(choose.free("own", abouts[0]), abouts[0], "cpu", 8, ())


def test_a_study_that_was_edited_is_kept(tmp_path: Path) -> None:
    """What suite choose wrote itself it writes anew, as another call has it."""
    path, about = tmp_path / "choose-own.yaml", {"start": Path("own.pth"), "threads": 1}
    choose.write(path, about, "cpu", 8, ())
    choose.write(path, about, "cpu", 4, ["tome"])
    said = yaml.safe_load(path.read_text())
    assert (said["batch_size"], said["methods"], said["start"]) == (4, ["tome"], "own.pth")
    path.write_text(path.read_text().replace("tome", "evit"))
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"choose-own\.yaml was edited, or suite choose did not write it"):
        choose.write(path, about, "cpu", 8, ())
    assert path.read_bytes() == before


def _points(line: Line, whole: Line) -> float:
    """How many points of accuracy a row is below the unpruned model."""
    return 100 * (whole.found["correct"].mean[0] - line.found["correct"].mean[0])
