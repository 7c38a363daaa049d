"""What not every system has: processors by process, /proc, glibc, fork, locks. Played by taking it away."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest
from tiny_study import SUITE, rows_of, write

from suite import host
from suite.errors import not_installed
from suite.measure import numerics

MACOS = """
import torch  # which looks for another library elsewhere
import builtins, ctypes, io, multiprocessing, os, pathlib, platform
import psutil
for name in ("sched_getaffinity", "sched_setaffinity", "posix_fadvise", "posix_fallocate", "O_DIRECT", "memfd_create"):
    if hasattr(os, name):
        delattr(os, name)
del psutil.Process.cpu_affinity
Times = type("Times", (tuple,), {"idle": 1.0, "_fields": ("user", "nice", "system", "idle")})
psutil.cpu_times = lambda: Times((5.0, 0.0, 2.0, 1.0))
platform.machine, platform.processor = lambda: "arm64", lambda: "arm"
opened, loaded = io.open, ctypes.CDLL

def open_here(path, *arguments, **options):
    if str(path) == "/proc/cpuinfo":  # psutil asks each system in its own way
        raise FileNotFoundError(2, "No such file or directory", str(path))
    return opened(path, *arguments, **options)

def load_here(name, *arguments, **options):
    return object() if name is None else loaded(name, *arguments, **options)

io.open = builtins.open = open_here
ctypes.CDLL = load_here
multiprocessing.set_start_method("spawn")
"""


def elsewhere(folder: Path, system: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line where a piece of Python has changed the system before anything else is imported."""
    (folder / "system").mkdir(exist_ok=True)
    (folder / "system/sitecustomize.py").write_text(system)
    paths = os.pathsep.join([str(folder / "system"), str(Path(__file__).parents[1])])
    return subprocess.run(
        [*SUITE, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
def test_a_study_runs_as_on_macos(tmp_path: Path) -> None:
    """In this process, speed cells too; what is not known there is said in the record."""
    write(tmp_path, methods=["none", "random"], seeds=[0])
    done = elsewhere(tmp_path, MACOS, "run", "trial.yaml", "--in-process")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert {row["status"] for row in rows_of(tmp_path)} == {"done"}
    (run, *_) = json.loads((tmp_path / "results/trial/provenance.json").read_text())["runs"]
    assert (run["processor"], run["cores"]) == ("arm", os.cpu_count())
    assert run["numerics"]["processor_id"] == "not known on this system"


def test_fixed_numerics_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """An x86-64 processor, which this system does not say it has."""
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(numerics, "_cpuinfo", lambda: "")
    said = numerics.missing("portable")
    assert said.startswith("numerics: portable needs an x86-64 processor with AVX2, and this is arm64; take")


def test_without_what_windows_lacks_there_is_one_sentence(tmp_path: Path) -> None:
    """Before anything is done."""
    done = elsewhere(tmp_path, "import sys\nsys.modules['fcntl'] = None", "unpack", "cells.tar")
    assert done.returncode == 2
    sentence = "error: this system has no fcntl; the suite runs on Linux and macOS, and on Windows inside WSL\n"
    assert done.stderr.splitlines(keepends=True)[-1] == sentence
    assert "Traceback" not in done.stderr


def test_cores_are_those_of_the_process_where_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else those of the machine, or one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    assert host.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    for known, found in ((12, 12), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda known=known: known)
        assert host.cores() == found


@pytest.mark.parametrize(
    ("module", "cure"),
    [
        ("psycopg", "pip install 'psycopg[binary]'"),
        ("psycopg2", "pip install psycopg2-binary"),
        ("MySQLdb", "pip install mysqlclient"),
        ("pymysql", "pip install pymysql"),
        ("pyodbc", "pip install pyodbc"),
        ("ray.tune", "all that study needs: pip install 'cropr-suite[study]'"),
        ("mmseg", "all that segmentation needs: pip install 'cropr-suite[segmentation]'"),
        ("onnx", "all that export needs: pip install 'cropr-suite[export]'"),
        ("suite.report.trace", "install all of it: pip install --force-reinstall cropr-suite"),
        ("mine.deeper", "get it with: pip install mine"),
    ],
)
def test_a_missing_module_has_its_own_advice(module: str, cure: str) -> None:
    """An extra only for what the extra brings."""
    said = not_installed(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert said.startswith(module)
    assert said.endswith(cure)
