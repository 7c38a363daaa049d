"""Study files: what is refused, how it is said, and which cells come out."""

import subprocess
from pathlib import Path

import pytest
from tiny_study import SUITE
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.training.cells import expand
from suite.kinds.training.execute import run_cell
from suite.kinds.training.schema import Study
from suite.kinds.training.study import check_backbone
from suite.reduction.registry import settings_class
from suite.reduction.size import Size
from suite.study import protocol
from suite.study.cells import Cell, Job
from suite.study.load import find, find_study, load, remember, words_of
from suite.study.records import stated
from suite.study.schema import Backbone

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
    return load("trial.yaml").study


BAD = {  # what is said instead, with line and place of the problem that it makes
    "9: finetune.curriculum": ("finetune: {", "finetune: {curriculum: fast, "),
    "8: base.recipe.method_learning_rate": (
        "recipe: {epochs: 1, ",
        "recipe: {epochs: 1, method_learning_rate: 1.0e-2, ",
    ),
    "16: sedes": ("seeds: [0, 1]", "sedes: [0, 1]"),
    "16: seeds": ("seeds: [0, 1]", "seeds: []"),
    "16: seeds.1": ("seeds: [0, 1]", "seeds: [0, 0]"),
    "19: focus.1": ("seeds: [0, 1]", "seeds: [0, 1]\nfocus:\n  - cropr + last-layer\n  - randon"),
    "17: focus.0": ("seeds: [0, 1]", "seeds: [0, 1]\nfocus: [none]"),
    "1: seeds": ("seeds: [0, 1]", ""),
    "2: kind": ("task: classification", "kind: trainig\ntask: classification"),
    "2: task": ("task: classification", "task: clasification"),
    "3: data.recipe": ("recipe: digit-scenes", "recipe: digit-scene"),
    "3: data.digits": ("digit_size: [8, 10]", "digits: 0"),
    "3: data": ("digit_size: [8, 10]", "digit_size: [8, 20]"),
    "14: methods.1.method": ("  - random", "  - randum"),
    "14: methods.1": ("  - random", "  - none"),
    "15: methods.2": ("  - random", "  - random\n  - {method: random, name: again}"),
    "15: methods.2.fusion": ("fusion: last-layer", "fusion: logits"),
    "15: methods.2.settings.querys": ("fusion: last-layer", "settings: {querys: 2}"),
    "15: methods.2.settings.queries": ("fusion: last-layer", "settings: {queries: 0}"),
    "11: schedules.0": ("[4, 4, 0, 0]", "[4, 4, 0]"),
    "12: schedules.1": (
        "- removed: [4, 4, 0, 0]",
        "- {name: a, removed: [4, 4, 0, 0]}\n  - {name: b, constant: 4, blocks: 0-1}",
    ),
    "9: finetune.images": ("finetune: {", "finetune: {images: 65, "),
    "8: base.recipe.images": ("recipe: {epochs", "recipe: {images: 65, epochs"),
    "9: finetune.epochs": ("finetune: {epochs: 1", "finetune: {epochs: true"),
    "9: finetune.weight_decay": ("finetune: {epochs: 1", "finetune: {weight_decay: .inf, epochs: 1"),
    "9: finetune.decay": ("finetune: {epochs: 1", "finetune: {decay: cosine, epochs: 1"),
    "9: finetune": ("finetune: {epochs: 1", "finetune: {flip: 0.2, epochs: 1"),
    "6: backbone.options.patch_size": ("patch_size: 4", "patch_size: 0"),
    "6: backbone.options": ("num_heads: 2", "num_heads: 2, pretrained: true"),
    "6: backbone.options.img_size": ("canvas: 16", "canvas: 24"),
}
SAME_PLACE = [  # other ways to the last row or the schedule
    ("15: methods.2", "method: cropr, ", "method: tome, "),
    ("15: methods.2", "[4, 4, 0, 0]", "[4, 4, 4, 0]"),
    ("14: methods.1", "  - random", "  - {method: evit, settings: {fuse_single: [9]}}"),
    (
        "13: methods.0.method",
        STUDY[STUDY.index("  - none") : STUDY.index("seeds")],
        "  - nune\n",
    ),  # and not empty
    ("11: schedules.0", "finetune: {", "finetune: {curriculum: official, "),
    (
        "13: methods.0",
        STUDY[STUDY.index("finetune") : STUDY.index("  - {method: cropr")],
        "finetune: {epochs: 2, learning_rate: 1.0e-3, curriculum: linear}\nschedules:\n  - removed: [4, 4, 0, 0]\n"
        "methods:\n  - sit\n  - random\n",
    ),  # which has weights for one number of tokens
    *(
        ("11: schedules.0", "removed: [4, 4, 0, 0]", rule)
        for rule in (
            "{}",
            "{linear: 2, fused: true}",
            "{constant: 2}",
            "removed: [9, 9, 0, 0]",
            "removed: [4, -1, 0, 0]",
            "{constant: 2, blocks: [1, 7]}",
            "{keep_rate: 0.5, blocks: [1, 1]}",
        )
    ),
]


