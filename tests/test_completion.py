"""What the shell offers: names of studies, results, methods and tasks that begin as the word does."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from suite.cli.app import app

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("suite run quick", ["quickstart"]),
        ("suite ui quick", ["quickstart"]),
        ("suite compare quickstart official", ["official-speed"]),
        ("suite trace official", ["official-speed"]),
        ("suite flops vit_tiny_patch16_224 --method tom", ["tome"]),
        ("suite speed vit_tiny_patch16_224 --method evit --method cr", ["cropr"]),
        ("suite check-method tome evi", ["evit"]),
        ("suite export ev", ["evit", "evo-vit"]),
        ("suite budget vit_tiny_patch16_224 --task seg", ["segmentation"]),
        ("suite run nothing", []),
    ],
)
def test_names_are_completed(line: str, offered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As bash asks for them."""
    monkeypatch.chdir(ROOT)
    asked = {"_SUITE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    assert CliRunner().invoke(app, [], prog_name="suite", env=asked).stdout.split() == offered
