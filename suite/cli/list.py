"""The command `suite list`."""

from __future__ import annotations

import typer

from suite.cli.options import AsJson, print_json


def list_(as_json: AsJson = False) -> None:
    """List the studies in studies/, and what a study can name: kinds, tasks, data sets, methods."""
    from suite.data.dataset import data_sets
    from suite.reduction.registry import modules
    from suite.study.kind import kinds
    from suite.study.load import study_names
    from suite.tasks.task import tasks

    found = {
        "studies": study_names(),
        "kinds of study": sorted(name for name, kind in kinds().items() if kind.schema),
        "tasks": sorted(tasks()),
        "data sets": sorted(data_sets()),
        "methods": sorted(modules()),
    }
    if as_json:
        print_json(found)
        return
    for name, names in found.items():
        typer.echo(f"{name}: {', '.join(names) or 'none'}")
