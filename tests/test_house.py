"""The house: one direction of imports, small files, a fast command line, a README that works."""

import ast
import functools
import graphlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from pace import slowness

from suite.errors import EXTRAS

ROOT = Path(__file__).parents[1]
IMPORTS = (ast.Import, ast.ImportFrom)
LEAVES = {  # of suite/, loose
    *("errors", "host", "plugins", "redaction", "seeds", "signatures", "strict", "terminal", "torchvision_operators")
}
ORDER = [  # each imports only from those before it, and none of a line from another of it
    {"reduction"},
    {"methods"},
    {"data"},
    {"tasks"},
    {"measure"},
    {"official"},
    {"study"},
    {"run"},
    {"report"},
    {"contract"},
    {"kinds.speed", "kinds.costs", "kinds.export", "kinds.official"},
    {"kinds.training"},
    {"kinds.off_the_shelf"},
    {"kinds"},
    {"ledger"},
    {"api"},
    {""},  # suite/__init__.py
    {"cli"},
    {"__main__"},
]
HEAVY = {
    "torch",
    "timm",
    "ray",
    "mlflow",
    "mmseg",
    "mmengine",
    "mmcv",
    "cv2",
    "pandas",
    "numpy",
    "matplotlib",
    "scipy",
    "sklearn",
}


COMES_WITH = {  # modules of packages that come with another, which needs them
    "mlflow": "mlflow",  # not mlflow-skinny, which has the module too
    "pydantic_core": "pydantic",
    "safetensors": "timm",
    "markupsafe": "jinja2",
    "matplotlib": "seaborn",
    "pyarrow": "mlflow",
    "sqlalchemy": "mlflow",
    "typing_extensions": "pydantic",
}
OPTIONAL = (  # what runs with an extra only
    "suite/run/",
    "suite/tasks/segmentation/",
    "suite/report/page/",
    "suite/report/style.py",
    "suite/ledger/",
    "suite/kinds/training/figures/",
    "suite/kinds/speed/figure.py",
    "suite/kinds/off_the_shelf/figure.py",
)


def imports(path: Path, modules: Collection[str] = (), in_functions: bool = True) -> set[str]:
    """Every module that a file imports, wherever it does so, but for types alone; `modules` are all there are."""
    tree, found = ast.parse(path.read_text()), set()
    for block in ast.walk(tree):
        if isinstance(block, ast.FunctionDef) and not in_functions:
            block.body = []
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            block.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            inner = {f"{module}.{alias.name}" for alias in node.names}
            found |= (inner & set(modules)) | ({module} if inner - set(modules) else set())
    return found


def imported_in(root: Path) -> dict[str, set[str]]:
    """What each module of a tree's suite/ imports of suite/ and baselines/."""
    paths = {path.relative_to(root).with_suffix("").parts: path for path in (root / "suite").rglob("*.py")}
    modules = {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for parts, path in paths.items()}
    return {
        name: {other for other in imports(path, modules) if other.split(".")[0] in ("suite", "baselines")} - {name}
        for name, path in modules.items()
    }


def level(module: str) -> tuple[int, str]:
    """The place of a module's room in the order, and the room; a loose file that is no leaf has none and fails."""
    name = module.removeprefix("suite").removeprefix(".")
    if name in LEAVES:
        return -1, "leaves"
    rooms = {room: number for number, line in enumerate(ORDER) for room in line}
    found = max((room for room in rooms if room in ("", name) or name.startswith(f"{room}.")), key=len)
    if (found == "") != (name == ""):
        raise AssertionError(f"{module} is in no room")
    return rooms[found], found


def wrong_arrows(imported: Mapping[str, Collection[str]]) -> set[tuple[str, str]]:
    """Imports of a module from a room that is not before its own, or of a method by name."""
    return {
        (module, other)
        for module, others in imported.items()
        for other in others
        if other.startswith("baselines")
        or (level(module)[1] != level(other)[1] and level(module)[0] <= level(other)[0])
    }