@pytest.mark.parametrize(("place", "old", "new"), [*((place, *change) for place, change in BAD.items()), *SAME_PLACE])
def test_bad_studies_are_refused_with_line_and_place(place: str, old: str, new: str) -> None:
    """One problem is one line, which begins with the file, the line and the place."""
    assert old in STUDY
    with pytest.raises(UserError) as refused:
        study(STUDY.replace(old, new, 1))
    assert str(refused.value).startswith(f"trial.yaml:{place}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[4, 4, 0, 0]", "&a [*a]", "contains itself"),
        ("question: Does it work?", "question: Does it: work?", "not readable as YAML"),
        ("task: classification", "task: classification\ntask: classification", "2: task: .* line 3"),
        ("canvas: 16", "canvas: [", "not readable as YAML"),
        (STUDY, "[]", "a study is a mapping of keys"),
        ("  - random", "  - randum", "did you mean random"),
        ("seeds: [0, 1]", "sedes: [0, 1]", "did you mean seeds"),
        ("task: classification", "task: clasification", "did you mean classification"),
        ("recipe: digit-scenes", "recipe: digit-scene", "did you mean digit-scenes"),
        ("task: classification", "kind: trainig\ntask: classification", "did you mean training"),
        ("seeds: [0, 1]", "seeds: []", r"seeds: must have 1 or more entries, found \[\]$"),
        ("seeds: [0, 1]", "seeds: 3", "seeds: a list is needed, such as .0, 1, 2., found 3$"),
        (STUDY[STUDY.index("{recipe") : STUDY.index("\nbackbone")], "3", "data: must be a mapping of keys, found 3$"),
        ("digit_size: [8, 10]", "digit_size: [8]", "data.digit_size.1: this key is required$"),
        ("digit_size: [8, 10]", "digit_size: [8, 9, 10]", "must have 2 or fewer entries, found"),
        ("digit_size: [8, 10]", "digits: 0", "digits: must be at least 1, found 0$"),
        ("finetune: {epochs: 1", "finetune: {epochs: few", "finetune.epochs: must be a whole number, found 'few'$"),
        ("fusion: last-layer", "fusion: last_layer", "fusion: unknown value 'last_layer'; did you mean last-layer"),
    ],
)
def test_files_that_are_no_study_are_refused(old: str, new: str, message: str) -> None:
    """YAML that cannot be read, or says something twice; of wrong names the nearest right one is named."""
    with pytest.raises(UserError, match=rf"^trial.yaml:.*{message}"):
        study(STUDY.replace(old, new, 1))


def test_changes_are_made_before_the_study_is_checked() -> None:
    """They make the study that a file with them would be, and name a results folder of their own."""
    study()
    changes = ["seeds=[5]", "finetune.epochs=2", "methods.2.fusion=none"]
    loaded = load("trial.yaml", changes)
    assert loaded.name == load("trial.yaml", changes[::-1]).name
    assert load("trial.yaml", changes[1:]).name == "trial+finetune.epochs=2+methods.2.fusion=none"
    names = {load("trial.yaml", [change]).name for change in ("seeds=[6]", "seeds=[ 6]", "question='\u00fc/#'")}
    assert len(names) == 3
    assert set("".join(names)) <= set("abcdefghijklmnopqrstuvwxyz0123456789+=_-.[]")
    text = STUDY.replace("finetune: {epochs: 1", "finetune: {epochs: 2").replace("[0, 1]", "[5]")
    assert loaded.study == study(text.replace("last-layer", "none"))


