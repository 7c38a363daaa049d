"""The command `suite flops`."""

from __future__ import annotations

from typing import Annotated

import typer

from suite.cli import options


def flops(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE", help="A timm model.")],
    method: Annotated[str, typer.Option(help="A method by name or file.")] = "none",
    setting: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the method; repeatable.")] = None,
    schedule: options.ScheduleText = None,
    option: options.BackboneOptions = None,
    fusion: options.FusionName = "none",
    task: Annotated[
        str, typer.Option(help="classification, or segmentation with a head for every patch.")
    ] = "classification",
    classes: Annotated[int, typer.Option(min=0, help="Outputs of the head; 0 for none.")] = 1000,
    as_json: options.AsJson = False,
) -> None:
    """Show tokens and multiply-accumulates of a model, block by block, in both conventions; needs no weights."""
    from rich.console import Console

    from suite.kinds.costs.flops import as_mapping, cost_of, show
    from suite.strict import explained
    from suite.study.configuration import Configuration

    rule = options.schedule_rule(schedule)
    options.require_schedule([method], rule)
    words = {
        "backbone": {"name": backbone, "options": options.pairs(option or [], "--option", "img_size=384")},
        "method": method,
        "settings": options.pairs(setting or [], "--setting", "stage=pre"),
        "schedule": rule,
        "fusion": fusion,
        "task": task,
        "classes": classes,
    }
    with explained():
        configuration = Configuration.model_validate(words)
    cost = cost_of(configuration)
    if as_json:
        options.print_json(as_mapping(cost))
    show(cost, Console(markup=False, stderr=as_json), brief=as_json)
    if cost.unexpected:
        raise typer.Exit(1)
