"""Where a training stands, kept on disk so that a killed one goes on from there to the same end."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from suite.reduction.registry import PACKAGE, code_digest
from suite.terminal import warn

KEPT = 2  # states, the newest
SUFFIX, BESIDE = ".state", "writing"
State = Mapping[str, Any]


@functools.cache
def training_code() -> str:
    """Hash of the code that trains: states of other code are not gone on from, because the end would be another."""
    import torch

    home, spec = Path(__file__).parents[1], importlib.util.find_spec(PACKAGE)
    folders = [home / room for room in ("tasks", "reduction", "data")]
    folders += map(Path, (spec.submodule_search_locations or ()) if spec else ())
    digests = [code_digest(path) for folder in folders for path in sorted(folder.rglob("*.py"))]
    return hashlib.sha256("".join([*digests, str(torch.__version__)]).encode()).hexdigest()


class Saved:
    """States of one training in a folder; none without a folder.

    A state is written beside and renamed, with its hash in its name. The two newest are kept, until it is done.

    Attributes:
        facts: what is recorded of every epoch besides its scores; part of every state.
    """

    def __init__(self, folder: Path | None, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.seconds, self.clock, self.last = folder, 60 * minutes, clock, clock()
        self.facts: list[dict[str, float]] = []

    def due(self) -> bool:
        """Whether it is time to save again."""
        return self.folder is not None and self.clock() - self.last >= self.seconds

    def save(self, state: State, done: int) -> None:
        """Keep a state after so many updates."""
        import torch

        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / BESIDE
        with beside.open("wb") as file:
            torch.save({"code": training_code(), "facts": self.facts, "state": state}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.folder / f"{done:012}-{_digest(beside)}{SUFFIX}")
        for old in self._found()[KEPT:]:
            old.unlink(missing_ok=True)
        self.last = self.clock()

    def load(self) -> Any:
        """The newest state that is whole and of this code; None without one. What is passed over is said."""
        for path in self._found():
            found, problem = _read(path)
            if not problem:
                self.facts = found["facts"]
                return found["state"]
            warn(f"{path} {problem}; the training goes on from what is before it")
        return None

    def clear(self) -> None:
        """The training is done."""
        for path in self._found():
            path.unlink(missing_ok=True)
        if self.folder is not None and self.folder.is_dir():
            (self.folder / BESIDE).unlink(missing_ok=True)
            self.folder.rmdir()

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{SUFFIX}"), reverse=True) if self.folder is not None else []


def _read(path: Path) -> tuple[Any, str]:
    """A state with its facts, and what is wrong with it."""
    import torch

    if not path.stem.endswith(_digest(path)):
        return None, "is cut off or damaged"
    found = torch.load(path, weights_only=False, map_location="cpu")
    return found, "" if found["code"] == training_code() else "is of other code"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