def test_a_method_is_named_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the study, wherever it is loaded from; its code is part of a cell's identity, its path is not."""
    code = (Path(__file__).parent / "example_package/mine.py").read_text()
    for folder in ("here", "there"):
        Path(folder).mkdir()
        Path(folder, "trial.yaml").write_text(STUDY.replace("  - random", "  - ./mine.py"))
        Path(folder, "mine.py").write_text(code)

    def cells(folder: str) -> dict[str, str]:
        found = [cell for cell in expand(load(f"{folder}/trial.yaml").study) if cell.row == "mine"]
        assert {cell.places["method"] for cell in found} == {str(Path(folder, "mine.py").resolve())}
        return {cell.variant: cell.cell_id for cell in found}

    before = cells("here")
    assert before == cells("there")
    assert before.keys() == {"seed 0", "seed 1", "batch 2"}
    Path("there/mine.py").write_text(code.replace(".norm(dim=-1)", ".amax(-1)"))
    assert not set(before.values()) & set(cells("there").values())
    cell = next(
        cell for cell in expand(load("here/trial.yaml").study) if cell.row == "mine" and cell.variant == "seed 0"
    )
    places = cell.places | {"method": str(Path("there/mine.py").resolve())}
    with pytest.raises(
        UserError, match=r"there/mine.py is not the code that this study was planned with \(\w+, planned"
    ):
        run_cell(Job(cell.identity, None, places=places))
    Path("there/mine.py").unlink()
    with pytest.raises(UserError, match=r"there/trial.yaml:14: methods.1.method: there/mine.py does not exist"):
        load("there/trial.yaml")


def test_a_merged_key_may_be_said_anew() -> None:
    """As YAML has it: what a mapping merges (`<<`) is not said twice."""
    found = study(STUDY.replace("recipe: {epochs", "recipe: &r {epochs").replace("finetune: {", "finetune: {<<: *r, "))
    assert (found.base.recipe, found.finetune.epochs) == (found.finetune, 1)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (["backbone.options.img_size=[16, 32]"], "the backbone takes 16 x 32 pixels, data.canvas is 16 x 16"),
        (["backbone.options.img_size=[32, 16]"], "the backbone takes 32 x 16 pixels, data.canvas is 16 x 16"),
        (["task=segmentation", "backbone.options.img_size=[16, 32]"], "takes 16 x 32 pixels, data.canvas is 16 x 16"),
        (["task=segmentation", "data.canvas=14"], ""),
        (["task=segmentation", "data.canvas=14", "backbone.options.patch_size=[4, 7]"], "14 x 14, 16 x 14 in whole"),
        (["backbone.options.patch_size=[4, 8]"], ""),
        (["task=segmentation", "backbone.options.patch_size=[8, 4]"], ""),
    ],
)
def test_height_and_width_are_those_of_the_images(changes: list[str], found: str) -> None:
    """In whole patches where the task pads to them; patches may be higher than wide."""
    study(STUDY.replace("[4, 4, 0, 0]", "[2, 0, 0, 0]").replace("  - {method: cropr, fusion: last-layer}\n", ""))
    if not found:
        check_backbone(load("trial.yaml", changes))
        return
    with pytest.raises(UserError, match=f"backbone.options.img_size: .*{found}") as refused:
        load("trial.yaml", changes)
    assert "\n" not in str(refused.value)


