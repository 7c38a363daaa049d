"""Published numbers that follow from a model's shape alone, computed on the meta device: no weights, no data."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import ValidationError

from suite.errors import UserError, suggest
from suite.strict import explain
from suite.study.configuration import Configuration

if TYPE_CHECKING:
    from suite.reduction.blocks import TimmModule
    from suite.reduction.model import ReducedModel

Value = tuple[int | float, ...]
Progress = Callable[[int, int], None]
UNITS = {"count": 1, "tokens": 1, "M": 1e6, "%": 0.01}  # what one of the unit is


def probe(kind: str, asked: str, unit: str) -> Value:
    """Compute what is asked of a model; `asked` is a configuration as JSON, as `suite flops` takes them.

    Raises:
        UserError: for a probe, a unit or a configuration that is not known.
    """
    if kind not in PROBES:
        raise UserError(f"there is no probe {kind!r}; {suggest(kind, PROBES)}")
    if unit not in UNITS:
        raise UserError(f"a probe cannot say {unit!r}; {suggest(unit, UNITS)}")
    return tuple(value if UNITS[unit] == 1 else value / UNITS[unit] for value in PROBES[kind](asked))


def _trained_parameters(asked: str) -> Value:
    """Parameters that learn, of everything that training needs."""
    return (_parameters(_assembled(asked)),)


def _deployed_parameters(asked: str) -> Value:
    """Parameters that learned, of what is left when only training's parts are dropped."""
    return (_parameters(_deployed(_configuration(asked))),)


def _tokens(asked: str) -> Value:
    """Tokens, prefix included, that leave each block that removes some."""
    from suite.measure.tokens import expected_tokens

    model = _assembled(asked)
    leaving, removed = expected_tokens(model).leaving, model.method.context.schedule.removed
    return tuple(tokens for tokens, count in zip(leaving, removed, strict=True) if count)


def _removed_share(asked: str) -> Value:
    """Patches that are removed by the last block that removes any, of all."""
    schedule = _assembled(asked).method.context.schedule
    return (sum(schedule.removed) / schedule.patches,)


def _patches(asked: str) -> Value:
    """Patches of an image."""
    rows, columns = _backbone_of(_configuration(asked)).patch_embed.grid_size
    return (rows * columns,)


def _cost_change(convention: str, asked: str) -> Value:
    """Multiply-accumulates of the deployed model less those of the unpruned one, of those of the unpruned one."""
    from suite.measure.count import count

    configuration = _configuration(asked)
    read_out = configuration.read_out
    own, whole = (
        getattr(count(_deployed(each), read_out).macs, convention) for each in (configuration, configuration.unpruned())
    )
    return (own / whole - 1,)


PROBES: dict[str, Callable[[str], Value]] = {
    "trained parameters": _trained_parameters,
    "deployed parameters": _deployed_parameters,
    "tokens": _tokens,
    "removed share": _removed_share,
    "patches": _patches,
    "change of cost, full": functools.partial(_cost_change, "full"),
    "change of cost, linear": functools.partial(_cost_change, "linear"),
}


@functools.cache
def backbone_on_meta(name: str, options: str, classes: int) -> TimmModule:
    """A backbone without weights, built once; `options` for timm's `create_model`, as JSON.

    Raises:
        UserError: if timm does not know it, or its blocks are not supported.
    """
    from suite.reduction.backbone import on_meta

    return on_meta(name, json.loads(options), classes).eval()


def _backbone_of(configuration: Configuration) -> TimmModule:
    backbone = configuration.backbone
    return backbone_on_meta(backbone.name, json.dumps(backbone.options), configuration.classes)


def _deployed(configuration: Configuration) -> ReducedModel:
    return configuration.build(backbone=_backbone_of(configuration))


def _configuration(asked: str) -> Configuration:
    try:
        return Configuration.model_validate(json.loads(asked))
    except json.JSONDecodeError as error:
        raise UserError(f"{asked!r} is no configuration in JSON: {error}") from error
    except ValidationError as error:
        raise UserError(explain(error)) from error


@functools.lru_cache(maxsize=1)
def _assembled(asked: str) -> ReducedModel:
    """The model with all that training needs, on the meta device."""
    configuration = _configuration(asked)
    return configuration.build(deployed=False, backbone=_backbone_of(configuration))


def _parameters(model: ReducedModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
