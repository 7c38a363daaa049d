"""The command `suite ui`."""

from __future__ import annotations

from typing import Annotated

import typer


def ui(
    study: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="A path, or a name in studies/; without it all experiments.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="On 127.0.0.1, reachable from this machine only.")
    ] = 5000,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
) -> None:
    """Show the runs in MLflow's own page, until Ctrl-C."""
    from rich.console import Console

    from suite.run.mlflow_ui import serve
    from suite.study.load import title_of

    title = None if study is None else title_of(study)
    serve(title, port, not no_open, Console(markup=False))