def test_imports_have_one_direction() -> None:
    """Over the whole of suite/; methods are found, not imported by name; and there is no circle."""
    imported = imported_in(ROOT)
    assert not wrong_arrows(imported)
    graphlib.TopologicalSorter(imported).prepare()  # raises CycleError with the circle


@pytest.mark.parametrize(
    ("file", "line", "found"),
    [
        ("measure/x.py", "def f():\n    from suite.study import kind", {("suite.measure.x", "suite.study.kind")}),
        ("kinds/speed/x.py", "import suite.kinds.costs", {("suite.kinds.speed.x", "suite.kinds.costs")}),
        ("errors.py", "import suite.reduction", {("suite.errors", "suite.reduction")}),
        ("cli/x.py", "from baselines import tome", {("suite.cli.x", "baselines")}),
        ("report/x.py", "if TYPE_CHECKING:\n    import suite.cli", set()),
        ("kinds/training/x.py", "from suite import strict\nfrom suite.kinds.speed import x", set()),
    ],
)
def test_an_import_against_the_order_is_found(tmp_path: Path, file: str, line: str, found: set[object]) -> None:
    """Inside functions and of packages too; not what is imported for types alone."""
    for name in ("study/kind.py", "kinds/speed/x.py", "strict.py", file):
        (tmp_path / "suite" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "suite" / name).touch()
    (tmp_path / "suite" / file).write_text(line)
    assert wrong_arrows(imported_in(tmp_path)) == found
    with pytest.raises(AssertionError, match=r"suite\.loose is in no room"):
        level("suite.loose")


def test_contributing_shows_the_house() -> None:
    """In ten lines, room by room, in the order in which they may import."""
    block = (ROOT / "CONTRIBUTING.md").read_text().split("```")[1].strip()
    leaves, *rooms = [re.split(r"  +", line)[0].replace("/", "").split(", ") for line in block.splitlines()]
    assert set(leaves) == LEAVES
    assert len(rooms) == 9
    order = dict.fromkeys(room.split(".")[0] for line in ORDER for room in line)
    assert [room for line in rooms for room in line] == [room for room in order if room not in ("", "__main__")]
    for found in (path for path in (ROOT / "suite").iterdir() if path.is_dir() and (path / "__init__.py").is_file()):
        assert found.name in order


distributions = functools.cache(packages_distributions)  # reading all that is installed takes a second


def packages(modules: Collection[str]) -> set[str]:
    """The packages that have to be asked for to have modules that are neither Python's nor ours."""
    known = distributions()
    top = {module.split(".")[0] for module in modules} - {"", "suite", "baselines"} - sys.stdlib_module_names
    return {COMES_WITH.get(module) or plain(known.get(module, [module])[0]) for module in top}


def plain(requirement: str) -> str:
    """The name of a package in a requirement, written in one way."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ]", requirement)[0]).lower()


def test_what_is_imported_is_required() -> None:
    """Of other packages: in functions and in optional places by an extra, elsewhere by every installation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = set(map(plain, project["dependencies"]))
    extras = {plain(one) for extra, ones in project["optional-dependencies"].items() if extra != "dev" for one in ones}
    used = set()
    for path in [*(ROOT / "suite").rglob("*.py"), *(ROOT / "baselines").rglob("*.py")]:
        used |= packages(imports(path))
        if not path.relative_to(ROOT).as_posix().startswith(OPTIONAL):
            assert packages(imports(path, in_functions=False)) <= required, path
    assert required <= used <= required | extras


