"""Tasks and data sets: those of this package, and those that another package brings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from suite.data.dataset import data_sets
from suite.errors import UserError
from suite.study.load import load
from suite.tasks.task import task, tasks

PACKAGE = Path(__file__).parent / "example_package"
STUDY = """\
question: Does a method count as well as the unpruned model?
task: counting
data: {recipe: dots}
backbone:
  name: vit_tiny_patch16_224
  options: {img_size: 16, patch_size: 4, embed_dim: 16, depth: 3, num_heads: 2}
base:
  recipe: {epochs: 2, learning_rate: 3.0e-3, batch_size: 16}
finetune: {epochs: 2, learning_rate: 1.0e-3, batch_size: 16}
schedules:
  - removed: [4, 4, 0]
methods: [none, random, cropr]
seeds: [0]
"""
RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import importlib.metadata
from suite.kinds.training.cells import expand
from suite.kinds.training.execute import run_cell
from suite.study.cells import Job
from suite.study.load import load
cells = expand(load("trial.yaml").study)
weights, found = None, {}
for cell in cells:
    result = run_cell(Job(cell.identity, weights))
    weights = result.pop("weights", weights)
    found[cell.row] = result
print(json.dumps(found))
"""


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


def test_a_task_and_a_data_set_of_another_package_train(tmp_path: Path) -> None:
    """A regression with a score of its own, on images with targets of their own; scores, tokens and costs are there."""
    (tmp_path / "trial.yaml").write_text(STUDY)
    command = [sys.executable, "-c", RUN, str(PACKAGE)]
    found = json.loads(subprocess.check_output(command, text=True, cwd=tmp_path))
    assert [result["status"] for result in found.values()] == ["done"] * 4
    for row in ("none", "random", "cropr"):
        result = found[row]
        assert 0 <= result["metrics"]["right_last"] <= result["metrics"]["right_best"] <= 100
        assert result["units"]["right_last"] == "%"
        assert len(result["curves"]["right"]) == len(result["curves"]["loss"]) == 2
        assert len(result["details"]["example"]["prediction"]) == 3
    assert found["random"]["metrics"]["macs_full"] < found["none"]["metrics"]["macs_full"]
    assert found["base"]["curves"]["loss"][1] < found["base"]["curves"]["loss"][0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("task: counting", "task: segmentation", "3: data.recipe: segmentation needs maps, dots offers counts"),
        ("{recipe: dots}", "{recipe: dots, most: 0}", "3: data.most: "),
        ("{recipe: dots}", "{recipe: dots, side_of_images: 8}", "6: backbone.options.img_size: .*data.side_of_images"),
        ("random, cropr", "{method: cropr, fusion: logits}", "12: methods.1.fusion: counting does not read logits"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    """Targets that the data do not offer, sizes, and fusions that the task does not read; with line and place."""
    from suite import plugins

    monkeypatch.syspath_prepend(PACKAGE)
    plugins.modules.cache_clear()
    try:
        path = tmp_path / "trial.yaml"
        path.write_text(STUDY.replace(old, new))
        with pytest.raises(UserError, match=rf"trial.yaml:{message}"):
            load(str(path))
    finally:
        monkeypatch.undo()
        plugins.modules.cache_clear()
