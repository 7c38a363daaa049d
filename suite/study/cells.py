"""The smallest pieces of work that are run, recorded and found again, and what is handed to the process that runs one.

A cell's id hashes all that decides its result, before anything runs. Two studies that ask for the same cell share it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

Identity = dict[str, Any]
Result = dict[str, Any]


class How(NamedTuple):
    """What of a training changes no result.

    Attributes:
        checkpoint_minutes: how often it writes down where it stands.
        keep: which weights of a row it leaves behind: of the `last` or the `best` epoch; empty for none.
    """

    checkpoint_minutes: float = 15.0
    keep: str = ""


def id_of(identity: Identity) -> str:
    """The id of a cell: a hash of its identity."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


LENGTH = re.compile(r"(?:^|, )(\d+) epochs$")  # how labels of schedules end where a study has several lengths


def shown(schedule: str) -> str:
    """What of a schedule's label tells rows of a study apart: the length of training where there are several."""
    length = LENGTH.search(schedule)
    return f"{length[1]} epochs" if length else schedule


@dataclass(frozen=True)
class Cell:
    """One piece of work.

    Attributes:
        identity: all that decides the result; `cell_id` is its hash.
        row, schedule: the labels under which the study shows it.
        start: id of the base cell whose weights it starts from, if any.
        places: where on this machine `folder` (of data) and `start` (a file of weights) are, for those it needs; the
            identity has their digests instead.
        how: what of it changes no result: see `How`.
    """

    identity: Identity
    row: str
    schedule: str
    start: str | None = None
    places: dict[str, str] = field(default_factory=dict)
    how: How = field(default_factory=How)

    @functools.cached_property
    def cell_id(self) -> str:
        return id_of(self.identity)

    @property
    def kind(self) -> str:
        """What its study calls cells of its sort, such as `accuracy`."""
        return str(self.identity["kind"])

    @property
    def of_row(self) -> bool:
        """Whether it belongs to a row of the table; a model that rows start from belongs to none."""
        return "method" in self.identity

    @property
    def threads(self) -> int:
        """Processor threads the cell computes with."""
        return int(self.identity["threads"])

    @property
    def processes(self) -> int:
        """Processes that compute it together, each with so many threads, and on cuda with a GPU."""
        return int(self.identity.get("recipe", {}).get("processes", 1))

    @property
    def cores(self) -> int:
        """Threads of all its processes."""
        return self.threads * self.processes

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return str(self.identity["device"])

    @property
    def gpus(self) -> int:
        """GPUs of all its processes."""
        return self.processes if self.device == "cuda" else 0

    @property
    def alone(self) -> bool:
        """Whether nothing else may run on its machine meanwhile."""
        return "speed" in self.identity

    @property
    def variant(self) -> str:
        """What tells it from its row's other cells of its kind: a seed or a batch size; empty without either."""
        if "speed" in self.identity:
            return f"batch {self.identity['speed']['batch_size']}"
        return f"seed {self.identity['seed']}" if "seed" in self.identity else ""

    @property
    def steps(self) -> int:
        """How many steps of progress the cell reports: epochs, or 1 where nothing is trained."""
        return int(self.identity.get("recipe", {}).get("epochs", 1))


@dataclass(frozen=True)
class Job:
    """A cell to run.

    Attributes:
        identity, places, how: see `Cell`; `places` also has `scratch`, a folder for temporary files.
        weights: the file of those of the base cell that it starts from; None where there is none.
        progress: called with the number of steps done, or the part of the only one.
    """

    identity: Identity
    weights: Path | None
    progress: Callable[[float], None] = lambda _steps: None
    places: dict[str, str] = field(default_factory=dict)
    how: How = field(default_factory=How)


Work = Callable[[Job], Result]  # what runs a cell: a function of a module, because other processes import it by name
