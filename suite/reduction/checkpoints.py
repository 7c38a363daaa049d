"""Read a checkpoint without running code from it."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from suite.errors import UserError
from suite.reduction.weight_sets import BEST, CHOICE, TOP, better, chosen, hidden, weight_sets
from suite.reduction.weights_file import open_file

Source = str | Path | Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """Weights by name, and the arguments of the training script where the file has them.

    Attributes:
        name: the file's name, for messages.
        weights: floating point tensors as float32.
        arguments: of the training script; empty if the file has none.
        chosen: which of the file's weights they are.
        others: which others it has.
        prefix: what all names began with, and begin with no more.
        hidden: where it has averaged weights that cannot be chosen.
        asked: whether somebody chose them.
        flagged: whether the file itself says that they, averaged ones, are the better ones.
    """

    name: str
    weights: dict[str, Tensor]
    arguments: dict[str, Any]
    chosen: str = TOP
    others: tuple[str, ...] = ()
    prefix: str = ""
    hidden: tuple[str, ...] = ()
    asked: bool = False
    flagged: bool = False

    @classmethod
    def read(cls, source: Source, asked: str | None = None) -> Checkpoint:
        """Read a file (of torch or safetensors), or take a state dict, possibly inside what a training script saved.

        `asked`: which of several weights in it; by default raw ones before averaged ones, unless the
        file says that those are better.

        UserError if the file is missing, broken, holds code, or has no weights in it, or not those.
        """
        name, content = (
            ("the state dict", source) if isinstance(source, Mapping) else (str(source), open_file(Path(source)))
        )
        if not isinstance(content, Mapping):
            raise UserError(f"{name} holds a {type(content).__name__}; a checkpoint is a mapping of names to tensors")
        sets = weight_sets(content)
        unseen = tuple(hidden(content, sets))
        if not sets and unseen:
            raise UserError(
                f"{name} has averaged weights under {', '.join(unseen[:3])} alone, without names or too deep; "
                "save them as a state_dict"
            )
        if not sets:
            raise UserError(
                f"{name} has no tensors in it, neither at the top nor under a key; "
                f"it has {', '.join(map(str, list(content)[:5])) or 'nothing'}"
            )
        best = better(content, sets) if asked is None else None
        which = chosen(sets, asked or best, name)
        weights, prefix = sets.pop(which)
        _refuse_unusable(name, weights)
        stored = content.get("args", {})
        arguments = vars(stored) if isinstance(stored, argparse.Namespace) else stored
        floats = {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
        known = dict(arguments) if isinstance(arguments, Mapping) else {}
        return cls(name, floats, known, which, tuple(sets), prefix, unseen, asked is not None, best is not None)

    def __contains__(self, key: str) -> bool:
        return key in self.weights

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of a tensor; UserError if there is none of that name."""
        if key not in self.weights:
            raise UserError(f"{self.name} has no tensor {key}, so it is not a checkpoint of a Vision Transformer")
        return tuple(self.weights[key].shape)

    def without(self, prefix: str) -> Checkpoint:
        """The same without the tensors whose names start with `prefix`."""
        return replace(self, weights={key: x for key, x in self.weights.items() if not key.startswith(prefix)})

    @property
    def said(self) -> str:
        """Which weights of the file were taken, for readers; empty where there is no other choice and no prefix."""
        which = [self.chosen] if self.others or self.hidden or self.chosen != TOP else []
        which += [f"better by its {BEST}"] if self.flagged else []
        taken = [f"without the prefix {self.prefix} of all names"] if self.prefix else []
        cure = "" if self.asked else f"; choose with {CHOICE}"
        others = [f"the file has {', '.join(self.others)} too{cure}"] if self.others else []
        if self.hidden:
            others.append(f"the file has averaged weights under {', '.join(self.hidden[:3])} that cannot be chosen")
        return ", ".join([*which, *taken]) + "".join(f" ({other})" for other in others)

    @property
    def beginnings(self) -> str:
        """What names begin with, the most frequent first; a wrapper's word does not stand before all of them."""
        found = Counter(key.partition(".")[0] for key in self.weights)
        shown = ", ".join(f"{first} ({count} of {len(self.weights)})" for first, count in found.most_common(4))
        return f"its names begin with {shown}"

    @property
    def depth(self) -> int:
        """Number of blocks."""
        found = {int(match[1]) for key in self.weights if (match := re.match(r"blocks\.(\d+)\.", key))}
        return len(found)

    def load_into(self, model: torch.nn.Module) -> None:
        """Load all weights into a model of exactly these names and shapes; UserError naming what does not fit."""
        self.check_fit(model)
        model.load_state_dict(self.weights)

    def check_fit(self, model: torch.nn.Module) -> None:
        """Refuse a model of other names or shapes; UserError naming what does not fit."""
        own = model.state_dict()
        wanted = {key: tuple(value.shape) for key, value in own.items()}
        found = {key: tuple(value.shape) for key, value in self.weights.items()}
        missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        other = sorted(key for key in wanted.keys() & found.keys() if wanted[key] != found[key])
        floating = {key for key, value in own.items() if value.is_floating_point()}
        whole = sorted(key for key, x in self.weights.items() if key in floating and not x.is_floating_point())
        problems = [f"lacks {_some(missing)}" for _ in missing[:1]]
        problems += [f"has {_some(extra)} too many" for _ in extra[:1]]
        problems += [f"has whole numbers in {key}, which are no weights without a scale" for key in whole[:1]]
        problems += [f"has {key} of shape {found[key]} instead of {wanted[key]}" for key in other[:1]]
        if problems:
            raise UserError(f"{self.name} does not fit {type(model).__name__}: it {', and '.join(problems)}")


def _refuse_unusable(name: str, weights: dict[str, Tensor]) -> None:
    for key, value in weights.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_complex():
            raise UserError(f"{name} has {key} in a form that is not supported; save plain real numbers on the CPU")
        if value.is_floating_point() and value.dtype.itemsize < 2:
            raise UserError(f"{name} has {key} in 8 bits, which are no weights without a scale; save it as float32")
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(
                f"{name} has values in {key} that are not finite; training went wrong, or the file is broken"
            )


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more tensors"
