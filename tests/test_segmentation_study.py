"""A segmentation study through the real command line, MLflow and mmsegmentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from tiny_study import RUN, STUDY, here, repeatable, rows_of
from torch import nn

from suite.data.labels import decode
from suite.errors import UserError
from suite.kinds.training.cells import expand
from suite.reduction.backbone import create_backbone
from suite.reduction.model import reduce
from suite.study.load import load
from suite.tasks.segmentation.pixels import PixelModel, UnprunedPixels

SEGMENTATION: dict[str, Any] = STUDY | {
    "task": "segmentation",
    "data": {"recipe": "digit-scenes", "canvas": 16, "digits": 2, "digit_size": [6, 8], "train": 64, "validation": 24},
    "base": {"recipe": {"epochs": 2, "learning_rate": 2e-3, "batch_size": 16, "threads": 2, "decay": "polynomial"}},
    "finetune": {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16, "curriculum": "linear"},
    "methods": [
        "none",
        "random",
        "tome",
        {"method": "random", "fusion": "logits"},
        {"method": "cropr", "fusion": "last-layer", "settings": {"queries": 16}},
    ],
    "seeds": [1],
    "speed": None,
}
CELLS = 1 + 5


def write(folder: Path, **changes: Any) -> None:
    """Write the study, with changes, as `trial.yaml`; JSON is YAML."""
    (folder / "trial.yaml").write_text(json.dumps(SEGMENTATION | changes))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the study ran once."""
    folder = tmp_path_factory.mktemp("segmentation")
    write(folder)
    for command in (RUN, ("track", "trial.yaml")):
        done = here(folder, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_scores_of_the_record(ran: Path) -> None:
    """mIoU, mAcc, aAcc and IoU of each class, unrounded; mIoU is the mean of the classes."""
    rows = rows_of(ran)
    assert len({row["cell_id"] for row in rows}) == CELLS
    assert {row["status"] for row in rows} == {"done"}
    for cell in {row["cell_id"] for row in rows if row["kind"] == "accuracy"}:
        values = {
            row["metric"]: float(row["value"]) for row in rows if row["cell_id"] == cell and not row["repetition"]
        }
        assert {"miou_last", "miou_best", "macc_last", "aacc_last", "macs_full", "tokens_fewest"} <= values.keys()
        classes = [value for metric, value in values.items() if metric.startswith("iou_")]
        assert 5 < len(classes) <= 11
        assert values["miou_last"] == pytest.approx(sum(classes) / len(classes))
        assert values["miou_last"] <= values["miou_best"] <= 100
        assert values["aacc_last"] > 50  # the background alone is more than half of all pixels


def test_the_table_has_miou(ran: Path) -> None:
    """Every row, with the task's own heading and note; the same once more from the record."""
    table = (ran / "results/trial/table.md").read_text()
    assert "| mIoU % |" in " ".join(table.split())
    assert "- mIoU: mean over the classes of the last epoch's intersection over union, median over seeds" in table
    for name in ("none", "random", "tome", "random + logits", "cropr + last-layer"):
        assert f"| {name}" in table
    assert here(ran, "table", "trial").returncode == 0
    assert (ran / "results/trial/table.md").read_text() == table


def test_the_same_cell_has_the_same_bits(ran: Path, tmp_path: Path) -> None:
    """Run again elsewhere, alone, it ends with the same scores."""
    write(tmp_path, methods=["tome"])
    assert here(tmp_path, *RUN).returncode == 0
    alone, beside = (repeatable(rows_of(folder)) for folder in (tmp_path, ran))
    again = {row["metric"]: row["value"] for row in alone if row["kind"] == "accuracy"}
    first = {row["metric"]: row["value"] for row in beside if row["kind"] == "accuracy" and row["row"] == "tome"}
    assert again == first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"finetune": {"epochs": 1, "learning_rate": 1e-3, "label_smoothing": 0.1}}, "has no label smoothing"),
        (
            {"finetune": {"epochs": 1, "learning_rate": 1e-3, "decay": "step"}},
            "decay: unknown value 'step'; valid: cos",
        ),
        ({"methods": [{"method": "idlevit", "settings": {"distillation_weight": 5}}]}, "segmentation has no teacher"),
        ({"methods": [{"method": "tome", "fusion": "logits"}]}, "logits fusion needs removed patches to be stashed"),
        ({"methods": ["cropr"]}, "cropr: 16 patches need as many queries, found 1; set queries: 16"),
        ({"task": "detection"}, r"^trial.yaml:1: task: unknown task 'detection'; valid: classification, segmentation$"),
        ({"task": ["segmentation"]}, "task: must be text, found"),
    ],
)
def test_impossible_studies_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    """Before anything runs."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, **changes)
    with pytest.raises(UserError, match=message):
        load("trial.yaml")


def test_every_fusion_is_another_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ways of bringing patches back are rows that a study can compare; the background is the eleventh class."""
    monkeypatch.chdir(tmp_path)
    fusions = ["none", "last-layer", "concatenation", "logits", "cross-attention"]
    write(tmp_path, methods=[{"method": "random", "fusion": fusion} for fusion in fusions])
    cells = [cell for cell in expand(load("trial.yaml").study) if cell.kind == "accuracy"]
    assert len({cell.cell_id for cell in cells}) == len(cells) == 5
    assert {cell.identity["classes"] for cell in cells} == {11}


