"""Where a result came from: command, commit, versions, hardware."""

from __future__ import annotations

import datetime
import functools
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = (
    *("cropr-suite", "torch", "torchvision", "timm", "numpy", "scikit-learn", "ray", "mlflow", "scipy", "seaborn"),
    *("onedl-mmsegmentation", "onedl-mmengine", "onedl-mmcv"),
)

CODE = Path(__file__).resolve().parents[2]


@functools.cache
def provenance() -> dict[str, Any]:
    """Facts about this process, its code and its machine; of absolute paths only the last part.

    What lies in `results/` does not count as a change of the code.
    """
    program = Path(sys.argv[0]).name.replace("__main__.py", "suite")  # of python -m suite
    words = [Path(word).name if Path(word).is_absolute() else word for word in [program, *sys.argv[1:]]]
    return {
        "command": shlex.join(words),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": _git("status", "--porcelain", "--", ".", ":!results").splitlines(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def device_name(kind: str) -> str:
    """What the maker calls the GPU (cuda) or the processor (cpu) of this machine; empty if it has no such GPU."""
    if kind != "cuda":
        return _processor()
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def _git(*arguments: str) -> str:
    """What git says about the code that runs; empty where that is no git checkout, or lies in one of something else."""
    try:
        top, found = (
            subprocess.run(["git", "-C", str(CODE), *asked], capture_output=True, text=True, check=True).stdout.rstrip()  # noqa: S603, S607
            for asked in (("rev-parse", "--show-toplevel"), arguments)
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found if Path(top) == CODE else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
