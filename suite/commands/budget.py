"""The command `suite budget`: which schedule every method needs to cost as much as the others."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import typer

from suite.errors import UserError, suggest
from suite.options import pairs

Pairs = list[str] | None


def budget(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE", help="A timm model.")],
    macs: Annotated[
        float | None, typer.Option(help="Multiply-accumulates, as a share of the unpruned model's.")
    ] = None,
    tokens: Annotated[float | None, typer.Option(help="Mean tokens per block, as a share.")] = None,
    methods: Annotated[str, typer.Option(help="all, or names or files separated by commas.")] = "all",
    convention: Annotated[str, typer.Option(help="Of --macs: full or linear, see suite flops.")] = "full",
    setting: Annotated[
        Pairs, typer.Option(metavar="METHOD.NAME=VALUE", help="Of one of the methods; repeatable.")
    ] = None,
    option: Annotated[Pairs, typer.Option(metavar="NAME=VALUE", help="For timm's create_model; repeatable.")] = None,
    fusion: Annotated[str, typer.Option(help="How removed patches come back, where a method can.")] = "none",
    task: Annotated[str, typer.Option(help="classification or segmentation.")] = "classification",
    classes: Annotated[int, typer.Option(min=1, help="Outputs of the head.")] = 1000,
) -> None:
    """Find the setting of every method's own knob that meets one budget; needs no weights."""
    from pydantic import ValidationError
    from rich.console import Console

    from suite.budgets import show_budget
    from suite.reduction.registry import modules
    from suite.reduction.settings import Fusion
    from suite.study.configuration import Configuration, explain
    from suite.study.schema import Budget

    if fusion not in get_args(Fusion):
        raise UserError(f"unknown fusion {fusion!r}; {suggest(fusion, get_args(Fusion))}")
    names = [name for name in sorted(modules()) if name != "none"] if methods == "all" else methods.split(",")
    settings = _settings(pairs(setting or [], "--setting", "cropr.queries=196"), names)
    options = pairs(option or [], "--option", "img_size=384")
    try:
        wanted = Budget.model_validate({"macs": macs, "tokens": tokens, "convention": convention})
        models = [
            Configuration(
                backbone={"name": backbone, "options": options},
                method=name,
                settings=settings[name],
                fusion=fusion,
                task=task,
                classes=classes,
            )
            for name in names
        ]
    except ValidationError as error:
        raise UserError(explain(error)) from error
    show_budget(models, wanted, Console(markup=False))


def _settings(given: dict[str, Any], names: list[str]) -> dict[str, dict[str, Any]]:
    """Settings by method, out of METHOD.NAME=VALUE."""
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in given.items():
        method, dot, name = key.rpartition(".")
        if not dot or method not in found:
            raise UserError(f"--setting {key}: write METHOD.NAME=VALUE, with one of the methods {', '.join(names)}")
        found[method][name] = value
    return found
