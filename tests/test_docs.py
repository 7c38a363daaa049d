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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of this repository has one."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
