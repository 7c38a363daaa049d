"""The command `suite budget`: which schedule every method needs to cost as much as the others."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from suite.cli import options
from suite.errors import UserError

PANEL = "How --latency is measured"
Share = float | None
Convention = Annotated[
    str | None, typer.Option(help="Of --macs: full or linear, see suite flops.", show_default="full")
]
MethodSettings = Annotated[
    list[str] | None, typer.Option(metavar="METHOD.NAME=VALUE", help="Of one of the methods; repeatable.")
]
MultipleOf = Annotated[
    int | None, typer.Option(min=2, help="Round: blocks leave multiples of so many tokens, prefix included.")
]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Images at a time.", show_default="64", rich_help_panel=PANEL)
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="cpu", rich_help_panel=PANEL)]
Precision = Annotated[
    str | None, typer.Option(help="float32, bfloat16 or float16.", show_default="float32", rich_help_panel=PANEL)
]
Threads = Annotated[int | None, typer.Option(min=1, help="Processor threads.", show_default="1", rich_help_panel=PANEL)]
Rounds = Annotated[
    int | None,
    typer.Option(min=5, help="How often a setting found is timed.", show_default="20", rich_help_panel=PANEL),
]


def budget(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE", help="A timm model.")],
    macs: Annotated[Share, typer.Option(help="Multiply-accumulates, as a share of the unpruned model's.")] = None,
    tokens: Annotated[Share, typer.Option(help="Mean tokens per block, as a share.")] = None,
    latency: Annotated[Share, typer.Option(help="Measured time per batch, as a share.")] = None,
    methods: Annotated[str, typer.Option(help="all, or names or files separated by commas.")] = "all",
    convention: Convention = None,
    setting: MethodSettings = None,
    option: options.BackboneOptions = None,
    fusion: Annotated[str, typer.Option(help="How removed patches come back, where a method can.")] = "none",
    task: options.TaskName = "classification",
    classes: Annotated[int, typer.Option(min=1, help="Outputs of the head.")] = 1000,
    multiple_of: MultipleOf = None,
    batch_size: BatchSize = None,
    device: Device = None,
    precision: Precision = None,
    threads: Threads = None,
    rounds: Rounds = None,
    as_json: options.AsJson = False,
) -> None:
    """Search each method's strength parameter (r, keep rate, ...) for one budget; needs no weights."""
    from suite.kinds.speed import budget as shown
    from suite.kinds.speed.command import WARMUP_ROUNDS
    from suite.strict import explained
    from suite.study.configuration import Configuration
    from suite.study.schema import Budget
    from suite.terminal import plain

    how = {"batch_size": batch_size, "device": device, "precision": precision, "threads": threads, "rounds": rounds}
    wanted = _one_budget({"macs": macs, "tokens": tokens, "latency": latency}, how, convention)
    names = _names(methods)
    settings = options.settings_by_method(setting or [], names)
    timm = {"name": backbone, "options": options.pairs(option or [], "--option", "img_size=384")}
    shared = {"backbone": timm, "fusion": fusion, "task": task, "classes": classes}
    with explained():
        computed = None if latency else Budget.model_validate(wanted)
        models = [Configuration.model_validate(shared | {"method": name, "settings": settings[name]}) for name in names]
    console = plain(stderr=as_json)
    if computed:
        report = shown.compute(models, computed, multiple_of, console)
    else:
        timing = options.timing_options(**{"batch_size": 64, **_said(how)}, warmup_rounds=WARMUP_ROUNDS)
        report = shown.measure(models, wanted["latency"], timing, multiple_of, console)
    shown.show(report, console)
    if as_json:
        options.print_json(shown.as_records(report))


def _said(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _one_budget(kinds: dict[str, float | None], how: dict[str, Any], convention: str | None) -> dict[str, Any]:
    """The one budget that was given, with its convention.

    Raises:
        UserError: if there are none or several, or options that it does not read.
    """
    said = _said(kinds)
    if len(said) != 1:
        found = " and ".join(f"--{kind}" for kind in said) or "none"
        raise UserError(f"give exactly one budget: --macs, --tokens or --latency, such as --macs 0.63; found {found}")
    ((kind, share),) = said.items()
    if not 0 < share <= 1:
        raise UserError(f"--{kind} is a share of the unpruned model, above 0 and at most 1; found {share:g}")
    idle = [] if kind == "latency" else [name for name, value in how.items() if value is not None]
    idle += ["convention"] if convention is not None and kind != "macs" else []
    if idle:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise UserError(f"a budget of {kind} does not read {flags}; leave it out")
    return said | ({"convention": convention} if convention else {})


def _names(methods: str) -> list[str]:
    from suite.reduction.registry import modules, reduces_nothing

    if methods == "all":
        return [name for name in sorted(modules()) if not reduces_nothing(name)]
    names = [name.strip() for name in methods.split(",")]
    if not all(names):
        raise UserError(f"--methods {methods!r}: write all, or names separated by commas, such as random,tome")
    return names
