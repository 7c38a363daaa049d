"""Weights that training starts from: Hugging Face's, MAE's own file, timm's by tag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_official import case_of, weights_of
from torch import Tensor

from suite.kinds.official.weights import images
from suite.kinds.training import start
from suite.reduction.backbone import create_backbone, fitted
from suite.reduction.checkpoints import Checkpoint

SIZES = {"img_size": 32, "patch_size": 4, "embed_dim": 48, "depth": 3, "num_heads": 4}
GATED = {"mlp_ratio": 128 / 48 * 2}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit_tiny_patch16_224", {}),
    "vit-pretrained": ("vit_tiny_patch16_224", {}),
    "deit": ("deit_tiny_distilled_patch16_224", {}),
    "dinov2": ("vit_small_patch14_dinov2", {}),
    "dinov2-gated": ("vit_giant_patch14_dinov2", GATED),
}


@pytest.mark.parametrize("name", MODELS)
def test_weights_of_hugging_face_compute_the_same(name: str) -> None:
    """Logits, or the class token's features where the file has no head, to 1e-5."""
    case = case_of(f"hugging_face/{name}")
    backbone, options = MODELS[name]
    model = create_backbone(backbone, SIZES | options, 10).eval()
    fitted(model, Checkpoint.read(weights_of(case["shapes"], 1))).load_into(model)
    pixels, wanted = torch.from_numpy(images(4, 32, 32, 2)), torch.tensor(case["output"])
    with torch.no_grad():
        found: Tensor = model(pixels) if wanted.shape[1] == 10 else model.forward_features(pixels)[:, 0]
    assert wanted.std() > 0.1
    assert (found - wanted).abs().max() < 1e-5


def test_only_the_encoder_of_a_pretraining_is_taken() -> None:
    """MAE's own file has a decoder and a mask token."""
    model = create_backbone("vit_tiny_patch16_224", SIZES, 10)
    encoder = {name: x for name, x in model.state_dict().items() if not name.startswith("head.")}
    more = {"mask_token": torch.zeros(1, 1, 48), "decoder_embed.weight": torch.zeros(8, 48)}
    more |= {"decoder_blocks.0.norm1.weight": torch.zeros(8), "decoder_pos_embed": torch.zeros(1, 65, 8)}
    found = fitted(model, Checkpoint.read({"model": encoder | more}))
    found.load_into(model)
    assert found.weights.keys() == model.state_dict().keys()


def test_a_tag_of_timm_is_looked_for_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Hugging Face; where it is not, one sentence says what to fetch and where to put it."""
    tag = "vit_large_patch16_224.mae"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    said = start.missing(Path("timm", tag), "vit_large_patch16_224")
    assert f"huggingface.co/timm/{tag}: model.safetensors, or https://dl.fbaipublicfiles.com/mae/pretrain/" in said
    assert f"put it to weights/{tag}.safetensors" in said
    cached = tmp_path / f"models--timm--{tag}"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/main").write_text("1" * 40)
    (cached / "snapshots" / ("1" * 40)).mkdir(parents=True)
    file = cached / "snapshots" / ("1" * 40) / "model.safetensors"
    file.write_bytes(b"weights")
    assert start.file_of(Path("timm", tag)) == file
    assert not start.missing(Path("timm", tag), "vit_large_patch16_224")


def test_an_unknown_tag_has_neighbours() -> None:
    """A file is still asked for as one."""
    assert "did you mean vit_large_patch16_224.mae" in start.missing(Path("timm/vit_large_patch16_224.mea"), "")
    assert "there is no" in start.missing(Path("timm/weights.pt"), "vit_large_patch16_224")
