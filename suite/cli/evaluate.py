"""The command `suite evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    checkpoint: Annotated[Path, typer.Option(help="A released checkpoint, of torch or safetensors.")],
    data: Annotated[Path, typer.Option(help="A folder of images for each class, or a folder whose val/ is that.")],
    layout: Annotated[str | None, typer.Option(help="Whose checkpoint it is; may be left out where it shows.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What the checkpoint does not say; repeatable.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=65_536)] = 64,
    device: Annotated[str, typer.Option(help="A torch device, such as cpu or cuda.")] = "cpu",
) -> None:
    """Evaluate an official checkpoint: accuracy on a folder of images, tokens of each block, GMACs."""
    from rich.console import Console

    from suite.cli.options import pairs
    from suite.official import evaluate as evaluation
    from suite.official import resolve

    console = Console(markup=False)
    released = resolve(checkpoint, layout, **evaluation.check_names(pairs(option or [], "--option", "keep_rate=0.7")))
    evaluation.show_model(released, console)
    result = evaluation.evaluate(released, data, batch_size, device, console)
    evaluation.show_result(result, console)
