"""Two processes share the tests (`nox -s tests`): a file stays in one of them, for what its tests share."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SPREAD = "test_contract.py"  # a third of all the work, and nothing is shared


@pytest.hookimpl(optionalhook=True)  # of xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out whole files, and the tests of one of them to whoever is free."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if file.endswith(SPREAD) else file

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def _figures_are_closed() -> Iterator[None]:
    """Tests that look at a figure keep it open: matplotlib warns of more than twenty in one process."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is drawn, still open."""
    from suite.report import style

    found: list[Any] = []
    monkeypatch.setattr(style.plt, "close", found.append)
    return found


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the user; the suite's folder in it."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home / "cropr-suite"


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """The results and the README of the last commit; what your own runs wrote since does not matter."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    archive = subprocess.run(
        ["git", "archive", "HEAD", "results", "README.md"], cwd=root, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tmp_path, filter="data")
    return tmp_path
