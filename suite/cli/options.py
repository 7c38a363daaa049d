"""Options that several commands share: a schedule by a study's rules, and NAME=VALUE pairs. All imports are light."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from suite.errors import UserError

if TYPE_CHECKING:
    from suite.study.schema import ScheduleRule


def _complete_study(beginning: str) -> list[str]:
    """Names in studies/ for the shell's completion."""
    return sorted(path.stem for path in Path("studies").glob(f"{beginning}*.yaml"))


StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A path, or a name in studies/.", autocompletion=_complete_study)
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key, such as finetune.epochs=2; repeatable. Results go to a folder of their own.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def print_json(found: object) -> None:
    """Print what was found as JSON; what JSON has no word for is written as text."""
    import json

    typer.echo(json.dumps(found, indent=1, default=str, allow_nan=False))


Rule = Any  # a ScheduleRule or None; `takes_schedule` fills it in
BackboneName = Annotated[str, typer.Argument(metavar="BACKBONE", help="A timm model, such as vit_small_patch16_224.")]
Methods = Annotated[
    list[str] | None, typer.Option("--method", metavar="NAME_OR_FILE", help="A method or its file; repeatable.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--setting", metavar="[METHOD.]NAME=VALUE", help="Of one method, or of all; repeatable."),
]
BackboneOptions = Annotated[
    list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="For timm's create_model; repeatable.")
]
FusionName = Annotated[str, typer.Option("--fusion", help="How removed patches come back, in all methods.")]
TaskName = Annotated[str, typer.Option("--task", help="classification or segmentation.")]

# The options of `ScheduleRule`: name, what it takes, what it says.
RULE: dict[str, tuple[type, str]] = {
    "removed": (str, "Patches to remove, a count per block: 12,12,12,12,0,0"),
    "constant": (int, "Remove this many in each of --blocks."),
    "keep_rate": (float, "Keep this share of the remaining patches, in each of --blocks."),
    "linear": (int, "Remove this many in the mean of all blocks, falling or rising linearly."),
    "stages": (float, "Keep this share, to the power of the stage, of all patches."),
    "blocks": (str, "Blocks by number, from 0: 3,6,9 or 0-21"),
    "extra_first": (int, "With --constant: so many more in the first of the blocks."),
    "rounding": (str, "With --keep-rate: ceil or floor."),
    "fused": (bool, "With --keep-rate: one more token takes the place of those removed."),
    "inflect": (float, "With --linear: -1 falls to 0, 0 is constant, 1 rises from 0."),
    "first": (int, "With --stages: the block where the first stage begins."),
    "length": (int, "With --stages: how many blocks a stage has."),
    "multiple_of": (int, "Round: blocks leave multiples of so many tokens, prefix included."),
}
PANEL = "Schedule: one of a study's rules"


def takes_schedule(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a schedule's rule; its parameter `schedule` gets the rule, or None."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "schedule"]
    rule = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(name))
        for name in RULE
    ]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        said = {name: given.pop(name) for name in RULE}
        command(**given, schedule=schedule_rule(said))

    wrapped.__signature__ = signature.replace(parameters=[*own, *rule])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *rule)}
    return wrapped


def schedule_rule(said: dict[str, Any]) -> ScheduleRule | None:
    """The rule of the options that are not None.

    Raises:
        UserError: if they are not exactly one rule with what it reads.
    """
    from pydantic import ValidationError

    from suite.study.schema import ScheduleRule

    given = {name: value for name, value in said.items() if value is not None}
    if not given:
        return None
    try:
        return ScheduleRule(**given)
    except ValidationError as error:
        raise UserError(f"schedule: {reason(error)}") from error


def pairs(texts: Iterable[str], flag: str, example: str) -> dict[str, Any]:
    """Pairs as the command line gives them, NAME=VALUE with the value in YAML.

    Raises:
        UserError: for what is not such a pair, or stands twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"{flag} {text!r} is not NAME=VALUE; write for example {flag} {example}")
        if name in found:
            raise UserError(f"{flag} {name} is given twice")
        try:
            found[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(f"{flag} {text!r}: the value is not readable as YAML") from error
    return found


def settings_by_method(texts: Iterable[str], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings of each method: METHOD.NAME=VALUE is for that one, NAME=VALUE for all.

    Raises:
        UserError: as `pairs`, or if METHOD is none of the methods.
    """
    settings: dict[str, dict[str, Any]] = {method: {} for method in methods}
    for name, value in pairs(texts, "--setting", "cropr.heads=4").items():
        method, _, own = name.rpartition(".")
        if method and method not in settings:
            raise UserError(f"--setting {name}: {method} is not among the methods {', '.join(methods) or '(none)'}")
        for named in [method] if method else methods:
            settings[named][own] = value
    return settings


def check_output(path: Path | None) -> None:
    """Refuse a file that cannot be written, before anything long begins.

    Raises:
        UserError: if it is a folder, or lies in none.
    """
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}; make it first")


def reason(error: ValueError) -> str:
    """What was wrong, on one line; of pydantic's errors the names and messages."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    return "; ".join(_said(detail) for detail in error.errors())


def _said(detail: Any) -> str:
    place = [*map(str, detail["loc"]), *([detail["ctx"]["key"]] if detail["type"] == "at_key" else [])]
    message = detail["msg"].removeprefix("Value error, ")
    return f"{'.'.join(place)}: {message}" if place else message


def _annotation(name: str) -> Any:
    kind, text = RULE[name]
    return Annotated[kind | None, typer.Option(_flag(name), help=text, rich_help_panel=PANEL)]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
