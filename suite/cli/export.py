"""The command `suite export`."""

from __future__ import annotations

from typing import Annotated

import typer


def export(
    methods: Annotated[
        list[str] | None, typer.Argument(metavar="METHOD", help="Names or files; by default all methods.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A tiny ViT; no code is generated, nothing timed, nothing written.")
    ] = False,
) -> None:
    """Run deployed models in torch.compile, torch.export and ONNX Runtime: same outputs, how fast."""
    from rich.console import Console

    from suite.kinds.export import run as exporting

    console = Console(markup=False)
    lines = exporting.export_visibly(exporting.chosen(methods), quick, console)
    exporting.show(lines, quick, console)
    if any(line["status"] == "fails" for line in lines):
        raise typer.Exit(1)
