"""Tasks and data sets: those of this package, and those that another package brings."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite import plugins
from suite.data.dataset import data_sets
from suite.errors import UserError
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
