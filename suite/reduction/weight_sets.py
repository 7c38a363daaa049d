"""Which weights a checkpoint has: raw ones, averaged ones and others, each by a name, without prefixes of wrappers.

Averaged weights lie under a key of their own (`model_ema`, `state_dict_ema`, `ema`), or among the raw ones under
longer names (`ema_model.norm.bias` beside `model.norm.bias`, `ema_norm_bias` beside `norm.bias`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from suite.errors import UserError, suggest

TOP, AVERAGE = "top", "averaged"  # weights outside of any key; averaged ones among raw ones
BEST = "ema_best"  # whether averaged weights are the better ones (github JoakimHaurum/TokenReduction)
HOLDERS = ("model", "state_dict", "model_state_dict", "module", "net", TOP)  # raw weights, the most usual first
_WORDS = r"(ema|swa|avg|averaged?)s?\d*"
AVERAGED = re.compile(
    rf"(^|(?<=\.)){_WORDS}([._]|$)|(?<!exp)_{_WORDS}(?=[._]|$)", re.IGNORECASE
)  # in ema_model, model_ema, ..., but not in what Adam keeps, exp_avg
SHADOW = re.compile(rf"{AVERAGED.pattern}|^shadow_params$", re.IGNORECASE)
COUNTERS = {"n_averaged", "num_updates", "decay", "step", "steps", "initted"}  # of averages: no weights
PARTS = {"blocks", "patch_embed", "head"}  # of a ViT: no wrappers
CHOICE = "--weights NAME, in a study start_weights"
DEEPEST = 3  # keys inside keys
FATHOMED = 20  # of those that are looked at, if not taken

Weights = dict[str, Tensor]


def weight_sets(content: Mapping[Any, Any]) -> dict[str, tuple[Weights, str]]:
    """Weights by name, each with the prefix that was taken off: one that all names of the set share."""
    found = dict(_mappings(content, ()))
    named = {name: weights for name, weights in found.items() if any("." in key for key in weights)} or found
    return {place: part for name, weights in named.items() for place, part in _split(name, weights).items()}


def hidden(content: Any, sets: Mapping[str, Any], place: str = "", above: tuple[int, ...] = ()) -> list[str]:
    """Where averaged weights lie that are none of the sets: in lists, without names, too deep."""
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping) or id(content) in above or len(above) > FATHOMED:
        return []
    found = list[str]()
    for key, inner in content.items():
        here, averaged = f"{place}.{key}".removeprefix("."), bool(SHADOW.search(str(key)))
        if isinstance(inner, Tensor) or _of_optimiser(str(key)):
            continue
        taken = any(f"{name}.".startswith(f"{here}.") for name in sets)
        found += [here] if averaged and not taken and _has_weights(inner) else []
        if not averaged or taken:
            found += hidden(inner, sets, here, (*above, id(content)))
    return found


def _has_weights(content: Any, depth: int = 0) -> bool:
    if isinstance(content, Tensor):
        return content.numel() > 1
    if isinstance(content, Mapping):
        content = list(content.values())
    return isinstance(content, list | tuple) and depth < FATHOMED and any(_has_weights(x, depth + 1) for x in content)


def better(content: Mapping[Any, Any], sets: Iterable[str]) -> str | None:
    """The averaged weights, if the file itself says that they are better than the raw ones."""
    averaged = [name for name in sets if AVERAGED.search(name)]
    return averaged[0] if content.get(BEST) is True and averaged else None


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
        if isinstance(inner, Mapping) and isinstance(key, str) and not _of_optimiser(key):
            yield from _mappings(inner, (*place, key))


def _of_optimiser(key: str) -> bool:
    return "optim" in key.lower() and not SHADOW.search(key)


def _counts(name: str, value: Tensor) -> bool:
    return name.rpartition(".")[2] in COUNTERS and value.numel() == 1


def _split(place: str, weights: Weights) -> dict[str, tuple[Weights, str]]:
    """Raw and averaged weights of one mapping, with the prefix taken off.

    Averaged are those whose names are of raw ones but for one word, with their prefix or without it.
    """
    marked = {key for key in weights if AVERAGED.search(key)}
    rest = {key: value for key, value in weights.items() if key not in marked}
    bare = {AVERAGED.sub("", key, count=1): weights[key] for key in weights if key in marked}
    (raw, prefix), (_, own) = _without_prefix(rest), _without_prefix(bare)
    short, full = ({_squashed(start + key): key for key in raw} for start in ("", prefix))
    candidates = [
        (_renamed(bare, names, off), said)
        for names, off, said in ((full, "", prefix), (short, "", ""), (short, own, own))
    ]
    averaged, said = max(candidates, key=lambda candidate: len(candidate[0]))
    if not averaged:
        return {place: _without_prefix(weights)}
    return {place: (raw, prefix), AVERAGE if place == TOP else f"{place}.{AVERAGE}": (averaged, said)}


def _renamed(weights: Weights, names: Mapping[str, str], prefix: str) -> Weights:
    """Those that have one of the names, but for a prefix and what separates words."""
    pairs = [(names.get(_squashed(key.removeprefix(prefix))), value) for key, value in weights.items()]
    return {name: value for name, value in pairs if name is not None}


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
