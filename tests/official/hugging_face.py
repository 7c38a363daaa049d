"""Run ViT, DeiT and DINOv2 of Hugging Face's transformers on small random weights, and keep the names in their files.

Usage: hugging_face.py [--out FOLDER], with transformers (5.24.0) beside torch and numpy. Weights and images are drawn
as for the other files here, from their seeds.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
import suite.torchvision_operators  # noqa: E402, F401 -- lets transformers be imported whatever torchvision is there

# isort: split
import transformers  # noqa: E402

SMALL = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 4}
MODELS = {
    "vit": ("ViTConfig", "ViTForImageClassification", {"intermediate_size": 192}),
    "vit-pretrained": ("ViTConfig", "ViTModel", {"intermediate_size": 192}),
    "deit": ("DeiTConfig", "DeiTForImageClassificationWithTeacher", {"intermediate_size": 192}),
    "dinov2": ("Dinov2Config", "Dinov2Model", {}),
    "dinov2-gated": ("Dinov2Config", "Dinov2Model", {"use_swiglu_ffn": True}),
}


def main() -> None:
    """Write a file for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "hugging_face")
    chosen = parser.parse_args()
    spec = importlib.util.spec_from_file_location("drawn", ROOT / "suite/kinds/official/weights.py")
    assert spec is not None
    assert spec.loader is not None
    drawn = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawn)
    pixels = torch.from_numpy(drawn.images(4, 32, 32, 2))
    for name, (config, model, more) in MODELS.items():
        build, settings = getattr(transformers, model), getattr(transformers, config)(num_labels=10, **SMALL | more)
        with tempfile.TemporaryDirectory() as folder:
            build(settings).save_pretrained(folder)
            file = Path(folder, "model.safetensors")
            shapes = {key: list(value.shape) for key, value in load_file(file).items()}
            weights = {key: torch.from_numpy(value) for key, value in drawn.fill(shapes, 1).items()}
            save_file(weights, file, {"format": "pt"})
            built = build.from_pretrained(folder).eval()
        with torch.no_grad():
            output: Any = built(pixels)
        found = output.logits if hasattr(output, "logits") else output.last_hidden_state[:, 0]
        facts = {"model": model, "versions": {"torch": torch.__version__.split("+")[0]}}
        facts["versions"] |= {"transformers": transformers.__version__}
        lines = facts | {"shapes": shapes, "output": found.tolist()}
        text = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in lines.items())
        (chosen.out / f"{name}.json").write_text("{\n" + text + "\n}\n")
        sys.stderr.write(f"recorded {name}\n")


if __name__ == "__main__":
    main()