def test_an_alias_changes_in_one_place() -> None:
    """What YAML shares between two keys is not shared with a change."""
    recipe = "{epochs: 1, learning_rate: 1.0e-3}"
    study(STUDY.replace(recipe, "*r").replace("*r", f"&r {recipe}", 1))
    changed = load("trial.yaml", ["finetune.epochs=3"]).study
    assert (changed.base.recipe.epochs, changed.finetune.epochs) == (1, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["finetune.epoch=2"], "--set finetune.epoch=2: finetune.epoch: unknown key; did you mean epochs?"),
        (["finetune.epochs=x"], "--set finetune.epochs=x: finetune.epochs: "),
        (["finetune.epochs"], "--set finetune.epochs: a change names a key and a value"),
        (["methods.9.name=x"], "--set methods.9.name=x: methods.9.name: a list of 3 has no entry 9"),
        (["seeds=[1]", "seeds=[2]"], "--set seeds=[2]: seeds is changed twice"),
        (["seeds=["], "--set seeds=[: the value is not readable as YAML"),
        (["schedules.0.removed=[1,2]"], "trial.yaml:11 with --set schedules.0.removed=[1,2]: schedules.0: 2 counts"),
        (["finetune.epochs.x=2"], "trial.yaml:9 with --set finetune.epochs.x=2: finetune.epochs: must be a whole numb"),
        (["base="], "trial.yaml:1 with --set base=: study: cells start either from"),
        (["seeds=[1]", "data.canvas=24"], "trial.yaml:6 with --set seeds=[1] --set data.canvas=24: backbone.options"),
    ],
)
def test_wrong_changes_are_refused(changes: list[str], message: str) -> None:
    """The change is named instead of a line of the file, or beside it where the two do not fit together."""
    study()
    with pytest.raises(UserError) as refused:
        load("trial.yaml", changes)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("changes", [(), ("finetune.epochs=2",), ("seeds=[1, 2]", "question=' a+b/c'")])
def test_a_results_folder_finds_its_study(changes: tuple[str, ...]) -> None:
    """With the changes that it was made with, whatever their characters, in `studies/` and elsewhere."""
    Path("studies").mkdir()
    for place in ("studies/trial.yaml", "elsewhere.yaml"):
        Path(place).write_text(STUDY)
        loaded = load(place, changes)
        remember(loaded)
        found = find(loaded.name)
        assert found is not None
        assert (found.study, found.name, found.changes) == (loaded.study, loaded.name, changes)
        Path(place).unlink()
        assert find(loaded.name) is None
    assert find("other") is None


@pytest.mark.parametrize(("place", "name"), [("studies/trial.yaml", "trial"), ("elsewhere.yaml", "elsewhere.yaml")])
def test_without_results_a_study_is_called_by_file_and_changes(place: str, name: str) -> None:
    """As a shell takes them; there the name of its results finds nothing."""
    Path("studies").mkdir()
    Path(place).write_text(STUDY)
    assert words_of(load(place)) == name
    assert words_of(load(place, ["seeds=[1, 2]", "speed="])) == f"{name} --set 'seeds=[1, 2]' --set speed="
    for command in ("track", "pack"):
        refused = CliRunner().invoke(app, [command, place, "--set", "speed="]).exception
        assert str(refused).endswith(f"suite run {name} --set speed=")


def test_merging_more_than_half_is_refused() -> None:
    """ToMe cannot remove more than half of the patches."""
    with pytest.raises(UserError, match=r"methods.1: tome: merging can remove at most half .* so 8, .* removes 9"):
        study(STUDY.replace("- random", "- tome").replace("[4, 4, 0, 0]", "[9, 1, 0, 0]"))
    cut = study(STUDY.replace("- random", "- tome").replace("[4, 4, 0, 0]", "[9, 1, 0, 0]\n    clamp: true"))
    assert {tuple(cell.identity["removed"]) for cell in expand(cut) if cell.row == "tome"} == {(8, 1, 0, 0)}
    with pytest.raises(UserError, match="the rule keep_rate does not read clamp"):
        study(STUDY.replace("removed: [4, 4, 0, 0]", "keep_rate: 0.5\n    blocks: [1]\n    clamp: true"))


def test_an_unknown_study_is_refused_with_the_nearest_names() -> None:
    """A study is a path or a name in studies/."""
    Path("studies").mkdir()
    Path("studies/quickstart.yaml").write_text(STUDY)
    assert load("quickstart").study == load("studies/quickstart.yaml").study
    with pytest.raises(UserError, match="did you mean quickstart"):
        load("quickstrat")


