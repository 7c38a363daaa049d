"""Cropr's checkpoints: a ViT for classification and an EVA-02 for segmentation, with or without Cropr modules.

github benbergner/cropr (2f8b624), `cls/vision_transformer.py` and `segm/segmenter.py`. Average pooling counts the class
token, in the unpruned model too. A model with two modules less than blocks has last-layer fusion, with one less none.
The first module removes R+1 patches, all others R.
"""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic import Field
from torch import Tensor

from baselines.official._vit import heads_of, lacking, not_plain, plain_vit, sizes_of, without_class_token
from suite.official import Layout, Options
from suite.reduction.attention import TimmModule
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.method import Output
from suite.reduction.model import ReducedModel, reduce
from suite.reduction.settings import Fusion
from suite.tasks.segmentation.pixels import PixelModel, on_grid

# isort: split
from timm.models.eva import Eva

RENAMED = (  # how the official modules call what ours call otherwise
    (r"^cropr\.\d+\.", ""),
    (r"^cross_attn\.(q|k|v)\.", lambda found: {"q": "query.", "k": "key.", "v": "aggregator.value."}[found[1]]),
    (r"^cross_attn\.attn_norm\.", "norm."),
    (r"^cross_attn\.proj\.", "aggregator.output."),
    (r"^cross_attn\.mlp_norm\.", "aggregator.mlp.0."),
    (r"^cross_attn\.mlp\.fc1\.", "aggregator.mlp.1."),
    (r"^cross_attn\.mlp\.fc2\.", "aggregator.mlp.3."),
    (r"^cross_attn\.", ""),
    (r"^head\.norm\.", "aggregator.head.0."),
    (r"^head\.head\.", "aggregator.head.1."),
)
DIMENSIONS = {
    "cls_token": 3,
    "pos_embed": 3,
    "patch_embed.proj.weight": 4,
    "blocks.0.attn.q_proj.weight": 2,
    "blocks.0.mlp.fc1_g.weight": 2,
    "head.weight": 2,
}
PUBLISHED = {196: 8, 1024: 40}  # R of the two released recipes, by number of patches


class CroprOptions(Options):
    """`pruning_rate`: R, patches per module; by default that of the published recipe for 196 or 1024 patches.

    `cropr_heads`: of the modules' attention, which the weights do not say where there is more than one.
    """

    pruning_rate: int | None = Field(None, ge=1)
    cropr_heads: int | None = Field(None, ge=1)


class Cropr(Layout):
    """Classification: plain ViT weights with a class token, and `cropr.*`."""

    name = "cropr"
    source = "github benbergner/cropr (2f8b624), cls/"
    options = CroprOptions

    def why_not(self, checkpoint: Checkpoint) -> str | None:
        plain = checkpoint.without("cropr.")
        return not_plain(plain) or without_class_token(plain)

    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        return _from_args(checkpoint)

    def defaults(self, checkpoint: Checkpoint) -> dict[str, Any]:
        side = math.isqrt(checkpoint.shape("pos_embed")[1]) * checkpoint.shape("patch_embed.proj.weight")[2]
        return super().defaults(checkpoint) | _published(checkpoint) | {"crop": 1.0 if side > 224 else 0.875}

    def build(self, checkpoint: Checkpoint, options: Any) -> ReducedModel:
        pool = "avg" if "fc_norm.weight" in checkpoint else "token"
        backbone = plain_vit(checkpoint.without("cropr."), options, global_pool=pool, pool_include_prefix=pool == "avg")
        return _with_modules(checkpoint, backbone, options)


class CroprSegmentation(Layout):
    """Segmentation: EVA-02 weights with a linear head for each patch, and `cropr.*`."""

    name = "cropr-segmentation"
    source = "github benbergner/cropr (2f8b624), segm/"
    task = "segmentation"
    options = CroprOptions

    def why_not(self, checkpoint: Checkpoint) -> str | None:
        return lacking(checkpoint, DIMENSIONS)

    def from_args(self, checkpoint: Checkpoint) -> dict[str, Any]:
        return _from_args(checkpoint)

    def defaults(self, checkpoint: Checkpoint) -> dict[str, Any]:
        return super().defaults(checkpoint) | _published(checkpoint)

    def build(self, checkpoint: Checkpoint, options: Any) -> Segmenter:
        image_size, _ = sizes_of(checkpoint, options)
        width, hidden = checkpoint.shape("pos_embed")[2], checkpoint.shape("blocks.0.mlp.fc1_g.weight")[0]
        backbone = Eva(
            img_size=image_size,
            patch_size=checkpoint.shape("patch_embed.proj.weight")[2:],
            num_classes=checkpoint.shape("head.weight")[0],
            embed_dim=width,
            depth=checkpoint.depth,
            num_heads=heads_of(checkpoint, options),
            mlp_ratio=(hidden + 0.5) / width,
            qkv_fused=False,
            swiglu_mlp=True,
            scale_mlp=True,
            use_rot_pos_emb=True,
            ref_feat_shape=(16, 16),
        )
        checkpoint.without("cropr.").load_into(backbone)
        return Segmenter(_with_modules(checkpoint, backbone, options))


