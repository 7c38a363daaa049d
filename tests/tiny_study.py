"""A study that runs in seconds, the command line in a process of its own or in this one, and methods that misbehave."""

import contextlib
import csv
import io
import os
import signal
import subprocess
import sys
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml

from suite.cli.app import main
from suite.kinds.training.checks import MEASURED

SUITE = [sys.executable, "-c", "from suite.cli.app import main; main()"]
RUN = ("run", "trial.yaml", "--in-process")
STUDY: dict[str, Any] = {
    "question": "Does the machinery work?",
    "task": "classification",
    "data": {"recipe": "digit-scenes", "canvas": 16, "digit_size": [8, 12], "train": 96, "validation": 40},
    "backbone": {
        "name": "vit_tiny_patch16_224",
        "options": {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 4, "num_heads": 2, "mlp_ratio": 2},
    },
    "base": {"recipe": {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16}},
    "finetune": {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16},
    "schedules": [{"removed": [4, 4, 0, 0]}],
    "methods": ["none", "random", "tome", "cropr", {"method": "cropr", "fusion": "last-layer"}],
    "seeds": [0, 1],
    "speed": {"batch_size": 8, "rounds": 5},
}
CELLS = 2 + 5 * 2 + 5
OURS = {"CROPR_SUITE_TESTS": uuid.uuid4().hex}  # tells our Ray from anybody else's on this machine
STRANGER = """
import os, signal, time
from pathlib import Path
from suite.reduction.method import Method
from suite.reduction.settings import MethodSettings
from suite.tasks.processes import rank

class Settings(MethodSettings):
    reduces = "nothing"
    diary: str
    act: str

class Stranger(Method):
    Settings = Settings

    def forward_block(self, block, tokens, layer):
        if layer == 0:
            with Path(self.settings.diary).open("a") as diary:
                diary.write("x")
            while self.waits():
                time.sleep(0.02)
            if self.settings.act == "raise" or self.settings.act == "second raises" and rank() == 1:
                raise RuntimeError("stumbled over a token")
            if self.settings.act == "second dies" and rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.settings.act.startswith("SIG") and Path(self.settings.diary).read_text() == "x":
                os.kill(os.getpid(), getattr(signal, self.settings.act))
        return super().forward_block(block, tokens, layer)

    def waits(self):
        begun = {"wait": 1, "wait late": 20}.get(self.settings.act, 10**9)
        diary = Path(self.settings.diary)
        return len(diary.read_text()) >= begun and not Path(f"{diary}.over").exists()
"""


def write(folder: Path, **changes: Any) -> None:
    """Write the tiny study, with changes, as `trial.yaml`."""
    (folder / "trial.yaml").write_text(yaml.safe_dump(STUDY | changes))


def suite(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    return subprocess.run(
        [*SUITE, *arguments],
        cwd=folder,
        env=os.environ | OURS | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def here(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, which saves the imports."""
    output, error, code = io.StringIO(), io.StringIO(), 0
    with (
        _as_before(),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(error),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", ["suite", *arguments]),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(arguments, code, output.getvalue(), error.getvalue())


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """What a cell changes in a process, given back."""
    threads, interrupt = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    signal.signal(signal.SIGINT, interrupt)


def finished(folder: Path) -> dict[str, float]:
    """Ids of the finished cells, with the time they were written."""
    return {path.stem: path.stat().st_mtime for path in (folder / ".suite" / "cells").glob("*.json")}


def rows_of(folder: Path) -> list[dict[str, str]]:
    """The tidy record."""
    with (folder / "results/trial/cells.csv").open() as file:
        return list(csv.DictReader(file))


def repeatable(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The tidy record without what is measured of the machine."""
    return [row for row in rows if row["metric"] not in MEASURED]


def runs(folder: Path, kinds: str = "'base', 'accuracy', 'speed'") -> list[Any]:
    """All MLflow runs of the tiny study's cells, or those of other kinds."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("trial")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    return [run for run in found if f"'{run.data.tags['kind']}'" in kinds]


def strangers(folder: Path) -> dict[str, str]:
    """A method of another package, found by its entry point; returns the environment that has it."""
    package = folder / "package"
    information = package / "strangers-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[cropr_suite.methods]\nstranger = stranger\n")
    (package / "stranger.py").write_text(STRANGER)
    return {"PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])}


def strange(folder: Path, act: str) -> dict[str, Any]:
    """A row of that method: it raises, waits for a file (`late`: while it trains), or sends its process a signal once.

    `second raises` and `second dies` are of the second of several processes, every time.
    """
    return {"method": "stranger", "name": act, "settings": {"diary": str(folder / act), "act": act}}