@pytest.mark.parametrize("side", [(16, 16), (14, 13)])
@torch.no_grad()
def test_pixels_of_the_unpruned_model_are_timms(side: tuple[int, int]) -> None:
    """The read-out by hand: pad, timm's features, linear head, bilinear upsampling, cut; bit for bit."""
    options = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "global_pool": "avg"}
    backbone = create_backbone("vit_tiny_patch16_224", options, 5).eval()
    images = torch.randn(3, 3, *side, generator=torch.Generator().manual_seed(0))
    padded = torch.zeros(3, 3, 16, 16)
    padded[:, :, : side[0], : side[1]] = images
    features = backbone.fc_norm(backbone.forward_features(padded)[:, 1:])
    maps = backbone.head(features).transpose(1, 2).reshape(3, 5, 4, 4)
    expected = nn.functional.interpolate(maps, scale_factor=4, mode="bilinear")[:, :, : side[0], : side[1]]
    assert torch.equal(UnprunedPixels(backbone)(images), expected)
    assert torch.equal(PixelModel(reduce(backbone, "none"))(images), expected)


def test_maps_are_drawn_and_kept(ran: Path) -> None:
    """A figure in results/ and, however often it is drawn, on the one run of the study."""
    for _ in range(2):
        done = here(ran, "figures", "trial.yaml", "--only", "maps")
        assert done.returncode == 0, done.stderr
        assert "written to results/trial/maps.png" in done.stdout
    assert (ran / "results/trial/maps.png").read_bytes().startswith(b"\x89PNG")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{ran / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("trial")
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'study'")
    assert len(runs) == 1
    assert "maps.png" in {file.path for file in client.list_artifacts(runs[0].info.run_id)}


def test_images_that_are_not_whole_patches(tmp_path: Path) -> None:
    """Scenes of 14 pixels on a backbone for 16: padded for the model, and predictions cut back to 14."""
    data = SEGMENTATION["data"] | {"canvas": 14}
    write(tmp_path, data=data, methods=["random"])
    done = here(tmp_path, *RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    entries = [json.loads(path.read_text()) for path in (tmp_path / ".suite/cells").iterdir()]
    example = next(entry["details"]["example"] for entry in entries if entry["identity"]["kind"] == "accuracy")
    assert example["grid"] == [4, 4]
    assert [decode(text).shape for text in example["prediction"]] == [(14, 14)] * 3
    assert here(tmp_path, "figures", "trial.yaml", "--only", "maps").returncode == 0
    write(tmp_path, data=data | {"canvas": 12})
    refused = here(tmp_path, "validate", "trial.yaml")
    assert "the backbone takes 16 x 16 pixels, data.canvas is 12 x 12" in refused.stderr
    write(tmp_path, backbone=SEGMENTATION["backbone"] | {"name": "deit_tiny_distilled_patch16_224"})
    refused = here(tmp_path, "validate", "trial.yaml")
    assert "segmentation reads one linear head, which this VisionTransformerDistilled" in refused.stderr
