"""Where a training stands, kept on disk so that a killed one goes on from there to the same end."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import time
from collections.abc import Callable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from suite.reduction.registry import PACKAGE, code_digest
from suite.tasks.pace import Pace
from suite.terminal import warn

KEPT = 2  # states, the newest
LIBRARIES = {"torch", "torchvision", "timm", "numpy", "pillow", "onedl-mmsegmentation", "onedl-mmengine", "onedl-mmcv"}
SUFFIX, BESIDE = ".state", "writing"
State = Mapping[str, Any]


@functools.cache
def training_code() -> str:
    """Hash of the code that trains and of versions of libraries: from a state of others the end would be another."""
    home, spec = Path(__file__).parents[1], importlib.util.find_spec(PACKAGE)
    folders = [home / room for room in ("tasks", "reduction", "data")]
    folders += map(Path, (spec.submodule_search_locations or ()) if spec else ())
    files = [home / "seeds.py", *(path for folder in folders for path in sorted(folder.rglob("*.py")))]
    versions = sorted(f"{one.name} {one.version}" for one in distributions() if one.name.lower() in LIBRARIES)
    return hashlib.sha256("".join([*map(code_digest, files), *versions]).encode()).hexdigest()[:16]


class Saved:
    """States of one training in a folder; none without a folder.

    A state is written beside and renamed, with the hashes of its code, of the weights that the training started from,
    where that is known, and of itself in its name. The two newest are kept.

    Attributes:
        facts: what is recorded of every epoch; part of every state.
        spent: seconds that it had taken when the state was saved from which it goes on.
        pace: how fast its updates are; part of every state.
    """

    def __init__(
        self, folder: Path | None, minutes: float, clock: Callable[[], float] = time.monotonic, start: str = ""
    ) -> None:
        self.folder, self.seconds, self.clock, self.last = folder, 60 * minutes, clock, clock()
        self.start = start[:16]
        self.facts: list[dict[str, float]] = []
        self.began, self.spent, self.passed = self.last, 0.0, list[Path]()
        self.pace = Pace()

    @property
    def seconds_so_far(self) -> float:
        """What the training has taken, with what it took before it was stopped."""
        return self.spent + self.clock() - self.began

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
            pace = {"rates": self.pace.rates, "memory": self.pace.memory}
            torch.save({"facts": self.facts, "spent": self.seconds_so_far, "pace": pace, "state": state}, file)
            file.flush()
            os.fsync(file.fileno())
        while self.passed:  # else they were the newest
            self.passed.pop().unlink(missing_ok=True)
        beside.replace(self.folder / f"{done:012}-{training_code()}-{self.start}-{_digest(beside)}{SUFFIX}")
        for old in self._found()[KEPT:]:
            old.unlink(missing_ok=True)
        self.last = self.clock()

    def load(self) -> Any:
        """The newest state that is whole, of this code and start; None without one. What is passed over is said."""
        import torch

        for path in self._found():
            if not (problem := self._problem(path)):
                found = torch.load(path, weights_only=False, map_location="cpu")
                self.facts, self.spent = found["facts"], found["spent"]
                self.pace.rates, self.pace.memory = found["pace"]["rates"], found["pace"]["memory"]
                return found["state"]
            warn(f"{path} {problem}; the training goes on from what is before it")
            self.passed.append(path)
        return None

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{SUFFIX}"), reverse=True) if self.folder is not None else []

    def _problem(self, path: Path) -> str:
        """What is wrong with a state; empty if nothing is. Of other code it is not opened: it may need what is gone."""
        _, *hashes = path.stem.split("-")
        if hashes[:1] != [training_code()]:
            return "is of other code"
        if hashes[1:2] != [self.start]:
            return "started from other weights"
        return "" if hashes[2:] == [_digest(path)] else "is cut off or damaged"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
