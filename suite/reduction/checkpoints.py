"""Read a checkpoint without running code from it."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.errors import UserError

Source = str | Path | Mapping[str, Any]

HOLDERS = ("model", "state_dict", "model_ema")  # under these keys training scripts keep the weights
WRAPPERS = ("module.", "_orig_mod.")  # prefixes of data-parallel and of compiled models
_numpy_scalar = np.float64(0).__reduce__()[0]
HARMLESS: list[Any] = [  # what training scripts store beside weights: their arguments, and scores as numpy numbers
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in "?bhilqBHILQefd"),
    (_numpy_scalar, "numpy.core.multiarray.scalar"),
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
]


@dataclass(frozen=True)
class Checkpoint:
    """Weights by name, and the arguments of the training script where the file has them.

    Attributes:
        name: the file's name, for messages.
        weights: floating point tensors as float32.
        arguments: of the training script; empty if the file has none.
    """

    name: str
    weights: dict[str, Tensor]
    arguments: dict[str, Any]

    @classmethod
    def read(cls, source: Source) -> Checkpoint:
        """Read a file (of torch or safetensors), or take a state dict, possibly inside what a training script saved.

        UserError if the file is missing, broken, holds code, or has no weights in it.
        """
        name, content = (
            ("the state dict", source) if isinstance(source, Mapping) else (str(source), _open(Path(source)))
        )
        if not isinstance(content, Mapping):
            raise UserError(f"{name} holds a {type(content).__name__}; a checkpoint is a mapping of names to tensors")
        holder = next((content[key] for key in HOLDERS if isinstance(content.get(key), Mapping)), content)
        weights = {str(key): value for key, value in holder.items() if isinstance(value, Tensor)}
        if not weights:
            raise UserError(
                f"{name} has no tensors in it, neither at the top nor under {' or '.join(HOLDERS)}; "
                f"it has {', '.join(map(str, list(content)[:5])) or 'nothing'}"
            )
        while prefix := next((prefix for prefix in WRAPPERS if all(key.startswith(prefix) for key in weights)), ""):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
        _refuse_unusable(name, weights)
        stored = content.get("args", {})
        arguments = vars(stored) if isinstance(stored, argparse.Namespace) else stored
        floats = {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
        return cls(name, floats, dict(arguments) if isinstance(arguments, Mapping) else {})

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
        wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        found = {key: tuple(value.shape) for key, value in self.weights.items()}
        missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        other = sorted(key for key in wanted.keys() & found.keys() if wanted[key] != found[key])
        problems = [f"lacks {_some(missing)}" for _ in missing[:1]]
        problems += [f"has {_some(extra)} too many" for _ in extra[:1]]
        problems += [f"has {key} of shape {found[key]} instead of {wanted[key]}" for key in other[:1]]
        if problems:
            raise UserError(f"{self.name} does not fit {type(model).__name__}: it {', and '.join(problems)}")


def _open(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: {'it is a folder' if path.is_dir() else 'no such file'}")
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # torch raises half a dozen types for a broken file
        with torch.serialization.safe_globals(HARMLESS):
            foreign = _code_in(path, error)
        if foreign:
            raise UserError(
                f"{path} holds Python objects besides weights ({foreign}), and loading those could run code from the "
                "file; where you trust it, save its state_dict alone with torch.save and load that"
            ) from error
        raise UserError(
            f"{path} is not a complete checkpoint of torch or safetensors ({type(error).__name__}); it may have been "
            "cut off or be something else: download or copy it again"
        ) from error


def _code_in(path: Path, error: Exception) -> str:
    """Names of the Python objects that made loading fail, without running them; empty if that was not the reason."""
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not a file that torch can look into; its message names the object in an old format
        found = re.findall(r"GLOBAL ([\w.]+)", str(error))
    return ", ".join(sorted(found)[:3])


def _refuse_unusable(name: str, weights: dict[str, Tensor]) -> None:
    for key, value in weights.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_complex():
            raise UserError(f"{name} has {key} in a form that is not supported; save plain real numbers on the CPU")
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(
                f"{name} has values in {key} that are not finite; training went wrong, or the file is broken"
            )


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more tensors"
