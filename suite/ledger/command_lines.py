"""Check that a command line which a page shows could be run: its command, options, study, methods and layout exist."""

from __future__ import annotations

import json
import shlex
from typing import Any

import typer

from suite.cli import options
from suite.errors import UserError, suggest

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # of click, which some versions of typer have inside


def check_command(text: str, group: Any) -> None:
    """Parse a command line as `suite` would, without running it. Imports torch where it names a layout or a backbone.

    `group` is click's group of all commands, see `context.find_root()`.

    Raises:
        UserError: if it is none, or names something that does not exist.
    """
    program, *words = shlex.split(text)
    if program != "suite" or not words:
        raise UserError(f"the command {text!r} does not begin with suite and one of its commands")
    name, *arguments = words
    if name not in group.commands:
        raise UserError(f"suite has no command {name!r}; {suggest(name, group.commands)}")
    try:
        said = group.commands[name].make_context(name, arguments).params
    except UsageError as error:
        raise UserError(f"the command {text!r}: {error}") from error
    try:
        _check_names(said)
    except UserError as error:
        raise UserError(f"the command {text!r}: {error}") from error


def _check_names(said: dict[str, Any]) -> None:
    from suite.reduction.registry import module_of
    from suite.study.load import find_study

    if said.get("study"):
        find_study(said["study"])
    for method in _methods(said):
        module_of(method)
    if said.get("backbone"):
        _check_model(said)
    if said.get("layout"):
        _check_layout(said["layout"], options.pairs(said.get("option") or (), "--option", "r=8"))


def _check_model(said: dict[str, Any]) -> None:
    """Refuse a backbone that timm cannot build, or a schedule that it or a method cannot have."""
    from suite.ledger.probes import backbone_on_meta
    from suite.reduction.backbone import sizes
    from suite.reduction.registry import settings_class

    given = options.pairs(said.get("option") or (), "--option", "img_size=224")
    model = backbone_on_meta(said["backbone"], json.dumps(given), classes=1000)
    rule = options.schedule_rule(said.get("schedule"))
    if rule is None:
        return
    _, patches, depth = sizes(model)
    settings = options.settings_by_method(said.get("setting") or (), _methods(said))
    try:
        schedule = rule.resolve(patches, depth)
        for method, own in settings.items():
            settings_class(method)(**own).check(schedule, said["fusion"])
    except ValueError as error:
        raise UserError(options.reason(error)) from error


def _methods(said: dict[str, Any]) -> list[str]:
    """The methods of a command, which takes one or several."""
    found = said.get("method") or []
    return [found] if isinstance(found, str) else list(found)


def _check_layout(name: str, given: dict[str, Any]) -> None:
    from pydantic import ValidationError

    from suite.official import layouts
    from suite.strict import explain

    if name not in layouts():
        raise UserError(f"there is no layout {name!r}; {suggest(name, layouts())}")
    try:
        layouts()[name].options(**given)
    except ValidationError as error:
        raise UserError(f"layout {name}: {explain(error)}") from error