def test_extras_bring_what_is_said_of_them() -> None:
    """Every module that the advice about an extra names is of a package that this extra asks for, and none is left."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    said = {extra: packages(modules) for extra, modules in EXTRAS.items()}
    brought = {extra: set(map(plain, ones)) for extra, ones in extras.items() if extra != "dev"}
    brought["export"] -= brought["study"]  # which is named first
    assert said == brought


def test_files_and_functions_are_small() -> None:
    """Files in suite/ have under 300 lines, methods under 90 besides docstring and imports, functions at most 60."""
    for path in [*(ROOT / "suite").rglob("*.py"), *(ROOT / "baselines").glob("*.py")]:
        tree = ast.parse(path.read_text())
        assert path.read_text().count("\n") < 300, path
        if path.parent.name == "baselines":
            code = path.read_text().splitlines()[tree.body[0].end_lineno :]
            imported = sum((node.end_lineno or 0) - node.lineno + 1 for node in tree.body if isinstance(node, IMPORTS))
            assert sum(bool(line.strip()) for line in code) - imported < 90, path
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name}"


def test_every_method_numbers_its_departures() -> None:
    """A method's docstring says where it departs from paper or official code."""
    for path in (ROOT / "baselines").glob("[!_]*.py"):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert re.search(r"^Departures:( none|\n1\. )", text, re.MULTILINE), path


def test_help_is_fast_and_light() -> None:
    """`suite --help` takes under half a second of processor time, best of three, and imports nothing heavy."""
    program = (
        "import sys; from suite.cli.app import app; app(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    )
    seconds = []
    for _ in range(3):
        before = os.times()
        shown = subprocess.check_output([sys.executable, "-c", program], text=True)
        after = os.times()
        used = (after.children_user - before.children_user) + (after.children_system - before.children_system)
        seconds.append(used)
    assert "validate" in shown
    assert not HEAVY & set(ast.literal_eval(shown.splitlines()[-1]))
    assert min(seconds) / min(slowness() for _ in range(3)) < 0.5


def test_the_package_is_the_command() -> None:
    """`python -m suite`, with its exit code."""
    done = subprocess.run([sys.executable, "-m", "suite", "report", "nonsense"], capture_output=True, text=True)  # noqa: PLW1510
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no study 'nonsense'")


def test_methods_are_found_in_files_and_entry_points(tmp_path: Path) -> None:
    """The README's own method, as a package beside ours, is found and keeps its schedule."""
    code = re.search(r"`brightest.py`:\n\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code
    (tmp_path / "brightest.py").write_text(code[1])
    (tmp_path / "other-1.dist-info").mkdir()
    (tmp_path / "other-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (tmp_path / "other-1.dist-info/entry_points.txt").write_text("[cropr_suite.methods]\nbrightest = brightest\n")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from suite.reduction import registry
assert registry.settings_class("brightest")(stage="pre").stage == "pre"
import torch
from suite.measure.tokens import check_tokens, count_tokens
from suite.reduction.backbone import create_backbone
from suite.reduction.model import reduce
options = dict(img_size=16, patch_size=4, embed_dim=16, depth=3, num_heads=2)
model = reduce(create_backbone("vit_tiny_patch16_224", options, 10), "brightest", (4, 4, 0))
tokens = count_tokens(model, torch.randn(2, 3, 16, 16))
check_tokens(model, tokens)
print(tokens.leaving)
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "(13, 9, 9)\n"


def test_missing_torchvision_operators_are_declared_and_refuse_to_run() -> None:
    """Where torchvision's library does not load, as here by force, timm still imports, and nms says why it cannot."""
    program = """
import torch
def refuse(path):
    raise OSError(path)
torch.ops.load_library = refuse
import suite.torchvision_operators
import timm
try:
    torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except RuntimeError as error:
    print(error)
"""
    assert "only declared" in subprocess.check_output([sys.executable, "-c", program], text=True)


def test_a_matching_torchvision_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the operators load, nothing is declared."""
    from suite import torchvision_operators

    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(torchvision_operators, "_operators_load", lambda: True)
    assert torchvision_operators.declare_missing.__wrapped__() is None


def test_nothing_names_this_machine() -> None:
    """No committed text holds a path of a home or work folder, or the address of a package index."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    pattern = re.compile(r"/(?:root|home|work)/\w|(?:index|extra-index|find-links)[-_]?url\s*=", re.IGNORECASE)
    for name in tracked:
        path = ROOT / name
        if path.suffix not in {".png", ".pt", ".npz", ".xz"} and path.name != Path(__file__).name and path.is_file():
            found = pattern.search(path.read_text())
            assert not found, f"{name}: {found and found[0]}"