def test_bad_input_ends_with_code_2_and_no_traceback() -> None:
    """The command line prints the message and nothing else, before anything heavy is imported."""
    Path("trial.yaml").write_text(STUDY.replace("random", "randum"))
    done = subprocess.run([*SUITE, "run", "trial.yaml"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: trial.yaml:14: methods.1.method: unknown method 'randum'")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vit_tiny_patch16_224", "vit_tiny_patch16_225", "did you mean vit_tiny_patch16_224"),
        ("vit_tiny_patch16_224", "resnet18", "trial.yaml:4: backbone: backbone resnet18"),
        ("num_heads: 2", "num_head: 2", "unexpected keyword argument 'num_head'"),
        ("num_heads: 2", "num_heads: 3", "trial.yaml:4: backbone: backbone vit_tiny_patch16_224 with options"),
        ("num_heads: 2", "num_heads: 2, patch_drop_rate: 0.5", "removes patches by itself"),
        ("num_heads: 2", "num_heads: 2, qkv_bias: maybe", "qkv_bias must be true or false, found the text 'maybe'"),
    ],
)
def test_a_backbone_that_cannot_be_built_is_refused(old: str, new: str, message: str) -> None:
    """`suite validate` and `suite run` ask timm, after everything that can be checked without it."""
    Path("trial.yaml").write_text(STUDY.replace(old, new, 1))
    with pytest.raises(UserError) as refused:
        check_backbone(load("trial.yaml"))
    assert message in str(refused.value)


@pytest.mark.parametrize("change", ["backbone.name=vit_tony_patch16_224", "backbone.options.num_heads=5"])
def test_a_backbone_that_a_change_spoils_is_refused(change: str) -> None:
    """With the change beside the line."""
    study()
    with pytest.raises(UserError, match=rf"^trial.yaml:4 with --set {change}: backbone: "):
        check_backbone(load("trial.yaml", [change]))


