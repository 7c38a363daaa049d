"""Two processes share the tests (`nox -s tests`): a file stays in one of them, for what its tests share."""

import pytest

SPREAD = {"test_contract"}  # a third of all the work, and nothing is shared


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every file is a group, except those whose tests go to whoever is free."""
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            if item.path.stem not in SPREAD:
                item.add_marker(pytest.mark.xdist_group(item.path.stem))
