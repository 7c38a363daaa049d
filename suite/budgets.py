"""What `suite budget` shows."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from suite.errors import UserError
from suite.reduction.budget import TOLERANCE, Solution
from suite.reduction.registry import settings_class
from suite.study.budget import meet
from suite.study.configuration import Configuration
from suite.study.schema import Budget


def show_budget(models: Sequence[Configuration], wanted: Budget, console: Console) -> None:
    """Solve for every method and show its knob, its schedule and what it uses.

    Raises:
        UserError: as `meet`.
    """
    found = [(model, _met(model, wanted)) for model in track(models, "solving", console=console, transient=True)]
    table = Table(box=box.SIMPLE, padding=(0, 1))
    for name in ("method", "knob", "of the unpruned", "off by", "", "patches removed per block"):
        table.add_column(name, justify="right" if name in ("of the unpruned", "off by") else "left")
    for model, solution in found:
        table.add_row(*_cells(model, solution))
    console.print(f"{models[0].backbone.name}: {wanted.label} of the unpruned model", highlight=False)
    console.print(table)
    console.print(
        f"Nearest: no setting of the method's own knob comes within {TOLERANCE:.0%}, this one comes nearest. The last "
        "column is `removed` of a study's schedule.",
        style="dim",
        highlight=False,
    )


def _met(model: Configuration, wanted: Budget) -> Solution | str:
    """The solution, or why the method is not for this fusion."""
    settings = settings_class(model.method)(**model.settings)
    if model.fusion != "none" and not settings.sets_aside() and settings.reduces != "nothing":
        return f"has no {model.fusion} fusion: it {settings.what_it_does()} patches"
    try:
        return meet(model, wanted)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{model.method}: {error}") from error


def _cells(model: Configuration, solution: Solution | str) -> tuple[str, ...]:
    if isinstance(solution, str):
        return (model.method, solution, "", "", "", "")
    return (
        model.method,
        solution.knob,
        f"{solution.share:.4f}",
        f"{100 * (solution.share / solution.wanted - 1):+.2f} %",
        "" if solution.meets else "nearest",
        " ".join(map(str, solution.schedule.removed)),
    )
