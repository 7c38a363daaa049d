"""Find methods, tasks, data sets and kinds of study: the files of a package, and entry points of other packages."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from suite.errors import UserError, describe

Found = TypeVar("Found")


@functools.cache
def modules(package: str, group: str) -> dict[str, str]:
    """Name of everything that is found, with its module: files and folders of `package`, and entry points of `group`.

    A name is that of the file with dashes; names that begin with an underscore are private.

    Raises:
        UserError: if two have one name.
    """
    spec = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    found = [path for folder in folders for path in sorted(folder.iterdir()) if not path.name.startswith(("_", "."))]
    stems = [path.stem for path in found if path.suffix == ".py" or (path / "__init__.py").is_file()]
    ours = [(stem.replace("_", "-"), f"{package}.{stem}", f"{package}.{stem}") for stem in stems]
    return by_name([*ours, *((point.name, point.module, _origin(point)) for point in entry_points(group=group))])


def by_name(found: Iterable[tuple[str, Found, str]]) -> dict[str, Found]:
    """What is found, by name, of names, objects and where each comes from.

    Raises:
        UserError: if two have one name.
    """
    objects: dict[str, Found] = {}
    origins: dict[str, str] = {}
    for name, one, origin in found:
        if name in objects:
            raise UserError(
                f"{origins[name]} and {origin} are both called {name!r}; rename one, or uninstall what brings it"
            )
        objects[name], origins[name] = one, origin
    return objects


def imported(package: str, group: str) -> dict[str, ModuleType]:
    """The modules themselves, by name.

    Raises:
        UserError: if an entry point cannot be imported.
    """
    found = {}
    for name, module in modules(package, group).items():
        try:
            found[name] = importlib.import_module(module)
        except (Exception, SystemExit) as error:
            points = tuple(entry_points(group=group, name=name))
            if not points:
                raise
            raise UserError(
                f"{_origin(points[0])} cannot be imported, it raises {describe(error)}; mend or uninstall that package"
            ) from error
    return found


def every(package: str, group: str, attribute: str) -> dict[str, Any]:
    """The object of each by name, UserError as `imported`; a module without one is a helper of the others, left out."""
    loaded = imported(package, group)
    return {name: found for name, module in loaded.items() if (found := getattr(module, attribute, None)) is not None}


def _origin(point: EntryPoint) -> str:
    package = point.dist.name if point.dist else "unknown"
    return f"the entry point {point.name} = {point.value} of {point.group} in the package {package}"


def later(package: str, module: str, name: str) -> Callable[..., Any]:
    """A function of a package's module, imported at its first call, so that what describes a plugin stays light."""

    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(f"{package}.{module}"), name)(*arguments, **options)

    return call
