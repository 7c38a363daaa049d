"""Two processes share the tests (`nox -s tests`): a file stays in one of them, for what its tests share."""

import sys
from collections.abc import Iterator
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
