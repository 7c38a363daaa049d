"""Where a result came from: command, commit, versions, hardware."""

from __future__ import annotations

import datetime
import functools
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from suite.host import cores
from suite.redaction import redacted
from suite.terminal import warn

PACKAGES = (
    *("cropr-suite", "torch", "torchvision", "timm", "numpy", "scikit-learn", "ray", "mlflow", "scipy", "seaborn"),
    *("onedl-mmsegmentation", "onedl-mmengine", "onedl-mmcv"),
)

PLACES = {  # what says to git that it is in another repository than that of its folder, as in a hook
    *("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_PREFIX", "GIT_NAMESPACE"),
    *("GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_GRAFT_FILE"),
    *("GIT_SHALLOW_FILE", "GIT_REPLACE_REF_BASE", "GIT_INTERNAL_SUPER_PREFIX"),
}
CODE = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown"  # the commit, and what is not committed, where git does not say; older records have nothing there


@functools.cache
def provenance() -> dict[str, Any]:
    """Facts about this process, its code and its machine; of absolute paths only the last part.

    What lies in `results/` does not count as a change of the code. Where git says nothing of the code, a warning says
    why.
    """
    program = Path(sys.argv[0]).name.replace("__main__.py", "suite")  # of python -m suite
    words = [Path(word).name if Path(word).is_absolute() else word for word in [program, *sys.argv[1:]]]
    return {
        "command": redacted(shlex.join(words)),
        **_commit(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def code_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run of provenance.json says of its code, without commit nothing: older records left both empty."""
    said = {name: run[name] for name in ("commit", "uncommitted_changes") if name in run}
    return said if said.get("commit") not in ("", UNKNOWN) else dict.fromkeys(said, UNKNOWN)


def device_name(kind: str) -> str:
    """What the maker calls the GPU (cuda) or the processor (cpu) of this machine; empty if it has no such GPU."""
    if kind != "cuda":
        return _processor()
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def _commit() -> dict[str, Any]:
    """The commit of the code that runs and what is changed of it, as far as git says it."""
    try:
        _check_own(Path(_git("rev-parse", "--show-toplevel")))
        changes = _git("status", "--porcelain", "--", ".", ":!results").splitlines()
        return {"commit": _git("rev-parse", "HEAD"), "uncommitted_changes": changes}
    except LookupError as refusal:
        warn(f"the commit of the code is not known, and provenance will say so: {refusal}")
        return {"commit": UNKNOWN, "uncommitted_changes": UNKNOWN}


def _check_own(repository: Path) -> None:
    if repository != CODE:
        raise LookupError(f"{CODE} lies in the repository of something else, {repository}")


def git_environment() -> dict[str, str]:
    """Of a git that shall find the repository of the folder that it is asked in."""
    return {name: value for name, value in os.environ.items() if name not in PLACES}


def _git(*arguments: str) -> str:
    """What git says of the code that runs; LookupError with its reason if it refuses, or cannot be run."""
    try:
        asked = subprocess.run(  # noqa: S603, PLW1510
            ["git", "-C", str(CODE), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            errors="replace",
            env=git_environment(),
        )
    except OSError as error:
        raise LookupError(f"git cannot be run ({error.strerror})") from error
    if asked.returncode:
        first = asked.stderr.strip().partition("\n")[0]
        raise LookupError(
            f"git says {first.removeprefix('fatal: ')}" if first else f"git ended with {asked.returncode}"
        )
    return asked.stdout.rstrip()


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
