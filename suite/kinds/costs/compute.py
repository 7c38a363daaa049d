"""What `suite flops` shows, and how a study of costs becomes its table."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from suite.kinds.costs.figures import compute
from suite.kinds.costs.table import cost_table, off
from suite.measure.cost import Part, account, total
from suite.measure.crosscheck import TOLERANCE, Compared, compare, disagreements
from suite.measure.macs import Macs
from suite.measure.norms import PER_VALUE, Counts, counts
from suite.measure.tokens import expected_tokens
from suite.reduction.model import ReducedModel
from suite.reduction.shape import shape_of
from suite.report.render import show, write
from suite.study.configuration import Configuration, CostStudy
from suite.study.digests import write_provenance

SHOWN = 5  # sentences about disagreements
LEGEND = (
    "For one image, deployed: nothing that only training needs counts. 1 GMAC is 1e9 multiply-accumulates; 1 GMAC is "
    "2 GFLOPs.",
    "full: every matrix product and convolution. linear: without the two matrix products of the attention, Q K^T and "
    "its product with V. Neither counts norms, softmax, activations, sorting or moving tokens.",
)


def show_cost(configuration: Configuration, console: Console, cross_check: bool) -> bool:
    """Show tokens and cost of a model, block by block; returns whether what was checked agreed.

    Tokens are always compared with those that the model computes on; with `cross_check` each part is, with torch's
    counter.

    Raises:
        UserError: for whatever of the configuration cannot be.
    """
    model, dense = configuration.build(), configuration.task == "segmentation"
    parts = account(model, dense)
    unpruned = total(account(configuration.unpruned().build(backbone=model.backbone), dense))
    console.print(_headline(configuration, model), soft_wrap=True, highlight=False)
    console.print(_blocks(parts, model))
    console.print(_totals(total(parts), unpruned))
    console.print(_with_norms(counts(model, dense)), soft_wrap=True, highlight=False)
    for line in LEGEND:
        console.print(line, style="dim", highlight=False)
    compared = compare(model, dense) if cross_check else []
    if cross_check:
        console.print(_cross_checked(compared))
    else:
        console.print("By closed formula; --cross-check compares it with torch's counter.", style="dim")
    wrong = disagreements(model, compared)
    for sentence in wrong[:SHOWN]:
        console.print(f"formula and model disagree: {sentence}", style="red", soft_wrap=True, highlight=False)
    if len(wrong) > SHOWN:
        console.print(f"and {len(wrong) - SHOWN} more like these", style="red")
    if cross_check and not wrong:
        console.print(f"Formula and counter agree within {100 * TOLERANCE:g} % in each of {len(compared)} parts.")
    return not wrong


def check_costs(study: CostStudy) -> int:
    """The number of published figures of a study, all of which are computed or left out with a reason.

    Raises:
        UserError: if that is not so.
    """
    return len(compute(study, check=False))


def make_cost_table(study: CostStudy, title: str, console: Console, check: bool) -> None:
    """Compute a study of costs and write its table to `results/TITLE/`; with `check`, torch counts every model too.

    Raises:
        UserError: as `compute`.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("models", total=None)
        lines = compute(study, lambda done, rows: bar.update(task, completed=done, total=rows), check)
    folder = Path("results") / title
    table = cost_table(folder.name, lines)
    files = write(table, folder)
    write_provenance(folder, {"runs": []}, ["table.csv", "table.html"])  # computed, the same anywhere
    show(off(table), console)
    if check:
        console.print(f"Every computed model agrees with torch's counter within {100 * TOLERANCE:g} % in every part.")
    console.print(f"Written to {folder}/: {', '.join(files)}, from {study.published}")


def _headline(configuration: Configuration, model: ReducedModel) -> str:
    shape, context = shape_of(model.backbone), model.method.context
    height, width = model.backbone.patch_embed.img_size
    fusion = "" if configuration.fusion == "none" else f" + {configuration.fusion}"
    removes = model.method.settings.reduces != "nothing"
    removed = context.schedule.removed if removes else (0,) * context.depth
    return (
        f"{configuration.backbone.name}, {configuration.task}: {height} x {width} pixels, {shape.patches} patches and "
        f"{shape.prefix} prefix tokens, {context.depth} blocks of width {shape.width}, {shape.classes} classes\n"
        f"{configuration.method}{fusion}, patches removed per block: {' '.join(map(str, removed))}"
    )


def _blocks(parts: list[Part], model: ReducedModel) -> Table:
    """A line for each place; tokens, prefix included, only for blocks."""
    ledger = expected_tokens(model)
    tokens = {
        f"block {layer}": (str(attend), str(mlp))
        for layer, (attend, mlp) in enumerate(zip(ledger.attention, ledger.mlp, strict=True))
    }
    heads = ("", "tokens in\nattention", "tokens in\nMLP", "GMACs\nfull", "GMACs\nlinear", "of which the\nmethod's own")
    table = _table(heads)
    for place in dict.fromkeys(part.place for part in parts):
        here = [part for part in parts if part.place == place]
        own = sum(part.macs for part in here if part.what == "method")
        macs = total(here)
        table.add_row(
            place, *tokens.get(place, ("", "")), _giga(macs.full), _giga(macs.linear), _giga(own) if own else ""
        )
    return table


def _totals(macs: Macs, unpruned: Macs) -> Table:
    table = _table(("total", "GMACs", "GFLOPs", "of the\nunpruned model"))
    for convention, own, whole in zip(macs._fields, macs, unpruned, strict=True):
        table.add_row(convention, _giga(own), _giga(2 * own), f"{100 * own / whole:.1f} %")
    return table


def _with_norms(found: Counts) -> str:
    """The reading of those who count norms too, to six digits, which published figures may need."""
    full, linear = found.full_with_norms / 1e9, found.linear_with_norms / 1e9
    return f"with norms ({PER_VALUE} per value, as fvcore counts them): full {full:.6g}, linear {linear:.6g} GMACs"


def _cross_checked(compared: list[Compared]) -> Table:
    """Formula and counter side by side, summed over the blocks."""
    table = _table(("cross-check", "GMACs by\nformula", "GMACs counted\nby torch", "difference"))
    kinds = {part: part.what if part.place.startswith("block") else f"{part.place}: {part.what}" for part in compared}
    for kind in dict.fromkeys(kinds.values()):
        same = [part for part in compared if kinds[part] == kind]
        formula, counted = sum(part.formula for part in same), sum(part.counted for part in same)
        table.add_row(kind, _giga(formula), _giga(counted), f"{100 * (formula / max(counted, 1) - 1):+.2g} %")
    return table


def _table(heads: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1))
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index else "left")
    return table


def _giga(macs: float) -> str:
    return f"{macs / 1e9:.4g}"
