"""README and docs/: commands parse and light ones run, studies validate, Python runs, links lead somewhere."""

import csv
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_study import here, suite
from typer.main import get_command

from suite.reduction.registry import modules, settings_class
from suite.report import cards
from suite.study.schema import ScheduleRule

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "tests/official/README.md"]
HEAVY = ("budget", "check-method", "figures", "pack", "report", "speed", "table")  # that take minutes
LIGHT = ("flops", "ledger", "list", "plan", "power", "trace", "validate")  # commands that take seconds
MEANT = {
    "STUDY": "quickstart",
    "ROW": "cropr",
    "METHOD": "cropr",
    "SEED": "0",
    "TABLE:ROW:COLUMN": "quickstart:cropr:seeds",
    "[ID]": "",
    "A": "1",
    "D": "1",
    "S": "1",
}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return [text for found, text in BLOCK.findall(page.read_text()) if found == language]


def commands() -> set[tuple[str, ...]]:
    """The words of every `suite ...` in shell blocks and sentences, with examples for names in capitals."""
    found = set()
    for page in PAGES:
        sentences = re.findall(r"`(suite [a-z][^`]*)`", BLOCK.sub("", page.read_text()))
        lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
        for line in [*lines, *sentences]:
            words = [MEANT.get(word, word) for word in shlex.split(line.partition(" #")[0])]
            if "suite" in words:
                found.add(tuple(filter(None, words[words.index("suite") + 1 :])))
    return found


def parse(name: str, *arguments: str) -> None:
    """Refuse a command that there is not, and arguments if it does not know them; a bare name stands for itself."""
    from suite.cli.app import app

    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    if arguments:
        command.make_context(name, list(arguments))


def test_commands_parse() -> None:
    """Every `suite ...` has a command, options and values that exist."""
    for words in commands():
        parse(*words)
    named = {name for name, *_ in commands()}
    assert named >= {"budget", "check-method", "evaluate", "flops", "pack", "power", "run", "speed", "unpack"}
    with pytest.raises(Exception, match="No such option: --method-s"):
        parse("speed", "vit_tiny_patch16_224", "--method-s", "tome")
    with pytest.raises(KeyError):
        parse("sped", "vit_tiny_patch16_224")


def test_light_commands_run(committed: Path) -> None:
    """With the committed results, and the study that docs/studies.md begins with."""
    shutil.copytree(ROOT / "studies", committed / "studies")
    (committed / "studies/my-study.yaml").write_text(blocks(ROOT / "docs/studies.md", "yaml")[0])
    bare = {("ledger",), ("list",)}
    light = sorted(words for words in commands() if words[0] in LIGHT and (words[1:] or words in bare))
    light = [words for words in light if "--estimate" not in words]  # which trains; tests/test_training_cost.py has it
    assert {name for name, *_ in light} == set(LIGHT)
    for words in light:
        done = here(committed, *words)
        assert done.returncode == 0, (words, done.stderr)


@pytest.mark.slow
def test_heavy_commands_run(committed: Path) -> None:
    """With the methods that the pages tell to save, and cells of the study that docs/studies.md begins with.

    All but the search by latency, which takes as long as the others together (tests/test_latency.py has a small one).
    """
    shutil.copytree(ROOT / "studies", committed / "studies", dirs_exist_ok=True)
    for page in PAGES:
        for text in blocks(page, "python"):
            if name := saved_as(page, text):
                (committed / name).write_text(text)
    (committed / "studies/my-study.yaml").write_text(blocks(ROOT / "docs/studies.md", "yaml")[0])
    left_out = {"NAME", "--latency"}
    heavy = sorted(words for words in commands() if words[0] in HEAVY and words[1:] and not left_out & set(words))
    heavy = [words for words in heavy if words[0] != "pack"] + [words for words in heavy if "--file" in words]
    assert {name for name, *_ in heavy} == set(HEAVY)
    small = ("--in-process", "--set", "seeds=[0]", "--set", "base.recipe.images=64", "--set", "finetune.images=64")
    for words in [*heavy[:-1], ("run", "my-study", *small), (*heavy[-1], *small[1:])]:
        done = (suite if words[0] == "run" else here)(committed, *words)  # numerics start a process anew
        assert done.returncode == 0, (words, done.stdout[-500:], done.stderr)