def test_a_size_that_timm_does_not_build_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as Python shows it."""
    study()
    loaded = load("trial.yaml")
    monkeypatch.setattr(Backbone, "stated_size", lambda _: Size((16, 32), (4, 4), (4, 8), 4))
    with pytest.raises(UserError) as refused:
        check_backbone(loaded)
    assert str(refused.value).endswith(
        "timm builds it for images of 16 x 16 pixels, 4 x 4 patches of 4 x 4 pixels and 4 blocks; the options say "
        "images of 16 x 32 pixels, 4 x 8 patches of 4 x 4 pixels and 4 blocks"
    )


def test_a_named_timm_model_is_asked_for_its_size() -> None:
    """Where the options do not say the size, timm does."""
    named = STUDY.replace("  options: {img_size: 16, patch_size: 4, embed_dim: 16, depth: 4, num_heads: 2}\n", "")
    with pytest.raises(UserError, match="4 counts for a backbone of 12 blocks"):
        study(named)


def test_cells_are_the_base_then_accuracy_then_speed() -> None:
    """A base cell for each seed, one accuracy cell per row and seed, one speed cell per row."""
    cells = expand(study())
    assert [cell.kind for cell in cells] == ["base"] * 2 + ["accuracy"] * 6 + ["speed"] * 3
    assert len({cell.cell_id for cell in cells}) == len(cells)


def ids(text: str, kind: str) -> set[str]:
    """Ids of the accuracy cells of the last row, or of all speed cells."""
    cells = [cell for cell in expand(study(text)) if cell.kind == kind]
    return {cell.cell_id for cell in cells if kind == "speed" or cell.row.startswith("cropr")}


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("accuracy", "train: 64", "train: 65"),
        ("accuracy", "embed_dim: 16", "embed_dim: 32"),
        ("accuracy", "base:\n  recipe: {epochs: 1", "base:\n  recipe: {epochs: 2"),
        ("accuracy", "finetune: {epochs: 1", "finetune: {epochs: 2"),
        ("accuracy", "finetune: {epochs: 1", "finetune: {threads: 2, epochs: 1"),
        ("accuracy", "finetune: {epochs: 1", "finetune: {images: 32, epochs: 1"),
        ("accuracy", "[4, 4, 0, 0]", "[4, 3, 0, 0]"),
        ("accuracy", "{method: cropr, fusion: last-layer}", "cropr"),
        ("accuracy", "fusion: last-layer}", "fusion: last-layer, settings: {queries: 2}}"),
        ("accuracy", "seeds: [0, 1]", "seeds: [2, 3]"),
        ("speed", "batch_size: 2", "batch_size: 4"),
        ("speed", "rounds: 5", "rounds: 6"),
        ("speed", "depth: 4", "depth: 4, class_token: true"),
        ("speed", "name: vit_tiny_patch16_224", "name: vit_small_patch16_224"),
    ],
)
def test_what_decides_a_result_decides_the_id(kind: str, old: str, new: str) -> None:
    """Any change that could change a result gives other ids."""
    assert old in STUDY
    assert not ids(STUDY, kind) & ids(STUDY.replace(old, new), kind)


def test_versions_decide_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """A raised method version or protocol makes new cells."""
    before = ids(STUDY, "accuracy")
    with monkeypatch.context() as raised:
        raised.setattr(settings_class("cropr"), "version", 99)
        assert not before & ids(STUDY, "accuracy")
    assert before == ids(STUDY, "accuracy")
    monkeypatch.setattr(protocol, "PROTOCOL", 99)
    assert not before & ids(STUDY, "accuracy")


def test_what_does_not_decide_a_result_does_not_decide_the_id() -> None:
    """The question, the label of a row, defaults written out, other rows and more seeds leave the ids alone.

    So does what the question is about.
    """
    changed = STUDY.replace("Does it work?", "Really?").replace("  - random\n", "").replace("[0, 1]", "[0, 1, 2]")
    changed = changed.replace("fusion: last-layer", "fusion: last-layer, name: cropr!, settings: {queries: 1}")
    assert ids(STUDY, "accuracy") < ids(changed, "accuracy")
    assert ids(STUDY, "speed") == ids(STUDY.replace("[0, 1]", "[5]").replace("train: 64", "train: 65"), "speed")
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
    kinds = set()
    for path in (Path(__file__).parents[1] / "studies").glob("*.yaml"):
        loaded = load(str(path))
        kinds.add(loaded.kind.name)
        text = path.read_text().split("\nrows:")[0]
        rows_are_cut = text != path.read_text()
        parts = [loaded.study, *getattr(loaded.study, "backbones", ())]
        rows = sum(len(getattr(part, name, ())) for part in parts for name in ("methods", "rows", "excluded", "focus"))
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        assert len(lines) - (0 if rows_are_cut else rows) < 40
    assert kinds == {"training", "speed", "costs", "off-the-shelf"}


def test_a_study_in_studies_is_known_however_its_path_is_written() -> None:
    """Its provenance, which may be committed, states no path; that of a study elsewhere does."""
    Path("studies").mkdir()
    for path in ("studies/known.yaml", "elsewhere.yaml"):
        Path(path).write_text(STUDY)
    remember(load(str(Path("studies/known.yaml").resolve())))
    assert stated(Path("results/known"), "study") == "known"
    remember(load("elsewhere.yaml"))
    assert find_study("elsewhere") == Path("elsewhere.yaml")


def test_every_seed_has_its_own_base_unless_one_is_shared() -> None:
    """All rows of a seed start from the base of that seed, so that they are pairs."""
    starts = {}
    for name, text in (("own", STUDY), ("shared", STUDY.replace("base:\n", "base:\n  shared: true\n"))):
        cells = expand(study(text))
        bases = {cell.identity["seed"]: cell.cell_id for cell in cells if cell.kind == "base"}
        started = {(cell.identity["seed"], cell.start) for cell in cells if cell.kind == "accuracy"}
        starts[name] = (sorted(bases), started == {(seed, bases.get(seed, bases[0])) for seed in (0, 1)})
    assert starts == {"own": ([0, 1], True), "shared": ([0], True)}


def test_numerics_are_part_of_what_is_trained_and_not_of_what_is_timed() -> None:
    """Those of the machine, which are not named, leave the ids of earlier cells as they were."""
    native, portable = (expand(study(text)) for text in (STUDY, STUDY + "numerics: portable\n"))
    assert not any("numerics" in cell.identity for cell in native)
    same = {cell.kind for cell in native} - {cell.kind for cell in portable if cell not in native}
    assert same == {"speed"}
    assert {cell.identity["numerics"] for cell in portable if cell.kind != "speed"} == {"portable"}
    with pytest.raises(UserError, match="numerics"):
        study(STUDY + "numerics: exact\n")
