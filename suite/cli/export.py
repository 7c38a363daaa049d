"""The command `suite export`."""

from __future__ import annotations

from typing import Annotated

import typer

from suite.errors import UserError


def export(
    methods: Annotated[
        list[str] | None, typer.Argument(metavar="METHOD", help="Names or files; by default all methods.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A tiny ViT; no code is generated, nothing timed, nothing written.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Run nothing: make the table again from results/export/findings.csv.")
    ] = False,
) -> None:
    """Run deployed models in torch.compile, torch.export and ONNX Runtime: same outputs, how fast."""
    if table and (methods or quick):
        raise UserError("--table makes the table of all that is recorded; leave out --quick and the methods")
    from rich.console import Console

    from suite.kinds.export import run as exporting

    console = Console(markup=False)
    if table:
        exporting.make_table(console)
        return
    lines = exporting.export_visibly(exporting.chosen(methods), quick, console)
    exporting.show(lines, quick, console)
    if any(line["status"] == "fails" for line in lines):
        raise typer.Exit(1)
