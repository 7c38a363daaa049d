"""The command `suite plan`."""

from __future__ import annotations

import typer

from suite.cli.options import AsJson, Changes, StudyName, print_json


def plan(study: StudyName, change: Changes = None, as_json: AsJson = False) -> None:
    """Show what a study runs, cell by cell, and what of it is done."""
    from suite.study.load import load

    loaded = load(study, change or [])
    work = [dict(one) for one in loaded.kind.plan(loaded)]
    for sentence in loaded.kind.missing(loaded.study):
        typer.echo(f"missing input: {sentence}", err=True)
    if as_json:
        print_json(work)
        return
    widths = {key: max(len(str(one.get(key, ""))) for one in work) for one in work[:1] for key in one}
    for one in work:
        typer.echo("  ".join(str(one.get(key, "")).ljust(width) for key, width in widths.items()).rstrip())
