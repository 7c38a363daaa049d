"""What `suite budget` shows, and how a study's budget becomes a schedule for each of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from suite.errors import UserError
from suite.measure.cost import account, total
from suite.measure.tokens import expected_ledger
from suite.reduction.budget import TOLERANCE, Solution, solve
from suite.reduction.model import ReducedModel
from suite.reduction.registry import settings_class
from suite.reduction.schedule import Schedule
from suite.study.configuration import Configuration, build, build_backbone
from suite.study.schema import ScheduleRule


@dataclass(frozen=True)
class Wanted:
    """A budget: which share of the unpruned model's multiply-accumulates, or of its mean tokens per block.

    `convention` is how multiply-accumulates are counted, see `measure.macs`.
    """

    of: Literal["macs", "tokens"]
    share: float
    convention: Literal["full", "linear"] = "full"

    def measure(self, model: ReducedModel, dense: bool) -> float:
        """What a deployed model uses of it."""
        if self.of == "macs":
            return float(getattr(total(account(model, dense)), self.convention))
        ledger = expected_ledger(model)
        return (sum(ledger.attention) + sum(ledger.mlp)) / 2 / len(ledger.mlp)


def meet(model: Configuration, wanted: Wanted) -> Solution:
    """The schedule at which a method meets a budget, or comes nearest to it.

    Raises:
        UserError: for whatever of the configuration cannot be, or a budget that is no share.
    """
    backbone, dense = build_backbone(model), model.task == "segmentation"
    rows, columns = backbone.patch_embed.grid_size
    whole = wanted.measure(build(model.unpruned(), backbone), dense)

    def cost(counts: Schedule) -> float:
        chosen = model.model_copy(update={"schedule": ScheduleRule(removed=counts.removed)})
        return wanted.measure(build(chosen, backbone), dense) / whole

    settings = settings_class(model.method)(**model.settings)
    try:
        return solve(settings, model.fusion, rows * columns, len(backbone.blocks), wanted.share, cost)
    except ValueError as error:
        raise error if isinstance(error, UserError) else UserError(f"{model.method}: {error}") from error


def show_budget(models: Sequence[Configuration], wanted: Wanted, console: Console) -> None:
    """Solve for every method and show its knob, its schedule and what it uses.

    Raises:
        UserError: as `meet`.
    """
    found = [(model, _met(model, wanted)) for model in track(models, "solving", console=console, transient=True)]
    what = f"MACs ({wanted.convention})" if wanted.of == "macs" else "mean tokens per block"
    table = Table(box=box.SIMPLE, padding=(0, 1))
    for name in ("method", "knob", "of the unpruned", "off by", "", "patches removed per block"):
        table.add_column(name, justify="right" if name in ("of the unpruned", "off by") else "left")
    for model, solution in found:
        table.add_row(*_cells(model, solution))
    console.print(f"{models[0].backbone.name}: {wanted.share:g} of the unpruned model's {what}", highlight=False)
    console.print(table)
    console.print(
        f"Nearest: no setting of the method's own knob comes within {TOLERANCE:.0%}, this one comes nearest. The last "
        "column is `removed` of a study's schedule.",
        style="dim",
        highlight=False,
    )


def _met(model: Configuration, wanted: Wanted) -> Solution | str:
    """The solution, or why the method is not for this fusion."""
    settings = settings_class(model.method)(**model.settings)
    if model.fusion != "none" and not settings.sets_aside() and settings.reduces != "nothing":
        return f"has no {model.fusion} fusion: it {settings.what_it_does()} patches"
    return meet(model, wanted)


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
