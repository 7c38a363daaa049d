"""The command that chooses a method for a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli import options
from suite.errors import UserError
from suite.terminal import plain


def choose(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A file of weights, or timm/MODEL.TAG.")],
    data: Annotated[Path, typer.Option(help="A folder of images, in folders of their classes with labels.")],
    drop: Annotated[float | None, typer.Option(min=0, help="Points it may lose; the fastest such is chosen.")] = None,
    speedup: Annotated[
        float | None, typer.Option(min=1, help="How much faster it must be; the best such is chosen.")
    ] = None,
    method: options.Methods = None,
    backbone: Annotated[str, typer.Option(help="The name that timm has for it, where a file does not say it.")] = "",
    option: options.BackboneOptions = None,
    classes: Annotated[str | None, typer.Option(metavar="FILE", help="As of suite evaluate.")] = None,
    labels: Annotated[bool, typer.Option(help="Whether folders are classes; else agreement is compared.")] = True,
    images: Annotated[int, typer.Option(min=0, help="How many, spread evenly; 0 for all.")] = 200,
    batch_size: Annotated[int, typer.Option(min=1, max=65_536, help="Images at a time, timed too.")] = 8,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    export: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write it as torch.export and ONNX have it.")
    ] = None,
) -> None:
    """Choose a method and setting for a model, images and a device: scored untrained, timed side by side."""
    from suite.kinds.off_the_shelf import choose as choice
    from suite.kinds.off_the_shelf import one
    from suite.study.load import load

    if (drop is None) == (speedup is None):
        raise UserError("say what is wanted: --drop 0.5, points that it may lose, or --speedup 1.5, and not both")
    pictures = one.pictures(data, classes, labels) | ({"images": images} if images else {})
    timms = options.pairs(option or [], "--option", "img_size=384")
    about = one.modelled(model, None, (backbone, timms), pictures)
    name = model.name.partition(".")[0] if model.parts[:-1] == ("timm",) else model.stem
    path = choice.free(name, about)
    choice.write(path, about, device, batch_size, method or ())
    if export is not None:
        export.mkdir(parents=True, exist_ok=True)  # what cannot be written is said before anything is run
    code = _run(path)
    choice.decide(load(str(path)), drop, speedup, export, plain())
    if code:
        raise typer.Exit(code)


def _run(path: Path) -> int:
    """Run a study; returns 1 where cells failed. An interrupt ends the command."""
    from suite.cli.studies import run

    try:
        run(str(path), in_process=True)
    except typer.Exit as ended:
        if ended.exit_code != 1:
            raise
        return 1
    return 0
