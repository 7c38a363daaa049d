"""README and docs/: commands parse, studies validate, Python runs, links lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "tests/official/README.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return [text for found, text in BLOCK.findall(page.read_text()) if found == language]


def parsed(line: str) -> str | None:
    """The command of ours in a line of a shell block, None if there is none; click refuses what it does not know."""
    from suite.cli.app import app

    words = shlex.split(line.partition(" #")[0])
    if "suite" not in words:
        return None
    name, *arguments = words[words.index("suite") + 1 :]
    context = get_command(app).commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
    return str(context.info_name)


def test_commands_parse() -> None:
    """Every `suite ...` in a shell block has a command, options and values that exist."""
    texts = [text for page in PAGES for text in blocks(page, "bash")]
    lines = [line for text in texts for line in text.replace("\\\n", " ").splitlines()]
    assert {parsed(line) for line in lines} >= {"budget", "evaluate", "flops", "pack", "run", "speed", "unpack"}
    with pytest.raises(Exception, match="No such option: --method-s"):
        parsed("suite speed vit_tiny_patch16_224 --method-s tome")
    with pytest.raises(KeyError):
        parsed("suite sped vit_tiny_patch16_224")


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    """The Python blocks of a page run one after another; one that is to be saved as a file is saved under its name."""
    program = ""
    for text in blocks(page, "python"):
        saved = re.search(rf"Save this as `([\w/]+\.py)`:\n\n```python\n{re.escape(text)}", page.read_text())
        if saved:
            (tmp_path / saved[1]).write_text(text)
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
