"""The command `suite report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from suite.cli.options import StudyName

if TYPE_CHECKING:
    from suite.ledger.lines import Line


def report(study: StudyName) -> None:
    """Write results/STUDY/report.html: question, answer, table, figures and provenance, on one page without network."""
    from rich.console import Console

    from suite.report.page.write import page
    from suite.study.load import load, results_of

    console, loaded, folder = Console(markup=False), load(study), results_of(study)
    text = page(loaded, folder, console, _published(folder))
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    size = len(text.encode()) / 2**20
    console.print(f"Written to {path}: {size:.1f} MiB, opens in any browser", highlight=False, soft_wrap=True)
    loaded.kind.publish(loaded, folder, console)


def _published(folder: Path) -> list[Line]:
    """Numbers of the ledger that this study answers: they name it as their command."""
    from suite.ledger.lines import read_lines

    path = folder.parent / "ledger.csv"
    return [line for line in read_lines(path) if line.command == f"suite run {folder.name}"] if path.is_file() else []
