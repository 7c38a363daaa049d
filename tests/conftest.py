"""Two processes share the tests (`nox -s tests`): a file stays in one of them, and so do all files that start Ray."""

import pytest

RAY = {"test_on_ray", "test_speed_cells"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ray takes every core of the machine, so no two tests start it at a time."""
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            name = item.path.stem
            item.add_marker(pytest.mark.xdist_group("ray" if name in RAY else name))
