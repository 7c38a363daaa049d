"""Names: a study's results are its own and lie in `results/`, and what is run can be asked for by every command."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hand_made import cells, written
from test_studies import STUDY, study
from tiny_study import here

from suite.cli.options import complete_results, complete_study
from suite.errors import UserError
from suite.report.trace import trace
from suite.study.load import check_origin, find, find_study, load, remember, results_of, study_names, title_of
from suite.study.records import stated, write_provenance
from suite.study.sides import side

ROWS = [*cells("random", 70, 71), *cells("good", 80, 81)]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in a folder below an empty one, with a study in `studies/` and one of its name elsewhere."""
    here = tmp_path / "here"
    for folder in ("studies", "drafts"):
        (here / folder).mkdir(parents=True)
        (here / folder / "trial.yaml").write_text(STUDY)
    monkeypatch.chdir(here)


def record(name: str, file: str = "") -> Path:
    """A results folder as a run of a study leaves it."""
    folder = Path("results", name)
    folder.parent.mkdir(exist_ok=True)
    written(folder.parent / "made", [row | {"study": name} for row in ROWS], {"runs": []}).rename(folder)
    (folder / "table.csv").write_text("")
    if file:
        remember(load(file))
    return folder


@pytest.mark.parametrize("command", ["validate", "run", "track"])
def test_two_studies_of_one_name_do_not_share_results(command: str) -> None:
    """The second is refused before anything runs, with both files and the cure; so are its tables."""
    record("trial")
    kept = Path("results/trial/cells.csv").read_bytes()
    done = here(Path(), command, "drafts/trial.yaml")
    assert done.returncode == 2
    assert "results/trial was made from studies/trial.yaml, and would be overwritten" in done.stderr
    assert "drafts/trial.yaml: they have one name; rename one of the files" in done.stderr
    assert Path("results/trial/cells.csv").read_bytes() == kept
    for command in ("table", "figures", "report"):
        assert here(Path(), command, "drafts/trial.yaml").returncode == 2
    assert (
        results_of("trial") == results_of("studies/trial.yaml") == results_of(str(Path("studies/trial.yaml").resolve()))
    )


def test_results_know_their_file_with_its_changes() -> None:
    """Whichever was first keeps the folder; a file that was moved, or is reached by a link, is the same study."""
    record("trial", "drafts/trial.yaml")
    check_origin(load("drafts/trial.yaml"))
    with pytest.raises(UserError, match=r"results/trial was made from drafts/trial.yaml, .*from studies/trial.yaml"):
        check_origin(load("trial"))
    found = find("trial")
    assert found is not None
    assert found.path == Path("drafts/trial.yaml"), "not the file in studies/ that its results are not of"
    Path("linked").mkdir()
    Path("linked/trial.yaml").symlink_to(Path("drafts/trial.yaml").resolve())
    check_origin(load("linked/trial.yaml"))
    changed = load("drafts/trial.yaml", ["seeds=[3]"])
    remember(changed)
    check_origin(load("trial+seeds=[3]"))
    with pytest.raises(UserError, match=r"results/trial\+seeds=\[3\] was made from drafts/trial.yaml"):
        check_origin(load("trial", ["seeds=[3]"]))
    Path("studies/trial+seeds=[3].yaml").write_text(STUDY)
    with pytest.raises(UserError, match=r"was made from drafts/trial.yaml, .* from studies/trial\+seeds=\[3\].yaml"):
        check_origin(load("studies/trial+seeds=[3].yaml"))
    Path("linked/trial.yaml").unlink()
    Path("drafts/trial.yaml").rename("linked/trial.yaml")
    check_origin(load("trial"))
    for refuse in (lambda: check_origin(load("linked/trial.yaml")), lambda: results_of("linked/trial.yaml")):
        with pytest.raises(UserError, match=r"was made from drafts/trial.yaml, which is not there any more, and would"):
            refuse()
    remember(load("trial"))
    Path("linked/trial.yaml").rename("drafts/trial.yaml")
    with pytest.raises(UserError, match=r"made from studies/trial.yaml"):
        check_origin(load("drafts/trial.yaml"))


