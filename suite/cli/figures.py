"""The commands `suite figures` and `suite maps`."""

from __future__ import annotations

from typing import Annotated

import typer

from suite.cli.options import StudyName
from suite.errors import UserError


def figures(
    study: StudyName,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write vector graphics instead of PNG.")] = False,
) -> None:
    """Draw all figures of a study again from results/STUDY/; nothing is trained."""
    _draw(study, ".pdf" if pdf else ".png")


def maps(study: StudyName) -> None:
    """Draw, for a few images, when each patch left and what each method predicts, from results/STUDY/examples.json."""
    _draw(study, ".png", "maps")


def _draw(study: str, suffix: str, only: str = "") -> None:
    from rich.console import Console

    from suite.report.make import draw
    from suite.study.kind import kind_of
    from suite.study.load import find, results_of
    from suite.terminal import track

    console, folder = Console(markup=False), results_of(study)
    kind = kind_of(folder)
    names = [name for name in kind.drawings if only in ("", name)]
    if not names:
        raise UserError(f"a study of {kind.name} has no {only or 'figures'}; its table: suite table {study}")
    written = 0
    for drawn in track(draw(kind, folder, kind.lines(folder), suffix, names), "figures", len(names), console):
        written += drawn.path is not None
        said = f"written to {drawn.path}" if drawn.path else f"not drawn: {drawn.reason}"
        console.print(f"{drawn.name:<16} {said}", soft_wrap=True, highlight=False)
    if not written:
        raise UserError(f"no figure of {study} could be drawn")
    if loaded := find(study):
        kind.publish(loaded, folder, console)
