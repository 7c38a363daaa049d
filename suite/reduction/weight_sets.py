"""Which weights a checkpoint has: raw ones, averaged ones and others, each by a name, without prefixes of wrappers.

Averaged weights lie under a key of their own (`model_ema`, `state_dict_ema`, `ema`), or among the raw ones under
longer names (`ema_model.norm.bias` beside `model.norm.bias`, `ema_norm_bias` beside `norm.bias`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from suite.errors import UserError, suggest

TOP, AVERAGE = "top", "averaged"  # weights outside of any key; averaged ones among raw ones
HOLDERS = ("model", "state_dict", "model_state_dict", "module", "net", TOP)  # raw weights, the most usual first
_WORDS = "(ema|swa|avg|averaged?)"
AVERAGED = re.compile(
    rf"(^|(?<=\.)){_WORDS}([._]|$)|_{_WORDS}(?=[._]|$)", re.IGNORECASE
)  # in ema_model, model_ema, ...
COUNTERS = {"n_averaged", "num_updates", "decay", "step", "steps", "initted"}  # of averages: no weights
PARTS = {"blocks", "patch_embed", "head"}  # of a ViT: no wrappers
CHOICE = "--weights NAME, in a study start_weights"
DEEPEST = 3  # keys inside keys

Weights = dict[str, Tensor]


def weight_sets(content: Mapping[Any, Any]) -> dict[str, tuple[Weights, str]]:
    """Weights by name, each with the prefix that was taken off: one that all names of the set share."""
    found = dict(_mappings(content, ()))
    named = {name: weights for name, weights in found.items() if any("." in key for key in weights)} or found
    split = {place: part for name, weights in named.items() for place, part in _split(name, weights).items()}
    return {name: _without_prefix(weights) for name, weights in split.items()}


def chosen(sets: Mapping[str, Any], asked: str | None, where: str) -> str:
    """The name of the weights that were asked for, else of raw ones, else of the only ones.

    Raises:
        UserError: if there are none, or several of which none is the usual one.
    """
    if asked is not None:
        fitting = [name for name in sets if asked in (name, name.partition(".")[0])]
        if asked not in sets and len(fitting) != 1:
            raise UserError(f"{where} has no weights called {asked!r}; {suggest(asked, sets)}")
        return asked if asked in sets else fitting[0]
    raw = [name for name in sets if not AVERAGED.search(name)] or list(sets)
    usual = [name for holder in HOLDERS for name in raw if name.partition(".")[0] == holder]
    if len(raw) > 1 and not usual:
        raise UserError(f"{where} has several sets of weights, {', '.join(raw)}; choose one with {CHOICE}")
    return (usual or raw)[0]


def _mappings(content: Mapping[Any, Any], place: tuple[str, ...]) -> Iterator[tuple[str, Weights]]:
    """Everything that may be weights, by its place; what an optimiser keeps is none."""
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    weights = {key: value for key, value in tensors.items() if not _counts(key, value)}
    if weights:
        yield ".".join(place) or TOP, weights
    for key, inner in content.items() if len(place) < DEEPEST else ():
        if isinstance(inner, Mapping) and isinstance(key, str) and "optim" not in key.lower():
            yield from _mappings(inner, (*place, key))


def _counts(name: str, value: Tensor) -> bool:
    return name.rpartition(".")[2] in COUNTERS and value.numel() == 1


def _split(place: str, weights: Weights) -> dict[str, Weights]:
    """Raw and averaged weights of one mapping; averaged are those whose names are of raw ones but for one word."""
    marked = {key for key in weights if AVERAGED.search(key)}
    raw, _ = _without_prefix({key: value for key, value in weights.items() if key not in marked})
    bare, _ = _without_prefix({AVERAGED.sub("", key, count=1): weights[key] for key in weights if key in marked})
    names = {_squashed(key): key for key in raw}
    averaged = {names[_squashed(key)]: value for key, value in bare.items() if _squashed(key) in names}
    if not averaged:
        return {place: weights}
    return {place: raw, AVERAGE if place == TOP else f"{place}.{AVERAGE}": averaged}


def _squashed(name: str) -> str:
    return re.sub(r"[._]", "", name)


def _without_prefix(weights: Weights) -> tuple[Weights, str]:
    prefix = ""
    while len(weights) > 1 and len(firsts := {key.partition(".")[0] for key in weights}) == 1:
        first = firsts.pop()
        if first in PARTS or not all(key.startswith(f"{first}.") for key in weights):
            break
        weights, prefix = {key.removeprefix(f"{first}."): value for key, value in weights.items()}, f"{prefix}{first}."
    return weights, prefix
