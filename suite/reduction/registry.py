"""Find methods: the files of `baselines/`, the entry points `cropr_suite.methods` of other packages, and files by path.

A method is one module with a class `Settings` and one subclass of `Method`. One that is not installed goes by the path
of its file, wherever a name is asked for.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.util
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from suite import plugins
from suite.errors import UserError, describe, named
from suite.reduction.settings import MethodSettings

if TYPE_CHECKING:
    from suite.reduction.method import Context, Method

PACKAGE, GROUP = "baselines", "cropr_suite.methods"
FOLDER = Path(__file__).parents[2] / PACKAGE


@functools.cache
def modules() -> dict[str, str]:
    """Name of each method that is installed, and its module; a folder of `baselines/` holds no method."""
    found = plugins.modules(PACKAGE, GROUP)
    return {name: module for name, module in found.items() if not _is_folder(module)}


def _is_folder(module: str) -> bool:
    if not module.startswith(f"{PACKAGE}."):
        return False
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.submodule_search_locations is not None


def module_of(name: str) -> str:
    """Name of the module of a method; that of a file is made of its path, so that two files never share one.

    UserError if there is no such method, with the nearest names, or no such file.
    """
    if is_file(name):
        return f"method_file_{Path(name).stem}_{zlib.crc32(str(_file(name).resolve()).encode()):08x}"
    return named(name, modules(), "method")


def is_file(name: str) -> bool:
    """Whether `name` is the path of a file rather than the name of a method."""
    return bool(name) and name not in modules() and (name.endswith(".py") or "/" in name or Path(name).exists())


def _file(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        raise UserError(f"{name} is a folder; a method is one file, name it: {path / 'method.py'}")
    if not path.exists():
        raise UserError(f"{name} does not exist; give a method's file, or one of {', '.join(sorted(modules()))}")
    if path.suffix != ".py":
        raise UserError(f"{name} is not a Python file; a method is one file whose name ends in .py")
    return path


def identity(name: str) -> dict[str, Any]:
    """What of a method decides results: its name and version, and for a file the digest of its code, not its path.

    UserError as `settings_class`.
    """
    version = settings_class(name).version
    if not is_file(name):
        return {"method": name, "version": version}
    return {"method": Path(name).stem.replace("_", "-"), "version": version, "code": code_digest(Path(name))}


def code_digest(file: Path) -> str:
    """Digest of a file's syntax tree, 16 hexadecimal digits: layout, comments and docstrings do not count.

    Methods of `baselines/` that it imports, because it is a variant of them, do.
    """
    tree = ast.parse(file.read_bytes())
    parents = [code_digest(parent) for parent in _parents(tree)]
    return hashlib.sha256("".join([repr(_canonical(tree)), *parents]).encode()).hexdigest()[:16]


def _parents(tree: ast.Module) -> list[Path]:
    """Files of the built-in methods that a module imports."""
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return [file for file in sorted(FOLDER.glob("[!_]*.py")) if any(_is_of(name, file.stem) for name in imported)]


def _is_of(imported: str, method: str) -> bool:
    return f"{imported}.".startswith(f"{PACKAGE}.{method}.")


def _canonical(node: object) -> object:
    """A syntax tree as nested tuples, without empty fields (which differ between versions of Python)."""
    if isinstance(node, list):
        return [_canonical(part) for part in node if not _is_text(part)]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, _canonical(value)) for name, value in ast.iter_fields(node) if value is not None]
    return type(node).__name__, [(name, value) for name, value in fields if value != []]


def _is_text(statement: object) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def load(name: str) -> ModuleType:
    """Import the module of a method; one named by its file anew after the file has changed.

    UserError if it is unknown or cannot be imported.
    """
    module = module_of(name)
    try:
        if is_file(name):
            return _load_file(module, Path(name).resolve(), Path(name).read_bytes())
        return importlib.import_module(module)
    except SyntaxError as error:
        line = "" if error.lineno is None else f", line {error.lineno}"
        raise UserError(f"{error.filename or name}{line}: {error.msg}; Python must be able to read the file") from error
    except (Exception, SystemExit) as error:
        raise UserError(
            f"the method {name} cannot be imported, it raises {describe(error)}; it must import as a module"
        ) from error


@functools.cache
def _load_file(name: str, file: Path, source: bytes) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic and torch.compile look it up there
    try:
        exec(compile(source, str(file), "exec"), vars(module))  # noqa: S102  (the loader's cache can be a second old)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def settings_class(name: str) -> type[MethodSettings]:
    """The class `Settings` of a method; UserError as `load`, or if there is no such class."""
    found = getattr(load(name), "Settings", None)
    if not (isinstance(found, type) and issubclass(found, MethodSettings)):
        raise UserError(f"the method {name} must define a class Settings that derives from MethodSettings")
    return found


def reduces_nothing(name: str) -> bool:
    """Whether a method leaves the model unpruned; one that a record names and that is not installed here reduces."""
    return name in modules() and settings_class(name).reduces == "nothing"


def default_settings(name: str) -> MethodSettings:
    """Settings of a method, all at their defaults; UserError as `settings_class`, or if a setting has no default."""
    try:
        return settings_class(name)()
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, part["loc"])) or part["msg"] for part in error.errors())
        raise UserError(
            f"the method {name}: class Settings cannot be built without arguments ({wrong}); give each a default"
        ) from error


def method_class(name: str) -> type[Method]:
    """The one class of a method's module that derives from `Method`; it must have a class `Settings` too.

    UserError as `settings_class`, or if there is none or there are several.
    """
    from suite.reduction.method import Method

    settings_class(name)
    module = load(name)
    found = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Method) and kind.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = f" ({', '.join(kind.__name__ for kind in found)})" if found else ""
        raise UserError(f"the method {name} must define one subclass of Method, found {len(found)}{names}")
    missing = ", ".join(sorted(getattr(found[0], "__abstractmethods__", ())))
    if missing:
        raise UserError(f"the method {name}: class {found[0].__name__} must define {missing}")
    return found[0]


def build_method(name: str, context: Context, settings: dict[str, Any]) -> Method:
    """Build a method with its `Settings`.

    UserError as `method_class`; ValueError for settings, a schedule or a fusion that the method cannot honour;
    UnmetNeed if the backbone lacks what the method needs.
    """
    return method_class(name)(context, settings_class(name)(**settings))
