"""What `suite flops` shows: tokens and multiply-accumulates of a model, block by block and part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from suite.measure.calls import PER_VALUE
from suite.measure.count import METHOD, Count, Macs, Part, count, total
from suite.measure.tokens import unexpected_tokens
from suite.reduction.model import ReducedModel
from suite.study.configuration import Configuration

SHOWN = 5  # sentences about tokens
LEGEND = (
    "For one image, deployed: nothing that only training needs counts. 1 GMAC is 1e9 multiply-accumulates; 1 GMAC is "
    "2 GFLOPs. Counted by torch while the model runs without weights.",
    "full: every matrix product and convolution. linear: without the two matrix products of the attention, Q K^T and "
    "its product with V. Neither counts norms, softmax, activations, sorting or moving tokens.",
)


@dataclass(frozen=True)
class ModelCost:
    """A model built without weights, its counts and the unpruned one's, and each block that is off its schedule."""

    configuration: Configuration
    model: ReducedModel
    counted: Count
    unpruned: Count
    unexpected: tuple[str, ...]


def cost_of(configuration: Configuration) -> ModelCost:
    """Count a model; a UserError says whatever of the configuration cannot be."""
    model, read_out = configuration.build(), configuration.read_out
    counted = count(model, read_out)
    unpruned = count(configuration.unpruned().build(backbone=model.backbone), read_out)
    return ModelCost(configuration, model, counted, unpruned, tuple(unexpected_tokens(model, counted.tokens)))


def as_mapping(cost: ModelCost) -> dict[str, Any]:
    """All counts, for programs: MACs and tokens of one image."""
    return {
        "macs": cost.counted.conventions,
        "unpruned": cost.unpruned.conventions,
        "tokens": asdict(cost.counted.tokens),
        "parts": [part._asdict() for part in cost.counted.parts],
    }


def show(cost: ModelCost, console: Console, *, brief: bool = False) -> None:
    """Show tokens and cost of a model; only what is not as it should be if `brief`."""
    if not brief:
        console.print(_headline(cost.configuration, cost.model), soft_wrap=True, highlight=False)
        console.print(_blocks(cost.counted))
        console.print(_parts(cost.counted))
        console.print(_totals(cost.counted.macs, cost.unpruned.macs))
        console.print(_with_norms(cost.counted), soft_wrap=True, highlight=False)
        for line in LEGEND:
            console.print(line, style="dim", highlight=False)
    for sentence in cost.unexpected[:SHOWN]:
        console.print(f"not as scheduled: {sentence}", style="red", soft_wrap=True, highlight=False)
    if len(cost.unexpected) > SHOWN:
        console.print(f"and {len(cost.unexpected) - SHOWN} more like these", style="red")


def _headline(configuration: Configuration, model: ReducedModel) -> str:
    backbone, context = model.backbone, model.method.context
    height, width = backbone.patch_embed.img_size
    fusion = "" if configuration.fusion == "none" else f" + {configuration.fusion}"
    removes = model.method.settings.reduces != "nothing"
    removed = context.schedule.removed if removes else (0,) * context.depth
    return (
        f"{configuration.backbone.name}, {configuration.task}: {height} x {width} pixels, {context.schedule.patches} "
        f"patches and {context.prefix} prefix tokens, {context.depth} blocks of width {context.width}, "
        f"{context.classes} classes\n"
        f"{configuration.method}{fusion}, patches removed per block: {' '.join(map(str, removed))}"
    )


def _blocks(counted: Count) -> Table:
    """A line for each place; tokens, prefix included, only for blocks."""
    tokens = {
        f"block {layer}": (str(attending), str(mlp))
        for layer, (attending, mlp) in enumerate(zip(counted.tokens.attention, counted.tokens.mlp, strict=True))
    }
    heads = ("", "tokens in\nattention", "tokens in\nMLP", "GMACs\nfull", "GMACs\nlinear", "of which the\nmethod's own")
    table = _table(heads)
    for place, here in _grouped(counted.parts, lambda part: part.place).items():
        own = sum(part.macs for part in here if part.what == METHOD)
        table.add_row(place, *tokens.get(place, ("", "")), *map(_giga, total(here)), _giga(own) if own else "")
    return table


def _parts(counted: Count) -> Table:
    """A line for each part, summed over the blocks."""
    table = _table(("part", "GMACs", "of all"))
    kinds = _grouped(counted.parts, lambda part: part.what if "block" in part.place else f"{part.place}: {part.what}")
    for kind, same in kinds.items():
        macs = sum(part.macs for part in same)
        table.add_row(kind, _giga(macs), f"{100 * macs / counted.macs.full:.1f} %")
    return table


def _grouped(parts: tuple[Part, ...], kind: Callable[[Part], str]) -> dict[str, list[Part]]:
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault(kind(part), []).append(part)
    return groups


def _totals(macs: Macs, unpruned: Macs) -> Table:
    table = _table(("total", "GMACs", "GFLOPs", "of the\nunpruned model"))
    for convention, own, whole in zip(macs._fields, macs, unpruned, strict=True):
        table.add_row(convention, _giga(own), _giga(2 * own), f"{100 * own / whole:.1f} %")
    return table


def _with_norms(counted: Count) -> str:
    """The reading of those who count norms too, to six digits, which published figures may need."""
    full, linear = (counted.conventions[f"{name}_with_norms"] / 1e9 for name in Macs._fields)
    return f"with norms ({PER_VALUE} per value, as fvcore counts them): full {full:.6g}, linear {linear:.6g} GMACs"


def _table(heads: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1))
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index else "left")
    return table


def _giga(macs: float) -> str:
    return f"{macs / 1e9:.4g}"