def test_results_of_a_study_that_was_renamed_are_not_overwritten() -> None:
    """By a file elsewhere; its name in `studies/` has them, and so has whoever states nothing, as older results do."""
    folder = record("trial", "trial")
    assert (stated(folder, "study"), stated(folder, "changes")) == ("trial", [])
    before = (folder / "provenance.json").stat().st_mtime_ns
    remember(load("studies/trial.yaml"))
    assert (folder / "provenance.json").stat().st_mtime_ns == before, "it says so already"
    Path("studies/trial.yaml").rename("studies/renamed.yaml")
    with pytest.raises(
        UserError, match=r"made from studies/trial.yaml, which is not there any more, .* drafts/trial.y"
    ):
        check_origin(load("drafts/trial.yaml"))
    Path("studies/renamed.yaml").rename("studies/trial.yml")
    check_origin(load("trial"))
    Path("studies/trial.yml").unlink()
    shutil.rmtree(folder)
    record("trial")
    check_origin(load("drafts/trial.yaml"))
    remember(load(str(Path("drafts/trial.yaml").resolve())))
    assert stated(folder, "study") == "drafts/trial.yaml", "which holds in a clone too"


@pytest.mark.parametrize("taken", ["results", "results/trial"])
def test_a_file_where_results_go_is_named_at_once(taken: str) -> None:
    """By `validate` already; so is a link that leads nowhere."""
    Path(taken).parent.mkdir(exist_ok=True)
    for make in (lambda: Path(taken).write_text(""), lambda: Path(taken).symlink_to("nowhere")):
        make()
        with pytest.raises(UserError, match=rf"^{taken} is no folder, and results of studies/trial.yaml go to one"):
            check_origin(load("trial"))
        Path(taken).unlink()
    check_origin(load("trial"))


@pytest.mark.parametrize(("encoding", "cure"), [("ascii", "set LANG=C.UTF-8, or PYTHONUTF8=1"), ("utf-8", "rename")])
def test_a_name_that_the_locale_cannot_read(monkeypatch: pytest.MonkeyPatch, encoding: str, cure: str) -> None:
    """Is not to be renamed; one with bytes that are no UTF-8 is."""
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: encoding)
    with pytest.raises(UserError, match=cure):
        title_of(os.fsencode("日本.yaml").decode("ascii", "surrogateescape"))
    assert title_of("日本.yaml") == "日本"


def test_a_folder_of_another_kind_is_not_taken() -> None:
    """A study called as the folder of another command; a folder without a record is nobody's."""
    Path("results/export").mkdir(parents=True)
    Path("studies/export.yaml").write_text(STUDY)
    check_origin(load("export"))
    Path("results/export/findings.csv").write_text("")
    with pytest.raises(UserError, match=r"results/export has the record of suite export, .* rename the study's file"):
        check_origin(load("export"))


def test_a_folder_that_names_itself_finds_nothing() -> None:
    """Its file is gone; what it states leads nowhere, and not in a circle."""
    folder = record("gone")
    write_provenance(folder, {"runs": [], "study": "gone", "changes": []})
    assert find("gone") is None
    with pytest.raises(UserError, match="there is no study 'gone'"):
        find_study("gone")


@pytest.mark.parametrize("name", ["../evil", "studies/../../evil", "/evil", "..", ".", "", "results"])
def test_a_name_leads_out_of_no_folder(name: str) -> None:
    """What lies beside `studies/` is named by its path alone."""
    for path in ("evil.yaml", "../evil.yaml"):
        Path(path).write_text(STUDY)
    with pytest.raises(UserError, match="there is no study"):
        load(name)
    assert load("../evil.yaml").name == "evil"


@pytest.mark.parametrize(
    "file",
    [
        "...yaml",
        "..yaml",
        "a\nb.yaml",
        "a\x1b[31m.yaml",
        " a.yaml",
        "a .yaml",
        "-a.yaml",
        "a.yaml.yaml",
        "published.yaml",
        "x" * 151 + ".yaml",
    ],
)
def test_a_file_whose_results_no_folder_can_have_is_refused(file: str) -> None:
    """By every command, before anything is written."""
    Path(file).write_text(STUDY)
    for command in ("validate", "run", "table", "ui"):
        done = here(Path(), command, f"./{file}")
        assert done.returncode == 2, command
        assert "rename its file" in done.stderr
    assert not Path("results").exists()
    with pytest.raises(UserError, match="rename its file"):
        title_of(file)


def test_suffixes_in_capitals() -> None:
    """They are read; of another suffix it is said, and that two files have one name."""
    Path("studies/trial.yaml").rename("studies/one.YAML")
    Path("drafts/trial.yaml").rename("two.Yml")
    assert (load("one").name, load("studies/one.YAML").name, load("two.Yml").name) == ("one", "one", "two")
    assert (title_of("two.Yml"), study_names(), complete_study("o")) == ("two", ["one"], ["one"])
    Path("three.txt").write_text(STUDY)
    with pytest.raises(UserError, match=r"'three.txt': three.txt is a file whose name does not end in .yaml or .yml"):
        load("three.txt")
    Path("studies/one.yml").write_text(STUDY)
    with pytest.raises(UserError, match=r"studies/one.YAML and studies/one.yml are both called 'one'"):
        load("one")


