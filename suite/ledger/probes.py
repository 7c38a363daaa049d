"""Published numbers that follow from a model's shape alone, computed on the meta device: no weights, no data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from suite.errors import UserError, suggest
from suite.study.configuration import Configuration

if TYPE_CHECKING:
    from suite.reduction.attention import TimmModule
    from suite.reduction.model import ReducedModel

Value = tuple[int | float, ...]
UNITS = {"count": 1, "tokens": 1, "M": 1e6, "%": 0.01}  # what one of the unit is


def probe(kind: str, model: Configuration, unit: str) -> Value:
    """Compute what is asked of a model, in the unit.

    Raises:
        UserError: for a unit that is not known, or a model that cannot be.
    """
    if unit not in UNITS:
        raise UserError(f"a probe has no unit {unit!r}; {suggest(unit, UNITS)}")
    return tuple(value if UNITS[unit] == 1 else value / UNITS[unit] for value in PROBES[kind](model))


def _parameters(deployed: bool, configuration: Configuration) -> Value:
    """Parameters that learn, of everything that training needs, or of what is left without training's own parts."""
    parameters = _built(configuration, deployed).parameters()
    return (sum(parameter.numel() for parameter in parameters if parameter.requires_grad),)


def _tokens(configuration: Configuration) -> Value:
    """Tokens, prefix included, that leave each block that removes some."""
    from suite.measure.tokens import expected_tokens

    model = _built(configuration)
    leaving, removed = expected_tokens(model).leaving, model.method.context.schedule.removed
    return tuple(tokens for tokens, count in zip(leaving, removed, strict=True) if count)


def _removed_share(configuration: Configuration) -> Value:
    """Patches that are removed by the last block that removes any, of all."""
    schedule = _built(configuration).method.context.schedule
    return (sum(schedule.removed) / schedule.patches,)


def _patches(configuration: Configuration) -> Value:
    """Patches of an image."""
    rows, columns = _built(configuration.unpruned()).backbone.patch_embed.grid_size
    return (rows * columns,)


def _cost_change(convention: str, configuration: Configuration) -> Value:
    """Multiply-accumulates of the deployed model less those of the unpruned one, of those of the unpruned one."""
    from suite.measure.count import count

    models = (_built(each) for each in (configuration, configuration.unpruned()))
    own, whole = (float(getattr(count(model, configuration.read_out).macs, convention)) for model in models)
    return (own / whole - 1,)


PROBES: dict[str, Callable[[Configuration], Value]] = {
    "trained parameters": functools.partial(_parameters, False),
    "deployed parameters": functools.partial(_parameters, True),
    "tokens": _tokens,
    "removed share": _removed_share,
    "patches": _patches,
    "change of cost, full": functools.partial(_cost_change, "full"),
    "change of cost, linear": functools.partial(_cost_change, "linear"),
}


def _built(configuration: Configuration, deployed: bool = True) -> ReducedModel:
    return configuration.build(deployed=deployed, backbone=_backbone(configuration.unpruned().model_dump_json()))


@functools.cache
def _backbone(unpruned: str) -> TimmModule:
    """A backbone without weights, built once."""
    return Configuration.model_validate_json(unpruned).build_backbone()
