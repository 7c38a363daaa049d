"""Tasks and data sets: those of this package, and those that another package brings."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suite import plugins
from suite.cli.studies import run
from suite.data.dataset import data_sets
from suite.errors import UserError
from suite.reduction.registry import modules as methods
from suite.study.kind import Loaded, kinds
from suite.study.load import load
from suite.tasks.task import task, tasks

PACKAGE = Path(__file__).parent / "example_package"


def test_tasks_and_data_sets_are_found_by_folder_and_file() -> None:
    """Helpers of a folder are none of them."""
    assert {"classification", "segmentation"} <= set(tasks())
    assert {"digit-scenes", "ade20k"} <= set(data_sets())
    assert {task(name).name for name in tasks()} == set(tasks())


def test_finding_tasks_and_data_sets_loads_nothing_heavy() -> None:
    """Neither torch nor numpy, sklearn or mmsegmentation."""
    program = (
        "import sys; from suite.data.dataset import data_sets; from suite.tasks.task import tasks\n"
        "tasks(), data_sets();"
        "print(sorted({'torch', 'timm', 'numpy', 'PIL', 'sklearn', 'mmseg', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example package as if it were installed, and its study of counting."""
    points = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"]
    info = tmp_path / "digit_counts-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: digit-counts\nVersion: 1\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {of}\n" for name, of in named.items()) for group, named in points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for folder in (tmp_path, PACKAGE):
        monkeypatch.syspath_prepend(folder)
    plugins.modules.cache_clear()
    yield (
        (PACKAGE / "counting.yaml")
        .read_text()
        .replace("  - {name: mine, method: ./mine.py}\n", "")
        .replace("focus: [mine]\n", "")
    )
    plugins.modules.cache_clear()


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install a package `foreign` with such entry points, whose module `alien` holds such code."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "foreign-1.dist-info").mkdir()
    (tmp_path / "foreign-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1\n")

    def brought(points: str, code: str = "") -> None:
        (tmp_path / "foreign-1.dist-info/entry_points.txt").write_text(points)
        (tmp_path / "alien.py").write_text(code)
        forget()

    def forget() -> None:
        plugins.modules.cache_clear()
        methods.cache_clear()
        sys.modules.pop("alien", None)

    yield brought
    forget()


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_an_entry_point_that_cannot_be_imported_is_named(
    bring: Callable[[str, str], None], code: str, cause: str
) -> None:
    """With its group, its package, the cause and the cure."""
    bring("[cropr_suite.tasks]\nguess = alien\n", code)
    with pytest.raises(UserError) as refused:
        tasks()
    assert str(refused.value) == (
        "the entry point guess = alien of cropr_suite.tasks in the package foreign cannot be imported, it raises "
        f"{cause}; mend or uninstall that package"
    )


def test_two_of_one_name_are_refused(bring: Callable[..., None]) -> None:
    """Nothing of ours, or of another package, is replaced; whatever the file or entry point is called."""
    for group, name, found in (("methods", "cropr", methods), ("data", "digit-scenes", data_sets)):
        bring(f"[cropr_suite.{group}]\n{name} = alien\n")
        point = f"the entry point {name} = alien of cropr_suite.{group} in the package foreign"
        with pytest.raises(UserError, match=rf"^[\w.]+ and {point} are both called '{name}'; rename one"):
            found()
    bring("[cropr_suite.kinds]\nmine = alien\n", "from suite.kinds.speed import KIND\n")
    with pytest.raises(UserError, match=r"^KIND of suite.kinds.speed and KIND of alien are both called 'speed'"):
        kinds()
    code = "import dataclasses; from suite.kinds.speed import KIND as S; KIND = dataclasses.replace(S, name='mine')"
    bring("[cropr_suite.kinds]\nmine = alien\n", code)
    with pytest.raises(UserError, match=r"^the record of KIND of .*speed and .* alien are both called 'rounds.csv'"):
        kinds()


def test_a_kind_without_a_run_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that writes its record."""
    loaded = Loaded(Path("trial.yaml"), "trial", None, kinds()["official"])
    monkeypatch.setattr("suite.study.load.load", lambda *_: loaded)
    with pytest.raises(UserError, match=r"a study of official has a command of its own: suite race$"):
        run("trial")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "task: counting",
            "task: segmentation",
            "3: data.recipe: segmentation needs maps, counted-digits offers count",
        ),
        ("most: 3", "most: 7", "3: data.most: "),
        ("side_length: 32", "side_length: 24", "6: backbone.options.img_size: .*data.side_length is 24"),
        ("  - cropr", "  - {method: random, fusion: logits}", "14: methods.2.fusion: counting does not read logits"),
        ("data: {recipe: counted-digits", "data: {recipe: digit-scenes", "3: data.side_length: unknown key"),
    ],
)
def test_what_does_not_fit_together_is_refused(example: str, tmp_path: Path, old: str, new: str, message: str) -> None:
    """Targets that the data do not offer, sizes, and fusions that the task does not read; with line and place."""
    path = tmp_path / "trial.yaml"
    path.write_text(example)
    assert load(str(path)).study.classes == 1
    assert old in example
    path.write_text(example.replace(old, new))
    with pytest.raises(UserError, match=rf"trial.yaml:{message}"):
        load(str(path))