class Segmenter(PixelModel):
    """The official model, whose auxiliary predictions are maps too."""

    def outputs(self, images: Tensor) -> Output:
        """As of `PixelModel`, with a map of logits, (B, classes, rows, columns), for each module.

        Raises:
            ValueError: in training, if the modules do not have one query for each patch.
        """
        logits, features, auxiliary = super().outputs(images)
        grid = self.reduced.method.context.grid
        for prediction in auxiliary:
            if prediction.shape[1] != grid[0] * grid[1]:
                raise ValueError(
                    f"training needs one query for each of {grid[0] * grid[1]} patches, found {prediction.shape[1]}"
                )
        return Output(logits, features, tuple(on_grid(prediction, grid) for prediction in auxiliary))


def _from_args(checkpoint: Checkpoint) -> dict[str, Any]:
    arguments = checkpoint.arguments
    names = {"heads": "num_heads", "pruning_rate": "cropr_pruning_rate", "cropr_heads": "cropr_num_heads"}
    return {ours: arguments.get(theirs) for ours, theirs in names.items() if "use_cropr" in arguments}


def _published(checkpoint: Checkpoint) -> dict[str, Any]:
    modules = any(key.startswith("cropr.") for key in checkpoint.weights)
    return {"pruning_rate": PUBLISHED.get(checkpoint.shape("pos_embed")[1] - 1)} if modules else {}


def _with_modules(checkpoint: Checkpoint, backbone: TimmModule, options: CroprOptions) -> ReducedModel:
    """The backbone with the checkpoint's Cropr modules; without any, the unpruned model."""
    weights = {key: value for key, value in checkpoint.weights.items() if key.startswith("cropr.")}
    modules = len({key.split(".")[1] for key in weights})
    if not modules:
        return reduce(backbone, "none")
    depth, patches = checkpoint.depth, backbone.patch_embed.num_patches
    if depth - modules not in (1, 2):
        raise ValueError(f"{modules} Cropr modules for {depth} blocks; there must be one or two less than blocks")
    rate = options.pruning_rate
    if rate is None:
        raise ValueError(f"the weights do not say how many of {patches} patches each module removes; give pruning_rate")
    removed = (rate + 1, *[rate] * (modules - 1), *[0] * (depth - modules))
    fusion: Fusion = "last-layer" if depth - modules == 2 else "none"
    settings = _settings(checkpoint, options)
    model = reduce(backbone, "cropr", removed, settings, fusion)
    _load(model, weights)
    return model


def _settings(checkpoint: Checkpoint, options: CroprOptions) -> dict[str, Any]:
    first = "cropr.0.cross_attn."
    heads = options.cropr_heads or 1
    if (f"{first}proj.weight" in checkpoint) != (heads > 1) and "cropr.0.head.head.weight" in checkpoint:
        raise ValueError(
            "the modules' output projection says that their attention has several heads; give cropr_heads"
            if heads == 1
            else f"cropr_heads {heads} needs an output projection, which is not there"
        )
    mlp, width = f"{first}mlp.fc1.weight" in checkpoint, checkpoint.shape(f"{first}queries")[2]
    hidden = checkpoint.shape(f"{first}mlp.fc1.weight")[0] if mlp else width
    named = {"query": "q", "key": "k", "value": "v"}
    return {
        "queries": checkpoint.shape(f"{first}queries")[1],
        "heads": heads,
        "projections": [name for name, short in named.items() if f"{first}{short}.weight" in checkpoint],
        "pre_norm": f"{first}attn_norm.weight" in checkpoint,
        "mlp": mlp,
        "mlp_ratio": (hidden + 0.5) / width,
    }


def _load(model: ReducedModel, weights: dict[str, Tensor]) -> None:
    modules: Any = model.method.croppers
    for layer, module in modules.items():
        own = {key: value for key, value in weights.items() if key.startswith(f"cropr.{layer}.")}
        if not any(".head." in key for key in own):
            module.aggregator = None  # saved without what only training needs
        Checkpoint(f"Cropr module {layer}", {_renamed(key): value for key, value in own.items()}, {}).load_into(module)


def _renamed(key: str) -> str:
    for pattern, replacement in RENAMED:
        key = re.sub(pattern, replacement, key)
    return key
