"""How methods are found, named by file, identified, and how a forgotten version shows."""

from __future__ import annotations

import ast
import json
import os
import sys
from pathlib import Path

import pytest

from suite.contract.run import examine
from suite.errors import UserError
from suite.official import layouts
from suite.reduction import registry

ROOT = Path(__file__).parents[1]
VERSIONS = ROOT / "tests/method_versions.json"
SOURCE = '''"""A method."""
from suite.methods import Method, MethodSettings

class Settings(MethodSettings):
    version = 3
    strength: float = 0.5  # of nothing

class Mine(Method):
    """Removes nothing."""
'''


def recorded() -> dict[str, dict[str, object]]:
    """Version and digest of the code of every built-in method, as in the repository."""
    content: dict[str, dict[str, object]] = json.loads(VERSIONS.read_text())
    return content


def found() -> dict[str, dict[str, object]]:
    """The same of the files as they are; `checked`: the code that was last found to hold on every backbone."""
    names = [name for name, module in sorted(registry.modules().items()) if module.startswith("baselines.")]
    files = {name: Path(registry.load(name).__file__ or "") for name in names}
    return {
        name: {
            "version": registry.settings_class(name).version,
            "code": registry.code_digest(file),
            "checked": recorded().get(name, {}).get("checked"),
        }
        for name, file in files.items()
    }


def hold_everywhere(method: str, recorded: dict[str, object]) -> object:
    """The digest of a method's code, if it keeps the contract on every backbone."""
    if recorded["checked"] != recorded["code"]:
        failed = [result for result in examine(method) if result.status == "fails"]
        assert not failed, failed
    return recorded["code"]


def test_changed_code_has_a_new_version() -> None:
    """CONTRIBUTING says how to record a raised version, or a digest whose change alters no result."""
    if os.environ.get("RECORD_METHOD_VERSIONS"):
        VERSIONS.write_text(json.dumps(found(), indent=1) + "\n")
    if os.environ.get("RECORD_METHOD_VERSIONS") == "checked":
        now = {name: one | {"checked": hold_everywhere(name, one)} for name, one in found().items()}
        VERSIONS.write_text(json.dumps(now, indent=1) + "\n")
    now, before = found(), recorded()
    assert now.keys() == before.keys()
    changed = {name for name in now if now[name]["code"] != before[name]["code"]}
    forgotten = sorted(name for name in changed if now[name]["version"] == before[name]["version"])
    assert not forgotten, f"{forgotten}: the code changed and Settings.version did not; see CONTRIBUTING, A new method"
    assert not changed, f"{sorted(changed)}: record the new versions; see CONTRIBUTING, A new method"


def test_only_code_counts(tmp_path: Path) -> None:
    """Docstrings, comments and layout do not change a digest; a number, a name and a default do."""
    file = tmp_path / "mine.py"

    def digest(source: str) -> str:
        file.write_text(source)
        return registry.code_digest(file)

    first = digest(SOURCE)
    same = [SOURCE.replace('"""Removes nothing."""', '"""Other words."""\n\n'), SOURCE.replace("# of nothing", "")]
    assert {digest(source) for source in same} == {first}
    others = [SOURCE.replace(*change) for change in (("0.5", "0.6"), ("strength", "amount"), ("float", "int"))]
    assert len({first, *map(digest, others)}) == 4


def test_a_method_named_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its identity holds the digest of its code and no path; it is imported anew after it has changed."""
    file = tmp_path / "my_method.py"
    file.write_text(SOURCE)
    first = registry.identity(str(file))
    assert first == {"method": "my-method", "version": 3, "code": registry.code_digest(file)}
    monkeypatch.chdir(tmp_path)
    assert registry.identity("./my_method.py") == first
    assert registry.load("my_method.py") is registry.load(str(file))
    file.write_text(SOURCE.replace("0.5", "0.6"))
    assert registry.default_settings(str(file)).model_dump() == {"strength": 0.6}
    assert registry.identity(str(file))["code"] != first["code"]


def test_a_variant_changes_with_the_method_it_imports(tmp_path: Path) -> None:
    """The digest of a file has the code of the built-in methods that it imports, however it names them."""
    alone, others = "class Settings:\n    pass\n", ("from baselines import tome", "from baselines.tome import ToMe")
    digests = []
    for number, first in enumerate(("", *others)):
        file = tmp_path / f"{number}.py"
        file.write_text(f"{first}\n{alone}")
        digests.append(registry.code_digest(file))
    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "baselines").mkdir()
        (tmp_path / "baselines/tome.py").write_text("class ToMe:\n    pass\n")
        patch.setattr(registry, "FOLDER", tmp_path / "baselines")
        after = [registry.code_digest(tmp_path / f"{number}.py") for number in range(3)]
    assert [one == other for one, other in zip(digests, after, strict=True)] == [True, False, False]


def test_an_installed_method_is_identified_by_name_and_version() -> None:
    """So that formatting a file leaves every finished cell valid; a folder in `baselines/` is no method."""
    assert registry.identity("idlevit") == {"method": "idlevit", "version": 3}
    assert "official" not in registry.modules()
    with pytest.raises(UserError, match="unknown method 'tomee'; did you mean tome"):
        registry.identity("tomee")


def test_an_installed_method_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the method and the exception."""
    (tmp_path / "broken_method.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "modules", lambda: {"broken": "broken_method"})
    with pytest.raises(UserError, match="method broken cannot be imported, it raises ModuleNotFoundError"):
        registry.settings_class("broken")
    sys.modules.pop("broken_method", None)


def test_methods_import_from_one_module() -> None:
    """Files in `baselines/` and planted faults import nothing of the suite but `suite.methods`, and methods."""
    for path in [*(ROOT / "baselines").glob("*.py"), *(ROOT / "tests/planted").glob("*.py")]:
        modules = {
            node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
        }
        assert {module for module in modules if module.startswith("suite")} <= {"suite.methods"}, path
        assert not any(module.startswith("baselines.official") for module in modules), path


def test_the_documentation_has_every_method_layout_and_setting() -> None:
    """Each in backticks, on its page."""
    methods, checkpoints = ((ROOT / f"docs/{page}.md").read_text() for page in ("methods", "checkpoints"))
    for name, module in registry.modules().items():
        if module.startswith("baselines."):
            words = [name, *(set(registry.settings_class(name).model_fields) - {"action"})]
            assert not [word for word in words if f"`{word}`" not in methods], name
    for name, layout in layouts().items():
        assert not [word for word in (name, *layout.options.model_fields) if f"`{word}`" not in checkpoints], name
