"""The study of Cropr's Table 1 at reduced width, on a small folder in ImageNet's layout; clothes, if installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reduced_imagenet import SMALL, STUDIES, reduced_study, write_images, write_weights
from safetensors.torch import save_file
from tiny_study import RUN, here, rows_of

from suite.data.preparation import for_training
from suite.reduction.backbone import create_backbone, fitted
from suite.reduction.checkpoints import Checkpoint
from suite.seeds import drawn
from suite.study.load import load

# isort: split
from timm.data import auto_augment


@pytest.mark.slow
def test_the_papers_study_runs_at_reduced_width(tmp_path: Path) -> None:
    """Every row through data, weights, recipe, scores and costs; each is a model of its own, whose weights are kept."""
    write_images(tmp_path / "imagenet")
    write_weights(tmp_path / "weights/mae.safetensors")
    (tmp_path / "trial.yaml").write_text(json.dumps(reduced_study(device="cpu", precision="bfloat16")))
    done = here(tmp_path, *RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = rows_of(tmp_path)
    assert {row["status"] for row in rows} == {"done"}
    tokens = {row["row"]: float(row["value"]) for row in rows if row["metric"] == "tokens_fewest"}
    assert tokens.pop("none") == 65
    assert len(tokens) == 4
    assert set(tokens.values()) == {65 - 4 - 3 * 3}
    cells = [json.loads(path.read_text()) for path in (tmp_path / ".suite/cells").iterdir()]
    assert len({tuple(cell["curves"]["loss"]) for cell in cells}) == 5
    assert all(cell["identity"]["recipe"]["layer_decay"] == 0.75 for cell in cells)
    kept = here(tmp_path, "weights", "trial.yaml", "cropr + last-layer", "0")
    assert (tmp_path / kept.stdout.strip()).is_file(), kept.stdout + kept.stderr


def test_the_norm_of_averaged_features_is_new_where_the_file_has_another(tmp_path: Path) -> None:
    """As in MAE's and Cropr's fine-tuning; one that the file has is taken."""
    path = tmp_path / "weights/mae.safetensors"
    source = write_weights(path).state_dict()
    average = create_backbone("vit_large_patch16_224", SMALL | {"global_pool": "avg"}, 4)
    fitted(average, Checkpoint.read(path)).load_into(average)
    assert torch.equal(average.blocks[5].norm1.weight, source["blocks.5.norm1.weight"])
    torch.nn.init.normal_(average.fc_norm.weight)
    own = {name: value.clone() for name, value in average.state_dict().items()}
    save_file(own, tmp_path / "own.safetensors")
    again = create_backbone("vit_large_patch16_224", SMALL | {"global_pool": "avg"}, 4)
    fitted(again, Checkpoint.read(tmp_path / "own.safetensors")).load_into(again)
    assert torch.equal(again.fc_norm.weight, own["fc_norm.weight"])
    assert torch.equal(again.head.weight, own["head.weight"])


def test_an_image_of_which_no_bit_is_kept_is_black() -> None:
    """At RandAugment's highest magnitude, whatever the version of Pillow; all other bits are Pillow's."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    prepare = for_training(8, "imagenet", {"auto_augment": "rand-m10-mstd0.5-inc1-p1"})
    for number in range(200):
        with drawn("augmentation", number):
            prepare(image)
    operation = auto_augment.NAME_TO_OP["PosterizeIncreasing"]
    assert not np.asarray(operation(image, 0)).any()
    assert not np.asarray(operation(image, -4)).any()
    assert np.array_equal(np.asarray(operation(image, 9)), np.asarray(image))
    assert np.array_equal(np.asarray(operation(image, 3)), np.asarray(image) & 0b11100000)


def test_clothes_are_read_where_they_are_installed() -> None:
    """Else one sentence says how to get them."""
    data = load(str(STUDIES / "fashion-mnist.yaml")).study.data
    if missing := data.missing():
        assert "the Debian package dataset-fashion-mnist" in missing
        pytest.skip(missing)
    found = data.labelled("train")
    assert (len(found), len(found.classes), len(data.labelled("validation"))) == (60_000, 10, 10_000)


@pytest.mark.slow
def test_the_script_for_gpus_runs_on_a_processor(tmp_path: Path) -> None:
    """A cell that is killed and goes on has the losses of one that is not, to the bit on a processor."""
    script = Path(__file__).with_name("gpu_training.py")
    command = [sys.executable, str(script), "--device", "cpu", "--epochs", "8", "--into", str(tmp_path / "found.json")]
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads((tmp_path / "found.json").read_text())
    assert {row["difference"] for row in found["rows"].values()} == {0.0}
    assert found["provenance"]["device"]
