"""The command `suite validate`."""

from __future__ import annotations

import typer

from suite.cli.options import Changes, StudyName


def validate(study: StudyName, change: Changes = None) -> None:
    """Check a study file without running anything."""
    from suite.study.load import load

    loaded = load(study, change or [])
    typer.echo(f"{loaded.path}: valid, {loaded.kind.check(loaded)}")
    for sentence in loaded.kind.missing(loaded.study):
        typer.echo(f"missing input: {sentence}")