def unknown_sessions(text: str) -> list[str]:
    """What a text calls a session of nox, and noxfile.py does not have."""
    defined = re.findall(r"^@nox\.session\((.*)\)\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    known = {re.findall(r'name="(.*?)"', options)[0] if "name=" in options else name for options, name in defined}
    named = " ".join(re.findall(r"nox -s((?: [a-z][\w-]*)+)", text)).split()
    return [name for name in named if name not in known]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "noxfile.py", ".ci/run"])
def test_sessions_exist(name: str) -> None:
    """Every `nox -s NAME`."""
    for path in sorted((ROOT / name).glob("*.md")) if name == "docs" else [ROOT / name]:
        assert not unknown_sessions(path.read_text()), path


def test_an_unknown_session_is_found() -> None:
    """In a sentence or a block."""
    assert unknown_sessions("`nox -s tests-slow` and nox -s lint type tests   # all") == ["type"]
    assert unknown_sessions("nox -s tests_slow\nnox -s table -- costs") == ["tests_slow"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_studies_validate(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every YAML block is a valid study."""
    from suite.study.load import load

    monkeypatch.chdir(tmp_path)
    for number, text in enumerate(blocks(page, "yaml")):
        path = tmp_path / f"study-{number}.yaml"
        path.write_text(text)
        loaded = load(str(path))
        assert loaded.kind.check(loaded)


def saved_as(page: Path, text: str) -> str:
    """The file that a page tells to save a Python block as; empty if it is to be run."""
    found = re.search(rf"Save this as `([\w/]+\.py)`:\n\n```python\n{re.escape(text)}", page.read_text())
    return found[1] if found else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    """The Python blocks of a page run one after another; one that is to be saved as a file is saved under its name."""
    program = ""
    for text in blocks(page, "python"):
        if name := saved_as(page, text):
            (tmp_path / name).write_text(text)
        else:
            program += text
    if not program:
        return
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def anchors(page: Path) -> set[str]:
    """What a link can name of a page: its headings in lower case, with dashes for spaces, without other marks."""
    text = re.sub(BLOCK, "", page.read_text())
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> list[str]:
    """Links of a page into this repository that lead to no file, or to none of its headings."""
    links = [link.partition("#") for link in re.findall(r"\]\(([^):]+)\)", page.read_text())]
    return [
        f"{name}#{anchor}" if anchor else name
        for name, _, anchor in links
        if not (found := page.parent / name if name else page).exists() or (anchor and anchor not in anchors(found))
    ]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of this repository, or to a heading in it, has one."""
    assert not dead_links(page)


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    """To a file or a heading, here or elsewhere; what a code block comments is no heading."""
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# Add a `task`, or two\n\n```bash\n# not this\n```\n")
    page.write_text("## Here\n[](other.md) [](other.md#add-a-task-or-two) [](#here) [](https://example.org/#x)\n")
    assert not dead_links(page)
    page.write_text("[](another.md) [](other.md#add) [](other.md#not-this) [](#here)")
    assert dead_links(page) == ["another.md", "other.md#add", "other.md#not-this", "#here"]


def test_cards_are_those_of_the_methods_and_results() -> None:
    """The committed page is what `suite list --cards docs/method-cards.md` writes."""
    assert (ROOT / "docs/method-cards.md").read_text() == cards.page(ROOT / "results")


def test_cards_say_how_to_write_what_was_published() -> None:
    """Of every method: schedules that are ones, and settings that exist."""
    for name in sorted(set(modules()) - {"none"}):
        text = cards.card(name, ROOT / "results")
        published = text.split("As published:")[1].split("Departures:")[0]
        for rule in re.findall(r"`(\{[^`]*\})`", published):
            said = ScheduleRule.model_validate(yaml.safe_load(rule.replace("\n", " ")))
            said.resolve(1024, 12 if "removed:" in rule else 24)  # lists of counts are those of DeiT-S
        own = re.findall(r"`(\w+):", published)
        known = {*settings_class(name).model_fields, "fusion"}
        assert {key for key in own if key not in known} == set(), name
        assert re.search(r"`\{|`removed`", published), name


def test_a_card_has_the_place_in_the_tables() -> None:
    """Median, interval and speed are those of the table."""
    with (ROOT / "results/quickstart/table.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["row"] == "tome")
    line = next(line for line in cards.card("tome", ROOT / "results").splitlines() if "quickstart, `tome`" in line)
    assert f"median score {float(row['score_median']):.1f} of 5 seeds; to random {float(row['gap']):+.1f} (" in line
    assert line.endswith(f"speed {float(row['speed_median']):.2f}x")
