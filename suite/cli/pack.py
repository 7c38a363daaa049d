"""The commands `suite pack` and `suite unpack`: finished cells that travel to another clone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import Changes, StudyName

File = Annotated[Path | None, typer.Option("--file", help="The file to write; by default STUDY.cells.tar.")]


def pack(study: StudyName, file: File = None, change: Changes = None) -> None:
    """Put a study's finished cells and base weights into one file, with their digests."""
    from suite.study.load import load
    from suite.study.pack import pack_study

    loaded = load(study, change or [])
    path = file or Path(f"{loaded.name}.cells.tar")
    typer.echo(f"Written to {path}: {pack_study(loaded, path)}")


def unpack(file: Annotated[Path, typer.Argument(help="What `suite pack` wrote.")]) -> None:
    """Take finished cells out of such a file; `suite run` then goes on from there."""
    from suite.study.pack import unpack
    from suite.study.store import Record

    new, kept = unpack(file, Record())
    typer.echo(f"{new} cells are new here, {kept} were here already")
