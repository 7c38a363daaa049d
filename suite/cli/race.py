"""The command `suite race`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.errors import UserError


def race(
    code: Annotated[
        list[str],
        typer.Option(metavar="NAME=FOLDER", help="Whose official code, and where it is checked out; repeatable."),
    ],
    python: Annotated[str, typer.Option(help="Interpreter for the official code.")] = sys.executable,
    case: Annotated[list[str] | None, typer.Option(help="Repeatable; by default the small models.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Repeatable; by default 1 and 16.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Of a launch, at least.")] = 7,
    seconds: Annotated[float, typer.Option(min=0, help="Of a launch's rounds, at least.")] = 10.0,
    launches: Annotated[int, typer.Option(min=1, help="How often both processes are started.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="By default one for each core.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    into: Annotated[Path, typer.Option(help="The results folder.")] = Path("results/official-speed"),
) -> None:
    """Time the official code of methods beside this suite's, with equal weights and images."""
    from rich.console import Console

    from suite.kinds.official.race import Options, run
    from suite.report.make import make_table

    pairs = [one.partition("=") for one in code]
    if any(not folder for _, _, folder in pairs):
        raise UserError(f"--code is NAME=FOLDER, not {' '.join(code)}")
    if missing := [folder for _, _, folder in pairs if not Path(folder).is_dir()]:
        raise UserError(f"--code: there is no folder {missing[0]}; check out the official code there")
    if precision not in ("float32", "bfloat16", "float16"):
        raise UserError(f"unknown precision {precision!r}; valid: float32, bfloat16, float16")
    console, fixed = Console(markup=False), dict[str, Any](rounds=rounds, seconds=seconds, launches=launches)
    fixed |= {"threads": threads or len(os.sched_getaffinity(0)), "device": device, "precision": precision}
    folders = {name: Path(folder) for name, _, folder in pairs}
    run(Options(folders, python, case or [], batch or (1, 16), **fixed), into, console)
    make_table(into, console)
