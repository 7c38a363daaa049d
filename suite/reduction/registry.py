"""Find methods: the files of `baselines/`, and the entry points `cropr_suite.methods` of other packages.

Names and settings are found without importing torch, so that a study can be checked at once.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from suite.errors import UserError, suggest
from suite.reduction.settings import MethodSettings

if TYPE_CHECKING:
    from suite.reduction.method import Context, Method

GROUP = "cropr_suite.methods"
LIGHT = {"__future__", "typing", "pydantic", "suite.reduction.settings"}


@functools.cache
def modules() -> dict[str, str]:
    """Name of each method and the module it lives in."""
    spec = importlib.util.find_spec("baselines")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [path for folder in folders for path in Path(folder).glob("*.py") if path.stem != "__init__"]
    ours = {path.stem.replace("_", "-"): f"baselines.{path.stem}" for path in files}
    return ours | {point.name: point.module for point in entry_points(group=GROUP)}


def module_of(name: str) -> str:
    """Module of the method `name`.

    Raises:
        UserError: if there is none, with the nearest names.
    """
    if name not in modules():
        raise UserError(f"unknown method {name!r}; {suggest(name, modules())}")
    return modules()[name]


@functools.cache
def settings_class(name: str) -> type[MethodSettings]:
    """The class `Settings` of a method's file, read without running the rest of the file.

    Only the file's imports from the light modules and the class itself are run.

    Raises:
        UserError: if the method is unknown, or its class `Settings` needs more than the light modules.
    """
    module = module_of(name)
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise UserError(f"method {name!r} says it lives in {module}, which cannot be found")
    tree = ast.parse(Path(spec.origin).read_text(), spec.origin)
    tree.body = [node for node in tree.body if _is_light(node)]
    light = ModuleType(f"{module}:Settings")
    sys.modules[light.__name__] = light  # pydantic resolves annotations there
    try:
        exec(compile(tree, spec.origin, "exec"), light.__dict__)  # noqa: S102  (our own or an installed package's file)
    except NameError as error:
        raise UserError(
            f"{spec.origin}: class Settings may use names from {', '.join(sorted(LIGHT))} only ({error})"
        ) from error
    found = light.__dict__.get("Settings")
    if not (isinstance(found, type) and issubclass(found, MethodSettings)):
        raise UserError(f"{spec.origin} must define a class Settings that derives from MethodSettings")
    return found


def _is_light(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module in LIGHT
    return isinstance(node, ast.ClassDef) and node.name == "Settings"


def build_method(name: str, context: Context, settings: dict[str, Any]) -> Method:
    """Build a method: the one class of its file that derives from `Method`, with the file's `Settings`.

    Raises:
        UserError: if the method is unknown, or its file defines none or several.
        ValueError: for settings, a schedule or a fusion that the method cannot honour.
        UnmetNeed: if the backbone lacks what the method needs.
    """
    from suite.reduction.method import Method

    module = importlib.import_module(module_of(name))
    found = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Method) and kind.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise UserError(f"{module.__file__} must define one subclass of Method, found {len(found)}")
    return found[0](context, module.Settings(**settings))
