"""Models with the weights of a file as they are: the unpruned one, under a method, or for smaller images."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor

from suite.errors import UserError
from suite.kinds.off_the_shelf.cells import at_size
from suite.kinds.off_the_shelf.scores import Decode
from suite.kinds.training.cells import known_weights, which_weights
from suite.reduction.attention import TimmModule
from suite.reduction.backbone import create_backbone, fitted, on_meta
from suite.reduction.checkpoints import Checkpoint
from suite.reduction.method import UnmetNeed
from suite.reduction.model import ReducedModel, reduce, unpruned
from suite.reduction.registry import code_digest
from suite.study.cells import Identity
from suite.study.schema import Backbone

BACKBONE = "backbone."  # what names begin with in a file that has a method's weights too, as `suite weights` keeps them
MODEL = ("backbone", "classes", "start", "device")  # of an identity, what decides the unpruned model


class NeedsTraining(UnmetNeed):
    """A method has weights of its own that the file does not bring."""


def whole(identity: Identity, places: dict[str, str]) -> ReducedModel:
    """The unpruned model; UserError for weights that do not fit."""
    backbone = Backbone.model_validate(identity["backbone"])
    file = read(places["start"], identity["start"])
    return unpruned(load(backbone, int(identity["classes"]), file)).deploy()


def reduced(identity: Identity, places: dict[str, str]) -> ReducedModel:
    """The model of a cell, deployed.

    Raises:
        UnmetNeed: if the backbone lacks what the method needs.
        NeedsTraining: for weights that would be random.
        UserError: for weights that do not fit, or other code than the study was planned with.
    """
    file = read(places["other" if "other" in identity else "start"], identity.get("other", identity)["start"])
    loaded = load(backbone_of(identity), int(identity["classes"]), file)
    return under(loaded, file, *method_of(identity, places))


def backbone_of(identity: Identity) -> Backbone:
    """That of a cell: of its own images' size, or of another model."""
    backbone = Backbone.model_validate(identity.get("other", identity)["backbone"])
    return at_size(backbone, tuple(identity["image"])) if "image" in identity else backbone


def untrained(identity: Identity, places: dict[str, str]) -> ReducedModel:
    """The model of a cell with random weights, deployed; `reduced` says what is raised."""
    backbone = backbone_of(identity)
    return reduce(
        create_backbone(backbone.name, backbone.options, identity["classes"]), *method_of(identity, places)
    ).deploy()


def method_of(identity: Identity, places: dict[str, str]) -> tuple[str, tuple[int, ...], dict[str, Any], Any]:
    """What `reduce` is given besides the backbone; UserError if a file has other code than was planned with."""
    name = str(places.get("method", identity["method"]))
    if "code" in identity and (found := code_digest(Path(name))) != identity["code"]:
        raise UserError(f"{name} changed since the study was planned ({found}, planned: {identity['code']}); run again")
    return name, tuple(identity["removed"]), identity["settings"], identity["fusion"]


def decoder(identity: Identity, places: dict[str, str]) -> Decode | None:
    """What makes maps of features, if the study has it; UserError for another file, or none of torch.export."""
    return None if "decoder" not in identity else _decoder(places["decoder"], identity["decoder"], identity["device"])


@functools.lru_cache(maxsize=1)
def _decoder(path: str, known: str, device: str) -> Decode:
    if (found := known_weights(Path(path))) != known:
        raise UserError(f"{path} is not the file that this study was planned with ({found}, planned: {known})")
    try:
        made: Decode = torch.export.load(path).module().to(device)
    except (BadZipFile, RuntimeError, ValueError, OSError, KeyError) as error:
        raise UserError(f"{path} is no program of torch.export that this torch can read: {error}") from error
    return made


def check_decoder(identity: Identity, places: dict[str, str]) -> None:
    """Refuse a program that makes no map of features as the unpruned model has them; UserError."""
    if (decode := decoder(identity, places)) is None:
        return
    (rows, columns), (_, width) = Backbone.model_validate(identity["backbone"]).size().grid, patches_and_width(identity)
    shape = (2, width, rows, columns)
    try:
        found = tuple(decode(torch.zeros(shape, device=identity["device"])).shape)
    except (AssertionError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"decoder: {places['decoder']} does not take features of shape {shape}: {error}") from error
    if found[:2] != (2, 1) or len(found) != 4:
        raise UserError(
            f"decoder: {places['decoder']} makes {found} of features of shape {shape}, not (2, 1, ..., ...)"
        )


def size_of(identity: Identity) -> tuple[int, int]:
    """Height and width of the images that the unpruned model is given."""
    return Backbone.model_validate(identity["backbone"]).size().image


def patches_and_width(identity: Identity) -> tuple[int, int]:
    """Of the unpruned model: patches of an image, and numbers of each."""
    backbone = Backbone.model_validate(identity["backbone"])
    return backbone.size().patches, int(on_meta(backbone.name, backbone.options, 1).embed_dim)


def under(
    backbone: TimmModule, file: Checkpoint, method: str, removed: tuple[int, ...], settings: dict[str, Any], fusion: Any
) -> ReducedModel:
    """A backbone with its weights under a method, deployed, whose own weights the file must bring; as `reduced`."""
    model = reduce(backbone, method, removed, settings, fusion).deploy()
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(BACKBONE)}
    brought = {name: x for name in own if (x := file.weights.get(name)) is not None and x.shape == own[name].shape}
    trained = {name for name, _ in model.named_parameters()}
    if missing := sorted((own.keys() & trained) - brought.keys()):
        count = sum(own[name].numel() for name in missing)
        raise NeedsTraining(
            f"{Path(method).stem} needs training: {count} weights of its own, such as {missing[0]}, are not in "
            f"{Path(file.name).name}"
        )
    model.load_state_dict(brought, strict=False)
    return model.eval()


@functools.lru_cache(maxsize=2)
def read(path: str, known: str) -> Checkpoint:
    """The weights of a file that an identity knows as `known`.

    Raises:
        UserError: if it is another file by now, or holds no weights.
    """
    which = which_weights(known)
    if (found := known_weights(Path(path), which)) != known:
        raise UserError(f"{path} is not the file that this study was planned with ({found}, planned: {known})")
    return Checkpoint.read(path, which)


def load(backbone: Backbone, classes: int, file: Checkpoint) -> TimmModule:
    """A timm model with the weights of a file, embeddings resized as timm does.

    Raises:
        UserError: for weights that do not fit, or a head that the file does not have.
    """
    model = create_backbone(backbone.name, backbone.options, classes).eval()
    inner = {name.removeprefix(BACKBONE): x for name, x in file.weights.items() if name.startswith(BACKBONE)}
    found = fitted(model, Checkpoint(file.name, inner or file.weights, {}))
    _check_head(model, found, backbone.name)
    found.load_into(model)
    return model


def _check_head(model: TimmModule, found: Checkpoint, name: str) -> None:
    """Refuse a head, or a last norm, that would stay random."""
    own: dict[str, Tensor] = model.state_dict()
    new = [key for key, x in own.items() if key in found.weights and found.weights[key].data_ptr() == x.data_ptr()]
    if new and own[new[0]].numel():
        cure = "say how many classes its head has as `classes`, 0 for a file without one"
        if "head" not in new[0]:
            cure = "its feature is made in another way; say so among the backbone's options, such as global_pool: token"
        raise UserError(
            f"{found.name} has no {new[0]} of shape {tuple(own[new[0]].shape)} for {name}, and what is new would be "
            f"scored; {cure}"
        )
