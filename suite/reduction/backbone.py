"""Build timm backbones by name."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from typing import Any

import torch

import suite.torchvision_operators  # noqa: F401  (before timm, see there)

# isort: split
import timm

from suite.errors import UserError, suggest
from suite.reduction.attention import TimmModule
from suite.reduction.blocks import check_supported
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.hugging_face import as_timm
from suite.reduction.size import Size, by

TIMMS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # it raises


def create_backbone(name: str, options: dict[str, Any], classes: int, drop_path: float = 0.0) -> TimmModule:
    """Create a timm model with random weights.

    UserError for a name or an option timm does not know, a model whose blocks are not supported, or an image that is
    smaller than a patch.
    """
    if "num_classes" in options:
        raise UserError(f"backbone {name}: num_classes is none of its options; say classes instead (--classes)")
    if "drop_path_rate" in options:
        raise UserError(f"backbone {name}: drop_path_rate is none of its options; say drop_path in a study's recipe")
    if not timm.is_model(name):
        raise UserError(f"timm has no model {name!r}; {suggest(name, timm.list_models())}")
    try:
        model = timm.create_model(name, num_classes=classes, drop_path_rate=drop_path, **options)
        check_supported(model)
        _check_truths(type(model), options)
    except TIMMS as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"backbone {name} with options {options}: {why}") from error
    embedding = model.patch_embed
    if embedding.grid_size is not None and 0 in embedding.grid_size:
        image, patch = map(by, (embedding.img_size, embedding.patch_size))
        raise UserError(
            f"backbone {name} with options {options}: an image of {image} pixels is smaller than a patch of {patch}; "
            "choose a larger img_size"
        )
    return model


def _check_truths(model: type, options: dict[str, Any]) -> None:
    """Refuse a text where timm has true or false, as it takes every text for true."""
    known = [inspect.signature(vars(kind)["__init__"]).parameters for kind in model.__mro__ if "__init__" in vars(kind)]
    for name, said in options.items():
        default = next((parameters[name].default for parameters in known if name in parameters), None)
        if isinstance(default, bool) and isinstance(said, str):
            raise ValueError(f"{name} must be true or false, found the text {said!r}")  # noqa: TRY004


def on_meta(name: str, options: dict[str, Any], classes: int) -> TimmModule:
    """The same without weights, on torch's meta device: it takes no memory and only shapes can be asked of it.

    UserError as `create_backbone`.
    """
    with torch.device("meta"):
        return create_backbone(name, options, classes)


def sizes(model: TimmModule) -> Size:
    """Of a backbone."""
    embedding = model.patch_embed
    image, patch, grid = (tuple(getattr(embedding, name)) for name in ("img_size", "patch_size", "grid_size"))
    return Size(image, patch, grid, len(model.blocks))


def size_of(name: str, options: dict[str, Any]) -> Size:
    """Of a backbone by its name; UserError as `create_backbone`."""
    return sizes(on_meta(name, options, classes=1))


def fitted(model: TimmModule, checkpoint: Checkpoint) -> Checkpoint:
    """Weights of the same timm model, trained for another image size, patch size or number of classes, made to fit.

    timm's own filter resizes embeddings of patches and positions; where the head does not fit, the model's own stays.
    So does then its norm of averaged features, where the file has a norm of all tokens instead, as MAE's: MAE and Cropr
    begin with a new one, too.

    Raises:
        UserError: for weights of another kind of model. What is left over or missing shows when they are loaded.
    """
    timms = sys.modules[type(model).__module__]
    try:
        weights = timms.checkpoint_filter_fn(as_timm(checkpoint.weights), model)
    except (KeyError, IndexError, AttributeError, RuntimeError, AssertionError) as error:
        raise UserError(f"{checkpoint.name} holds no weights of {type(model).__name__} ({error!r})") from error
    own = model.state_dict()
    head = {name: value for name, value in own.items() if name.startswith("head.")}
    if not all(name in weights and weights[name].shape == value.shape for name, value in head.items()):
        weights = {name: value for name, value in weights.items() if not name.startswith("head.")} | head
        averaged = {name: value for name, value in own.items() if name.startswith("fc_norm.")}
        if averaged and not averaged.keys() & weights.keys():
            weights = {name: value for name, value in weights.items() if not name.startswith("norm.")} | averaged
    return replace(checkpoint, weights=weights)
