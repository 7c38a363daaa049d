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
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return [text for found, text in BLOCK.findall(page.read_text()) if found == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_parse(page: Path) -> None:
    """Every `suite ...` in a shell block has a command, options and values that exist."""
    from suite.cli.app import app

    lines = [line for text in blocks(page, "bash") for line in text.replace("\\\n", " ").splitlines()]
    for line in lines:
        words = shlex.split(line.partition(" #")[0])
        if "suite" not in words:
            continue
        name, *arguments = words[words.index("suite") + 1 :]
        command = get_command(app).commands[name]  # type: ignore[attr-defined]
        command.make_context(name, arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_studies_validate(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every YAML block is a valid study."""
    from suite.study.load import load

    monkeypatch.chdir(tmp_path)
    for number, text in enumerate(blocks(page, "yaml")):
        path = tmp_path / f"study-{number}.yaml"
        path.write_text(text)
        assert load(str(path)).kind.check(load(str(path)))


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of this repository has one."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
