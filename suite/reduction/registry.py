"""Find methods: the files of `baselines/`, and the entry points `cropr_suite.methods` of other packages.

A method that is not installed goes by the path of its file, wherever a name is asked for except in a study. Names and
settings are found without importing torch, so that a study can be checked at once.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import sys
import zlib
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

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
    file = _file_of(name)
    tree = _parse(file)
    tree.body = [node for node in tree.body if _is_light(node)]
    light = ModuleType(f"{_module_name(name)}:Settings")
    sys.modules[light.__name__] = light  # pydantic resolves annotations there
    try:
        exec(compile(tree, str(file), "exec"), light.__dict__)  # noqa: S102  (a method's own file)
    except NameError as error:
        raise UserError(
            f"{file}: class Settings may use names from {', '.join(sorted(LIGHT))} only ({error})"
        ) from error
    except Exception as error:
        raise UserError(f"{file}: class Settings cannot be read, it raises {describe(error)}") from error
    found = light.__dict__.get("Settings")
    if not (isinstance(found, type) and issubclass(found, MethodSettings)):
        raise UserError(f"{file} must define a class Settings that derives from MethodSettings")
    return found


def is_file(name: str) -> bool:
    """Whether `name` is the path of a file rather than the name of a method."""
    return bool(name) and name not in modules() and (name.endswith(".py") or "/" in name or Path(name).exists())


def _file_of(name: str) -> Path:
    if not is_file(name):
        module = module_of(name)
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise UserError(f"method {name!r} says it lives in {module}, which cannot be found")
        return Path(spec.origin)
    path = Path(name)
    if path.is_dir():
        raise UserError(f"{name} is a folder; a method is one file, name it: {path / 'method.py'}")
    if not path.exists():
        raise UserError(f"{name} does not exist; give a method's file, or one of {', '.join(sorted(modules()))}")
    if path.suffix != ".py":
        raise UserError(f"{name} is not a Python file; a method is one file whose name ends in .py")
    return path


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), str(file))
    except SyntaxError as error:
        where = "" if error.lineno is None else f", line {error.lineno}"
        raise UserError(f"{file}{where}: {error.msg}; Python must be able to read the file") from error
    except ValueError as error:
        raise UserError(f"{file}: {error}; a method's file must be Python text") from error


def _module_name(name: str) -> str:
    """Module of a method; that of a file is named after its path, so that two files never share one."""
    if not is_file(name):
        return module_of(name)
    return f"method_file_{Path(name).stem}_{zlib.crc32(str(Path(name).resolve()).encode()):08x}"


def _is_light(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module in LIGHT
    return isinstance(node, ast.ClassDef) and node.name == "Settings"


@functools.cache
def method_class(name: str) -> type[Method]:
    """The one class of a method's file that derives from `Method`; the file must define a class `Settings` too.

    Raises:
        UserError: if the method is unknown, its file cannot be loaded, or defines none or several.
    """
    from suite.reduction.method import Method

    settings_class(name)
    module, file = _load(name), _file_of(name)
    found = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Method) and kind.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = f" ({', '.join(kind.__name__ for kind in found)})" if found else ""
        raise UserError(f"{file} must define one subclass of Method, found {len(found)}{names}")
    missing = ", ".join(sorted(getattr(found[0], "__abstractmethods__", ())))
    if missing:
        raise UserError(f"{file}: class {found[0].__name__} must define {missing}")
    return found[0]


def _load(name: str) -> ModuleType:
    """Import a method's module; one named by its file is imported from there, once."""
    if not is_file(name):
        return importlib.import_module(module_of(name))
    file = _file_of(name)
    spec = importlib.util.spec_from_file_location(_module_name(name), file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic and torch.compile look it up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise UserError(
            f"{file} cannot be imported, it raises {describe(error)}; it must import as a module"
        ) from error
    return module


def default_settings(name: str) -> MethodSettings:
    """Settings of a method with nothing said.

    Raises:
        UserError: as `settings_class`, or if a setting has no default.
    """
    try:
        return settings_class(name)()
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, part["loc"])) or part["msg"] for part in error.errors())
        raise UserError(
            f"{_file_of(name)}: class Settings cannot be built without arguments ({wrong}); give each setting a default"
        ) from error


def build_method(name: str, context: Context, settings: dict[str, Any]) -> Method:
    """Build a method with the `Settings` of its file.

    Raises:
        UserError: as `method_class`.
        ValueError: for settings, a schedule or a fusion that the method cannot honour.
        UnmetNeed: if the backbone lacks what the method needs.
    """
    kind = method_class(name)
    return kind(context, sys.modules[kind.__module__].Settings(**settings))


def describe(error: BaseException) -> str:
    """Type and message of an exception, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
