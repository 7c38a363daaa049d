"""Time the official code of each method and this suite side by side, with equal weights and equal images.

Each side keeps one process for a case; the two take turns, round by round, so that a machine that drifts slows both;
the ratio is formed per round. Every case is launched several times, because where a process's memory happens to lie
weighs as much as small changes of code. A profile of both says how much of the time goes into operators that no code
can do without.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
from rich.console import Console

from suite.errors import UserError, suggest
from suite.kinds.official.models import CASES
from suite.kinds.official.record import SETTING, Rows, check, keep
from suite.measure.allocator import ENVIRONMENT
from suite.measure.machine import busy
from suite.study.provenance import device_name

CLOSE = 2e-4  # largest difference between the logits, of unit size, of models this deep in float32
WARM_UP = 3  # passes
LEAST = 1e-3  # share of a pass; operators below it are left out


@dataclass(frozen=True)
class Options:
    """What is raced, and for how long.

    `code`: checkouts of official repositories, by `models.Case.code`; `python`: interpreter for them. `cases` are by
    default those ending in -s whose checkout is there. A launch has at least so many rounds and seconds.
    """

    code: Mapping[str, Path]
    python: str = sys.executable
    cases: Sequence[str] = ()
    batches: Sequence[int] = (1, 16)
    rounds: int = 7
    seconds: float = 10.0
    launches: int = 3
    threads: int = 1
    device: str = "cpu"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"


def run(options: Options, folder: Path, console: Console) -> None:
    """Race every case and keep each in the record of `folder`; UserError as `race`, `check`, or without a checkout."""
    check(folder)
    for name in _chosen(options):
        for batch in options.batches:
            rows, spent = Rows(), Rows()
            for launch in range(options.launches):
                console.print(f"{name}, batch {batch}, launch {launch}", highlight=False)
                measured, spent = race(name, batch, launch, options)
                rows += measured
            keep(rows, spent, folder)


def _chosen(options: Options) -> list[str]:
    for what, names, known in (("case", options.cases, CASES), ("code", options.code, _codes())):
        for name in names:
            if name not in known:
                raise UserError(f"unknown {what} {name!r}; {suggest(name, known)}")
    there = [name for name, case in CASES.items() if case.code in options.code]
    if lacking := [name for name in options.cases if name not in there]:
        raise UserError(f"{', '.join(lacking)}: no official code; give --code {CASES[lacking[0]].code}=FOLDER")
    if not there:
        raise UserError(f"no official code; give --code NAME=FOLDER, NAME one of {', '.join(_codes())}")
    chosen = list(options.cases) or [name for name in there if name.endswith("-s")]
    for case in map(CASES.__getitem__, chosen):
        path = options.code[case.code] / case.module
        if not path.with_suffix(".py").is_file() and not (path / "__init__.py").is_file():
            raise UserError(
                f"{options.code[case.code]} is no checkout of {case.code}'s official code: it has neither "
                f"{case.module}/ nor {case.module}.py; give the folder that git clone made as --code {case.code}=FOLDER"
            )
    return chosen


def _codes() -> list[str]:
    return list(dict.fromkeys(case.code for case in CASES.values()))


class Side:
    """The process of one side, which times a forward pass when it is asked to."""

    def __init__(self, side: Literal["official", "own"], name: str, batch: int, options: Options) -> None:
        asked = {"side": side, "case": name, "batch": batch, "folder": str(options.code[CASES[name].code].resolve())}
        asked |= {key: value for key, value in asdict(options).items() if key in ("threads", "device", "precision")}
        python = options.python if side == "official" else sys.executable
        self.name = f"the {side} code of {name}"
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (a pipe may fill up; `end` closes it)
        self.process = subprocess.Popen(  # noqa: S603
            [python, str(Path(__file__).with_name("serve.py")), json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=os.environ | ENVIRONMENT,
        )

    def ask(self, question: Any) -> Any:
        """Send one line and read one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            code = self.process.wait()
            self.errors.seek(0)
            last = (self.errors.read().strip().splitlines() or ["it wrote nothing"])[-1]
            raise UserError(f"{self.name} ended with exit code {code}: {last}")
        return json.loads(answer)

    def end(self) -> None:
        """Stop the process."""
        self.process.terminate()
        self.process.communicate()
        self.errors.close()


def race(name: str, batch: int, launch: int, options: Options) -> tuple[Rows, Rows]:
    """All rounds of one launch of a case, and both profiles; UserError if logits differ, or a process ends."""
    with contextlib.ExitStack() as ending:
        official, own = (Side(side, name, batch, options) for side in ("official", "own"))
        ending.callback(official.end)
        ending.callback(own.end)
        own.ask(official.ask({}))
        if options.precision == "float32":
            _require_equal(name, official, own)
        for side in (official, own) * WARM_UP:
            side.ask("time")
        rounds, others = _rounds(official, own, options)
        profiles = {"official": official.ask("profile"), "own": own.ask("profile")}
    device = "cpu" if options.device == "cpu" else device_name(options.device)
    setting = dict(zip(SETTING, (name, batch, device, options.precision, options.threads), strict=True))
    shares = [(side, key, share) for side, found in profiles.items() for key, share in found.items() if share > LEAST]
    spent = [setting | {"side": side, "operator": key, "share": round(share, 4)} for side, key, share in shares]
    return [setting | {"launch": launch, "others_cores": round(others, 3)} | row for row in rounds], spent


def _require_equal(name: str, official: Side, own: Side) -> None:
    theirs, ours = (np.array(side.ask("logits")) for side in (official, own))
    difference = np.abs(theirs - ours).max() / theirs.std()
    if not difference <= CLOSE:  # also where it is not a number
        raise UserError(f"{name}: logits differ by {difference:.1e} of their spread; at most {CLOSE:g} is allowed")


def _rounds(official: Side, own: Side, options: Options) -> tuple[Rows, float]:
    """Seconds of both in each round, and how many processor cores others used meanwhile."""
    processes = [psutil.Process(), *(psutil.Process(side.process.pid) for side in (official, own))]
    before, start = _readings(processes), time.perf_counter()
    rounds = Rows()
    while len(rounds) < options.rounds or time.perf_counter() - start < options.seconds:
        turn = len(rounds)
        seconds = {side: side.ask("time") for side in ((official, own) if turn % 2 else (own, official))}
        measured = {"official_seconds": seconds[official], "own_seconds": seconds[own]}
        rounds.append(measured | {"round": turn, "ratio": seconds[official] / seconds[own]})
    after, wall = _readings(processes), time.perf_counter() - start
    return rounds, max(0.0, (after[0] - before[0] - (after[1] - before[1])) / wall)


def _readings(processes: Sequence[psutil.Process]) -> tuple[float, float]:
    """Processor seconds of the whole machine, and of these processes."""
    return busy(), sum(sum(process.cpu_times()[:2]) for process in processes)
