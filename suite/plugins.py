"""Find methods, tasks, data sets and kinds of study: the files of a package, and entry points of other packages."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any


@functools.cache
def modules(package: str, group: str) -> dict[str, str]:
    """Name of everything that is found, with its module: files and folders of `package`, and entry points of `group`.

    A name is that of the file with dashes; names that begin with an underscore are private.
    """
    spec = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    found = [path for folder in folders for path in sorted(folder.iterdir()) if not path.name.startswith(("_", "."))]
    stems = [path.stem for path in found if path.suffix == ".py" or (path / "__init__.py").is_file()]
    ours = {stem.replace("_", "-"): f"{package}.{stem}" for stem in stems}
    return ours | {point.name: point.module for point in entry_points(group=group)}


def every(package: str, group: str, attribute: str) -> dict[str, Any]:
    """All of them by name; a module without the object is a helper of the others and left out."""
    loaded = {name: importlib.import_module(module) for name, module in modules(package, group).items()}
    return {name: found for name, module in loaded.items() if (found := getattr(module, attribute, None)) is not None}


def later(package: str, module: str, name: str) -> Callable[..., Any]:
    """A function of a package's module, imported at its first call, so that what describes a plugin stays light."""

    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(f"{package}.{module}"), name)(*arguments, **options)

    return call
