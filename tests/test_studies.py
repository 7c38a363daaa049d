"""Study files: what is refused, how it is said, and which cells come out."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from suite.errors import UserError
from suite.kinds.training import cells as cells_module
from suite.kinds.training.cells import expand
from suite.kinds.training.schema import Study
from suite.reduction.registry import settings_class
from suite.study.cells import Cell
from suite.study.load import check_backbone, is_of_costs, is_of_speed, load_costs, load_speed, load_study

SUITE = [sys.executable, "-c", "from suite.cli.app import main; main()"]
STUDY = """\
question: Does it work?
task: classification
data: {recipe: digit-scenes, canvas: 16, digit_size: [8, 10], train: 64, validation: 32}
backbone:
  name: vit_tiny_patch16_224
  options: {img_size: 16, patch_size: 4, embed_dim: 16, depth: 4, num_heads: 2}
base:
  recipe: {epochs: 1, learning_rate: 1.0e-3}
finetune: {epochs: 1, learning_rate: 1.0e-3}
schedules:
  - removed: [4, 4, 0, 0]
methods:
  - none
  - random
  - {method: cropr, fusion: last-layer}
seeds: [0, 1]
speed: {batch_size: 2, rounds: 5}
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in an empty folder."""
    monkeypatch.chdir(tmp_path)


def study(text: str = STUDY) -> Study:
    """Load a study from text."""
    Path("trial.yaml").write_text(text)
    return load_study("trial.yaml")


BAD = [
    (
        "- removed: [4, 4, 0, 0]",
        "- {linear: 2, fused: true}",
        "schedules.0: the rule linear does not read fused; leave it out",
    ),
    (
        "finetune: {",
        "finetune: {curriculum: official, ",
        "schedules.0: the official curriculum needs one count for all blocks and one more in the first",
    ),
    (
        "finetune: {",
        "finetune: {curriculum: fast, ",
        "finetune.curriculum: Input should be 'none', 'linear' or 'official'",
    ),
    (
        "  - random",
        "  - {method: evit, settings: {fuse_single: [9]}}",
        "evit: fuse_single names blocks [9], which do not exist or do not fuse",
    ),
    ("seeds: [0, 1]", "sedes: [0, 1]", "trial.yaml:16: sedes: unknown key; did you mean seeds"),
    ("seeds: [0, 1]", "seeds: []", "trial.yaml:16: seeds: Tuple should have at least 1 item"),
    ("seeds: [0, 1]", "seeds: [0, 0]", "trial.yaml:16: seeds.1: 0 is there twice"),
    (
        "seeds: [0, 1]",
        "seeds: [0, 1]\nfocus:\n  - cropr + last-layer\n  - randon",
        "trial.yaml:19: about.1: no reduced row is called 'randon'; did you mean random?",
    ),
    ("seeds: [0, 1]", "seeds: [0, 1]\nfocus: [none]", "trial.yaml:17: focus.0: no reduced row is called 'none'"),
    ("seeds: [0, 1]", "seeds: [0, 1]\nfocus: [random, random]", "focus.1: 'random' is there twice"),
    ("seeds: [0, 1]", "", "trial.yaml:1: seeds: this key is required"),
    ("  - random", "  - randum", "trial.yaml:14: methods.1.method: unknown method 'randum'; did you mean random?"),
    ("  - random", "  - none", "trial.yaml:14: methods.1: 'none' is there twice"),
    ("fusion: last-layer", "fusion: last", "trial.yaml:15: methods.2.fusion: Input should be 'none', 'last-layer', "),
    (
        "fusion: last-layer",
        "fusion: logits",
        "trial.yaml:15: methods.2.fusion: logits brings patches back for dense tasks; a classification has none or",
    ),
    (
        "method: cropr, ",
        "method: tome, ",
        "methods.2: tome + last-layer: last-layer fusion needs removed patches to be",
    ),
    ("method: cropr, ", "method: evit, ", "stashed, but this method fuses them; use fusion: none"),
    ("fusion: last-layer", "settings: {querys: 2}", "methods.2.settings.querys: unknown key; did you mean queries?"),
    (
        "fusion: last-layer",
        "settings: {queries: 0}",
        "methods.2.settings.queries: Input should be greater than or equal",
    ),
    ("[4, 4, 0, 0]", "[4, 4, 0]", "trial.yaml:11: schedules.0: 3 counts for a backbone of 4 blocks"),
    ("[4, 4, 0, 0]", "[9, 9, 0, 0]", "schedules.0: the schedule removes 18 of 16 patches and leaves none"),
    ("[4, 4, 0, 0]", "[4, -1, 0, 0]", "counts of removed patches cannot be negative"),
    ("[4, 4, 0, 0]", "[4, 4, 4, 0]", "the last 2 of 4 blocks must remove nothing"),
    (
        "- removed: [4, 4, 0, 0]",
        "- constant: 2\n    blocks: [1, 7]",
        "blocks must name some of the blocks 0 to 3, found [7]",
    ),
    (
        "- removed: [4, 4, 0, 0]",
        "- {}",
        "a schedule needs exactly one of removed, constant, keep_rate, linear, stages, budget; found none",
    ),
    (
        "finetune: {",
        "finetune: {images: 65, ",
        "trial.yaml:9: finetune.images: 65 images to train on, but data.train makes",
    ),
    ("recipe: {epochs", "recipe: {images: 65, epochs", "trial.yaml:8: base.recipe.images: 65 images to train on"),
    (
        "finetune: {epochs: 1",
        "finetune: {epochs: true",
        "finetune.epochs: true and false have no place here, found True",
    ),
    ("seeds: [0, 1]", "seeds: [true, false]", "trial.yaml:16: seeds: true and false have no place here"),
    (
        "finetune: {epochs: 1",
        "finetune: {weight_decay: .inf, epochs: 1",
        "finetune.weight_decay: Input should be a finite",
    ),
    ("finetune: {epochs: 1", "finetune: {warmup_epochs: 1, epochs: 1", "warmup_epochs must be less than the 1 epochs"),
    ("patch_size: 4", "patch_size: 0", "trial.yaml:4: backbone: "),
    ("num_heads: 2", "num_heads: 2, pretrained: true", "pretrained would load weights that no cell's identity knows"),
    ("- removed: [4, 4, 0, 0]", "- keep_rate: 0.5\n    blocks: [1, 1]", "blocks names a block twice: [1, 1]"),
    (
        "- removed: [4, 4, 0, 0]",
        "- removed: [4, 4, 0, 0]\n    length: 2",
        "the rule removed does not read length; leave it",
    ),
    (
        "- removed: [4, 4, 0, 0]",
        "- {name: a, removed: [4, 4, 0, 0]}\n  - {name: b, constant: 4, blocks: [0, 1]}",
        "trial.yaml:12: schedules.1: the same counts as an earlier schedule: [4, 4, 0, 0]",
    ),
    ("  - random", "  - random\n  - {method: random, name: again}", "'again' is the same as 'random': one method with"),
    ("[4, 4, 0, 0]", "&a [*a]", "trial.yaml: a YAML alias contains itself"),
    ("canvas: 16", "canvas: 24", "backbone.options.img_size: the backbone takes 16 pixels, data.canvas is 24"),
    ("digit_size: [8, 10]", "digit_size: [8, 20]", "data: digit_size must rise from 4 or more to the canvas of 16"),
    ("question: Does it work?", "question: Does it: work?", "trial.yaml: not readable as YAML"),
    (
        "task: classification",
        "task: classification\ntask: classification",
        "task: the key stands twice; the second is in",
    ),
    ("vit_tiny_patch16_224\n  options: {img_size: 16,", "vit_tiny_pach16_224\n  options: {", "timm has no model"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_bad_studies_are_refused_by_name(old: str, new: str, message: str) -> None:
    """Every problem is said with its line, its path and what would work."""
    assert old in STUDY
    with pytest.raises(UserError) as refused:
        study(STUDY.replace(old, new, 1))
    assert message in str(refused.value)


def test_merging_more_than_half_is_refused() -> None:
    """ToMe cannot remove more than half of the patches."""
    with pytest.raises(
        UserError, match=r"methods.1: tome: merging can remove at most half .* has 16, so 8, .* removes 9"
    ):
        study(STUDY.replace("- random", "- tome").replace("[4, 4, 0, 0]", "[9, 1, 0, 0]"))


def test_one_faulty_method_is_one_error() -> None:
    """A list whose only member is faulty is not called empty as well."""
    with pytest.raises(UserError) as refused:
        study(STUDY.replace("  - random\n  - {method: cropr, fusion: last-layer}\n", "").replace("- none", "- nune"))
    assert str(refused.value).count("\n") == 0


def test_an_unknown_study_is_refused_with_the_nearest_names() -> None:
    """A study is a path or a name in studies/."""
    Path("studies").mkdir()
    Path("studies/quickstart.yaml").write_text(STUDY)
    assert load_study("quickstart") == load_study("studies/quickstart.yaml")
    with pytest.raises(UserError, match="did you mean quickstart"):
        load_study("quickstrat")


def test_bad_input_ends_with_code_2_and_no_traceback() -> None:
    """The command line prints the message and nothing else, before anything heavy is imported."""
    Path("trial.yaml").write_text(STUDY.replace("random", "randum"))
    for command in ("validate", "plan", "run"):
        done = subprocess.run([*SUITE, command, "trial.yaml"], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("error: trial.yaml:14: methods.1.method: unknown method 'randum'")
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vit_tiny_patch16_224", "vit_tiny_patch16_225", "did you mean vit_tiny_patch16_224"),
        ("vit_tiny_patch16_224", "resnet18", "trial.yaml:4: backbone: backbone resnet18"),
        ("num_heads: 2", "num_head: 2", "unexpected keyword argument 'num_head'"),
        ("num_heads: 2", "num_heads: 3", "trial.yaml:4: backbone: backbone vit_tiny_patch16_224 with options"),
        ("num_heads: 2", "num_heads: 2, patch_drop_rate: 0.5", "removes patches by itself"),
    ],
)
def test_a_backbone_that_cannot_be_built_is_refused(old: str, new: str, message: str) -> None:
    """`suite validate` and `suite run` ask timm, after everything that can be checked without it."""
    Path("trial.yaml").write_text(STUDY.replace(old, new, 1))
    with pytest.raises(UserError) as refused:
        check_backbone("trial.yaml")
    assert message in str(refused.value)


def test_a_named_timm_model_is_asked_for_its_size() -> None:
    """Where the options do not say the size, timm does."""
    named = STUDY.replace("  options: {img_size: 16, patch_size: 4, embed_dim: 16, depth: 4, num_heads: 2}\n", "")
    with pytest.raises(UserError, match="4 counts for a backbone of 12 blocks"):
        study(named)


def test_cells_are_the_base_then_accuracy_then_speed() -> None:
    """A base cell, one accuracy cell per row and seed, one speed cell per row."""
    cells = expand(study())
    assert [cell.kind for cell in cells] == ["base"] + ["accuracy"] * 6 + ["speed"] * 3
    assert len({cell.cell_id for cell in cells}) == len(cells)
    assert {cell.start for cell in cells if cell.kind == "accuracy"} == {cells[0].cell_id}


CHANGES = [
    ("train: 64", "train: 65"),
    ("embed_dim: 16", "embed_dim: 32"),
    ("base:\n  recipe: {epochs: 1", "base:\n  recipe: {epochs: 2"),
    ("finetune: {epochs: 1", "finetune: {epochs: 2"),
    ("finetune: {epochs: 1", "finetune: {threads: 2, epochs: 1"),
    ("finetune: {epochs: 1", "finetune: {images: 32, epochs: 1"),
    ("[4, 4, 0, 0]", "[4, 3, 0, 0]"),
    ("{method: cropr, fusion: last-layer}", "cropr"),
    ("{method: cropr, fusion: last-layer}", "{method: cropr, fusion: last-layer, settings: {queries: 2}}"),
    ("seeds: [0, 1]", "seeds: [2, 3]"),
]


def cropr_cells(text: str) -> set[str]:
    """Ids of the accuracy cells of the last row."""
    return {cell.cell_id for cell in expand(study(text)) if cell.kind == "accuracy" and cell.row.startswith("cropr")}


SPEED_CHANGES = [
    ("batch_size: 2", "batch_size: 4"),
    ("rounds: 5", "rounds: 6"),
    ("depth: 4", "depth: 4, class_token: true"),
    ("name: vit_tiny_patch16_224", "name: vit_small_patch16_224"),
]


@pytest.mark.parametrize(("old", "new"), SPEED_CHANGES)
def test_what_decides_a_speed_decides_the_id(old: str, new: str) -> None:
    """Speed cells have no seed and no data, but a batch size, rounds and a backbone."""
    assert old in STUDY

    def speeds(text: str) -> set[str]:
        return {cell.cell_id for cell in expand(study(text)) if cell.kind == "speed"}

    assert not speeds(STUDY) & speeds(STUDY.replace(old, new))
    assert speeds(STUDY) == speeds(STUDY.replace("seeds: [0, 1]", "seeds: [5]").replace("train: 64", "train: 65"))


def test_versions_decide_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """A raised method version or protocol makes new cells."""
    before = cropr_cells(STUDY)
    with monkeypatch.context() as raised:
        raised.setattr(settings_class("cropr"), "version", 99)
        assert not before & cropr_cells(STUDY)
    assert before == cropr_cells(STUDY)
    monkeypatch.setattr(cells_module, "PROTOCOL", 99)
    assert not before & cropr_cells(STUDY)


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_what_decides_a_result_decides_the_id(old: str, new: str) -> None:
    """Any change that could change a result gives other ids."""
    assert old in STUDY
    assert not cropr_cells(STUDY) & cropr_cells(STUDY.replace(old, new))


def test_what_does_not_decide_a_result_does_not_decide_the_id() -> None:
    """The question, the label of a row, defaults written out, other rows and more seeds leave the ids alone.

    So does what the question is about.
    """
    changed = STUDY.replace("Does it work?", "Really?").replace("  - random\n", "").replace("[0, 1]", "[0, 1, 2]")
    changed = changed.replace("fusion: last-layer", "fusion: last-layer, name: cropr!, settings: {queries: 1}")
    assert cropr_cells(STUDY) < cropr_cells(changed)
    about = STUDY + "focus: [cropr + last-layer, random]\n"
    assert study(about).focus == ("cropr + last-layer", "random")
    assert [cell.cell_id for cell in expand(study(about))] == [cell.cell_id for cell in expand(study())]


def test_the_unpruned_model_is_one_cell_under_every_schedule() -> None:
    """Its counts are all zero, whatever the schedule, so it is trained once per seed."""
    two = STUDY.replace(
        "  - removed: [4, 4, 0, 0]", "  - {name: a, removed: [4, 4, 0, 0]}\n  - {name: b, removed: [2, 2, 0, 0]}"
    )
    cells: list[Cell] = [cell for cell in expand(study(two)) if cell.kind == "accuracy"]
    assert [(cell.row, cell.schedule) for cell in cells].count(("none", "none")) == 2
    assert [cell.row for cell in cells].count("random") == 4


def test_committed_studies_are_valid_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file in studies/ loads, and is under 40 lines besides comments and the list of rows."""
    monkeypatch.chdir(Path(__file__).parents[1])  # published figures are named from there
    for path in (Path(__file__).parents[1] / "studies").glob("*.yaml"):
        if is_of_costs(str(path)):
            assert load_costs(str(path)).rows
            assert path.read_text().split("\nrows:")[0].count("\n") < 40
            continue
        lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
        if is_of_speed(str(path)):
            rows = sum(len(one.rows) for one in load_speed(str(path)).backbones)
            assert len(lines) - rows < 40
            continue
        loaded = load_study(str(path))
        rows = len(yaml.safe_load(path.read_text())["methods"])
        assert len(lines) - rows < 40
        assert expand(loaded)
