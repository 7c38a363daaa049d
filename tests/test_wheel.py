"""An installed wheel works in any folder: commands, methods, kinds, and the files of its page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("suite", "baselines"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    subprocess.run([sys.executable, "-c", BUILD, folder], cwd=folder / "source", check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """`bin` of an environment that has the wheel of this tree, with what it requires, and nothing else."""
    folder = built.parent
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    subprocess.run([*PIP, "--python", python, "install", "-c", ROOT / "constraints.txt", f"{built}[study]"], check=True)
    return python.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a study and its results."""
    shutil.copytree(ROOT / "results/quickstart", tmp_path / "results/quickstart")
    (tmp_path / "studies").mkdir()
    shutil.copy(ROOT / "studies/quickstart.yaml", tmp_path / "studies")
    return tmp_path


def said(program: Path, folder: Path, *arguments: str) -> str:
    """What a program says there; it must end with 0."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [program, *arguments], cwd=folder, env=clean | {"COLUMNS": "150"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_has_the_whole_tree(built: Path) -> None:
    """Every file of the two packages that is committed, and the licence."""
    tracked = subprocess.run(["git", "ls-files", "suite", "baselines"], cwd=ROOT, capture_output=True, text=True).stdout  # noqa: PLW1510
    if not tracked:
        pytest.skip("not a git checkout")
    with zipfile.ZipFile(built) as wheel:
        names = set(wheel.namelist())
    assert set(tracked.split()) - names == set()
    assert [name for name in names if name.endswith("/LICENSE")]


@pytest.mark.slow
def test_it_is_the_installed_code_that_runs(installed: Path, tmp_path: Path) -> None:
    """Not that of the clone, and no commit of a repository that it happens to lie in."""
    program = "import suite, baselines; print(suite.__file__, baselines.__file__)"
    files = said(installed / "python", tmp_path, "-c", program).split()
    assert all(Path(file).is_relative_to(installed.parent) for file in files), files
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", "-C", installed.parent, *command], check=True)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "-C", installed.parent, *identity, "commit", "-qm", "x", "--allow-empty"], check=True)
    program = "from suite.study.provenance import provenance as p; print([p()['commit'], p()['uncommitted_changes']])"
    assert said(installed / "python", tmp_path, "-c", program) == "['unknown', 'unknown']\n"


@pytest.mark.slow
def test_commands_work_without_a_clone(installed: Path, tmp_path: Path) -> None:
    """Studies are those of the working folder, here none; methods, kinds and data sets come with the wheel."""
    shown = said(installed / "suite", tmp_path, "list")
    assert "studies: none" in shown
    for name in ("cropr", "tome", "training", "speed", "costs"):
        assert name in shown
    model = ["vit_tiny_patch16_224", "--method", "cropr", "--schedule", "{constant: 8, blocks: 0-9}"]
    assert "GMAC" in said(installed / "suite", tmp_path, "flops", *model)


@pytest.mark.slow
def test_results_are_traced_and_shown(installed: Path, folder: Path) -> None:
    """The page has its style sheet and template."""
    assert "seed" in said(installed / "suite", folder, "trace", "quickstart:cropr:seeds")
    said(installed / "suite", folder, "report", "quickstart")
    assert "<style>" in (folder / "results/quickstart/report.html").read_text()
