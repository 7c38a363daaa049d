"""The command `suite flops`: its options; what it does is in `costs`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from suite.errors import UserError

Pairs = list[str] | None
RULES = ("removed", "constant", "keep_rate", "linear", "stages")
RULE = "Schedule"


def flops(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE", help="A timm model.")],
    method: Annotated[str, typer.Option(help="A method by name or file.")] = "none",
    setting: Annotated[Pairs, typer.Option(metavar="NAME=VALUE", help="Of the method; repeatable.")] = None,
    option: Annotated[Pairs, typer.Option(metavar="NAME=VALUE", help="For timm's create_model; repeatable.")] = None,
    fusion: Annotated[str, typer.Option(help="How removed patches come back.")] = "none",
    task: Annotated[
        str, typer.Option(help="classification, or segmentation with a head for every patch.")
    ] = "classification",
    classes: Annotated[int, typer.Option(min=1, help="Outputs of the head.")] = 1000,
    cross_check: Annotated[bool, typer.Option("--cross-check", help="Compare with torch's counter.")] = False,
    removed: Annotated[str | None, typer.Option(rich_help_panel=RULE, help="Counts, one per block: 9,8,8,0")] = None,
    constant: Annotated[int | None, typer.Option(rich_help_panel=RULE, help="A count for --blocks.")] = None,
    keep_rate: Annotated[float | None, typer.Option(rich_help_panel=RULE, help="A share to keep in --blocks.")] = None,
    linear: Annotated[int | None, typer.Option(rich_help_panel=RULE, help="A mean count, see --inflect.")] = None,
    stages: Annotated[float | None, typer.Option(rich_help_panel=RULE, help="A share kept by each stage.")] = None,
    blocks: Annotated[str | None, typer.Option(rich_help_panel=RULE, help="From 0: 3,6,9 or 0-21")] = None,
    extra_first: Annotated[int | None, typer.Option(rich_help_panel=RULE, help="More in the first block.")] = None,
    rounding: Annotated[str | None, typer.Option(rich_help_panel=RULE, help="ceil or floor.")] = None,
    fused: Annotated[bool, typer.Option("--fused", rich_help_panel=RULE, help="One token takes their place.")] = False,
    inflect: Annotated[float | None, typer.Option(rich_help_panel=RULE, help="-1 falls, 1 rises.")] = None,
    first: Annotated[int | None, typer.Option(rich_help_panel=RULE, help="The first stage's block.")] = None,
    length: Annotated[int | None, typer.Option(rich_help_panel=RULE, help="Blocks of a stage.")] = None,
) -> None:
    """Show tokens and multiply-accumulates of a model, block by block, in both conventions; needs no weights."""
    rule = {
        "removed": removed,
        "constant": constant,
        "keep_rate": keep_rate,
        "linear": linear,
        "stages": stages,
        "blocks": blocks,
        "extra_first": extra_first,
        "rounding": rounding,
        "fused": fused or None,
        "inflect": inflect,
        "first": first,
        "length": length,
    }
    given = {name: value for name, value in rule.items() if value is not None}
    if method != "none" and not given:
        rules = ", ".join(f"--{name.replace('_', '-')}" for name in RULES)
        raise UserError(f"{method} removes nothing without a schedule; give one of {rules}")
    _run(
        {"method": method, "fusion": fusion, "task": task, "classes": classes},
        backbone,
        setting,
        option,
        given,
        cross_check,
    )


def _run(model: dict[str, Any], name: str, settings: Pairs, options: Pairs, rule: dict[str, Any], check: bool) -> None:
    from pydantic import ValidationError
    from rich.console import Console

    from suite.costs import show_cost
    from suite.pairs import parse_pairs
    from suite.study.configuration import Configuration, explain

    model["backbone"] = {"name": name, "options": parse_pairs("--option", options or [], "img_size=384")}
    model["settings"] = parse_pairs("--setting", settings or [], "place=before")
    try:
        configuration = Configuration(**model, schedule=rule or None)
    except ValidationError as error:
        raise UserError(explain(error)) from error
    if not show_cost(configuration, Console(markup=False), check):
        raise typer.Exit(1)
