"""The study of Cropr's Table 1 at reduced width, on a small folder in ImageNet's layout; needs no pytest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from suite.reduction.backbone import create_backbone

STUDIES = Path(__file__).parents[1] / "studies"
SMALL = {"img_size": 32, "patch_size": 4, "embed_dim": 32, "depth": 6, "num_heads": 2}
CLASSES = ("n01440764", "n01443537", "n01484850", "n02085620")


def write_images(root: Path) -> None:
    """Two validation and six training images of each class, JPEG, of several sizes."""
    draw = np.random.default_rng(0)
    for (split, count), name in ((one, name) for one in (("train", 6), ("val", 2)) for name in CLASSES):
        folder = root / split / name
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(0, 256, (36 + number, 48, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}_{number}.JPEG")


def write_weights(path: Path) -> torch.nn.Module:
    """Weights as timm's hub has MAE's: a norm of all tokens, no head."""
    torch.manual_seed(1)
    options = SMALL | {"global_pool": "token"}
    model: torch.nn.Module = create_backbone("vit_large_patch16_224", options, 0)
    path.parent.mkdir(exist_ok=True)
    save_file(model.state_dict(), path)
    return model


def reduced_study(**finetune: Any) -> dict[str, Any]:
    """The committed study for small images and a narrow backbone: every row, one seed, four updates."""
    study: dict[str, Any] = yaml.safe_load((STUDIES / "imagenet-vitl.yaml").read_text())
    study["data"] |= {"source": "imagenet", "class_count": len(CLASSES), "size": 32}
    study["backbone"]["options"] |= SMALL
    study["start"] = "weights/mae.safetensors"
    study["schedules"] = [{"constant": 3, "blocks": "0-3", "extra_first": 1}]
    study["finetune"] |= {"epochs": 2, "warmup_epochs": 1, "batch_size": 12, "accumulate": 3, "threads": 1} | finetune
    return study | {"seeds": [0]}