def test_the_longest_name_that_fits_is_taken(tmp_path: Path) -> None:
    """By `trace` and `compare`, of tables, rows and commits with colons and @ in their names."""
    for name in ("a", "a:b", "a:b@c", "a@c"):
        record(name)
    assert trace("a:b:good:acc. %").facts["record"] == "results/a:b/cells.csv"
    assert trace("a:good:acc. %").facts["record"] == "results/a/cells.csv"
    assert trace("a:b@c:good:acc. %").facts["record"] == "results/a:b@c/cells.csv"
    assert complete_results("a:") == ["a:b", "a:b@c"]
    rest = {"a:b": "", "a:b:x:y": "x:y", "a:x": "x", "a:b@c": "", "a@c:x": "x", "none:x": "x"}
    folders = ["a:b", "a:b", "a", "a:b@c", "a@c", "none"]
    for (name, row), folder in zip(rest.items(), folders, strict=True):
        with side(name) as found:
            assert (found.folder, found.row) == (Path("results", folder), row)
    with side(f"{Path('results/a:b').resolve()}:x") as found:
        assert (found.folder.name, found.row) == ("a:b", "x")
    shutil.rmtree("results/a:b@c")
    done = here(Path(), "compare", "a:b", "a:b@c")
    assert done.returncode == 2, "now c is a commit, and there is none"
    assert "results/a:b" in done.stderr
    for command in (["git", "init", "-q"], ["git", "add", "-f", "results"]):
        subprocess.run(command, check=True)
    named = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *named, "commit", "-q", "-m", "a", "--no-gpg-sign"], check=True)
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(side("a:b@HEAD:x:y"))
        assert (found.folder.parts[-2:], found.row) == (("results", "a:b"), "x:y")
        assert (found.folder / "cells.csv").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("random ", "no white space but single blanks"),
        ("a  b", "no white space but single blanks"),
        ('"a\\tb"', "no white space but single blanks"),
        ('"a\\u00a0b"', "no white space but single blanks"),
        ('"a\\u200bb"', "no white space but single blanks"),
        ("cropr †", "does not end in †"),
        ("x" * 201, "at most 200 characters"),
        ("Random", "'Random' differs from 'random' by white space or capitals only"),
        ("ran dom", "'ran dom' differs from 'random' by white space or capitals only"),
        ("ｒandom", "differs from 'random'"),
    ],
)
def test_rows_that_a_table_cannot_tell_apart_are_refused(name: str, message: str) -> None:
    """White space, capitals and ways of writing a character are no difference; of schedules neither."""
    quoted = name if name.startswith('"') else f"'{name}'"
    text = STUDY.replace("fusion: last-layer}", f"fusion: last-layer, name: {quoted}}}")
    with pytest.raises(UserError, match=rf"^trial.yaml:15: methods.2(.name)?: .*{message}"):
        study(text)
    rules = f"- {{name: random, removed: [4, 4, 0, 0]}}\n  - {{name: {quoted}, removed: [2, 2, 0, 0]}}"
    with pytest.raises(UserError, match=rf"^trial.yaml:12: schedules.1.name: .*{message}"):
        study(STUDY.replace("- removed: [4, 4, 0, 0]", rules))


def test_names_in_all_scripts_are_names() -> None:
    """With colons, @ and capitals of their own too."""
    for name in ("方法一", "a:b@c", "Ünïcode", "+5 %", "cropr (16 queries)"):
        found = study(STUDY.replace("fusion: last-layer}", f"fusion: last-layer, name: '{name}'}}"))
        assert found.methods[-1].label == name


def test_labels_of_rows_under_several_schedules_are_apart() -> None:
    """An unpruned row is called as it is, a pruned one with its schedule in brackets."""
    rules = "- {name: a, removed: [4, 4, 0, 0]}\n  - {name: b, removed: [2, 2, 0, 0]}"
    text = STUDY.replace("- removed: [4, 4, 0, 0]", rules).replace(
        "  - none\n", "  - {method: none, name: 'random [a]'}\n"
    )
    with pytest.raises(UserError, match=r"methods.0: 'random \[a\]' is what tables call another row"):
        study(text)
