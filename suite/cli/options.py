"""Options that several commands share: a schedule in the words of a study, NAME=VALUE pairs. All imports are light."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.errors import UserError

if TYPE_CHECKING:
    from suite.measure.timing_options import TimingOptions
    from suite.study.schema import ScheduleRule


def complete_study(beginning: str) -> list[str]:
    """Names in studies/ for the shell's completion."""
    from suite.study.load import study_names

    return [name for name in study_names() if name.startswith(beginning)]


def complete_results(beginning: str) -> list[str]:
    """Folders in results/ that have a table."""
    tables = sorted(path.parent.name for path in Path("results").glob("*/table.csv"))
    return [name for name in tables if name.startswith(beginning)]


def complete_method(beginning: str) -> list[str]:
    """Names of methods."""
    from suite.reduction.registry import modules

    return sorted(name for name in modules() if name.startswith(beginning))


def complete_task(beginning: str) -> list[str]:
    """Names of tasks."""
    from suite.tasks.task import tasks

    return sorted(name for name in tasks() if name.startswith(beginning))


StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A path, or a name in studies/.", autocompletion=complete_study)
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


def say(text: str, err: bool = False) -> None:
    """Print a line; to the stream itself, as typer would send UTF-8 to one that says it is ASCII."""
    typer.echo(text, file=sys.stderr if err else sys.stdout)


def print_json(found: object) -> None:
    """Print what was found as JSON; what JSON has no word for is written as text, nan and infinity as null."""
    import json

    say(json.dumps(_finite(found), indent=1, default=str, allow_nan=False))


def _finite(found: object) -> object:
    if isinstance(found, float):
        return found if math.isfinite(found) else None
    if isinstance(found, dict):
        return {name: _finite(value) for name, value in found.items()}
    return [_finite(one) for one in found] if isinstance(found, list | tuple) else found


BackboneName = Annotated[str, typer.Argument(metavar="BACKBONE", help="A timm model, such as vit_small_patch16_224.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method", metavar="NAME_OR_FILE", help="A method or its file; repeatable.", autocompletion=complete_method
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--setting", metavar="[METHOD.]NAME=VALUE", help="Of one method, or of all; repeatable."),
]
BackboneOptions = Annotated[
    list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="For timm's create_model; repeatable.")
]
FusionName = Annotated[str, typer.Option("--fusion", help="How removed patches come back, in all methods.")]
TaskName = Annotated[str, typer.Option("--task", help="A task that `suite list` names.", autocompletion=complete_task)]

ScheduleText = Annotated[
    str | None,
    typer.Option(
        "--schedule",
        metavar="YAML",
        help="Patches to remove per block, in the words of a study: '{constant: 8, blocks: 0-21}'",
    ),
]
EXAMPLE = "--schedule '{constant: 8, blocks: 0-9}'"


def schedule_rule(text: str | None) -> ScheduleRule | None:
    """The rule of a schedule that is written as in a study; None if there is none.

    Raises:
        UserError: if it is no such rule.
    """
    from suite.strict import explained
    from suite.study.schema import ScheduleRule
    from suite.study.yaml_values import Unreadable, value_of

    if text is None:
        return None
    try:
        said = value_of(text)
    except Unreadable as error:
        raise UserError(f"--schedule {text!r}: {error}; write for example {EXAMPLE}") from error
    if not isinstance(said, dict):
        raise UserError(f"--schedule {text!r} is not a rule in braces; write for example {EXAMPLE}")
    with explained("schedule"):
        rule = ScheduleRule.model_validate(said)
    if rule.budget is not None:
        raise UserError("schedule: a budget gives every method a schedule of its own; find them with: suite budget")
    return rule


def chosen_methods(methods: Sequence[str] | None) -> list[str]:
    """Methods by name or file, each once, by default all; UserError if one cannot be loaded."""
    from suite.reduction.registry import default_settings, method_class, modules

    names = list(dict.fromkeys(methods or sorted(modules())))
    for name in names:
        default_settings(name)
        method_class(name)
    return names


def require_schedule(methods: Sequence[str], rule: ScheduleRule | None) -> None:
    """Refuse methods that would remove nothing for want of a schedule.

    Raises:
        UserError: naming them.
    """
    from suite.reduction.registry import settings_class

    removing = [method for method in methods if settings_class(method).reduces != "nothing"]
    if removing and rule is None:
        raise UserError(f"a schedule is needed for {', '.join(removing)}, for example: {EXAMPLE}")


def timing_options(**said: Any) -> TimingOptions:
    """How models are timed, of what is given (not None).

    Raises:
        UserError: for a value that cannot be.
    """
    from suite.measure.timing_options import TimingOptions
    from suite.strict import explained

    with explained():
        return TimingOptions(**{name: value for name, value in said.items() if value is not None})


def pairs(texts: Iterable[str], flag: str, example: str) -> dict[str, Any]:
    """Pairs as the command line gives them, NAME=VALUE with the value in YAML.

    Raises:
        UserError: for what is not such a pair, or stands twice.
    """
    from suite.study.yaml_values import Unreadable, value_of

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"{flag} {text!r} is not NAME=VALUE; write for example {flag} {example}")
        if name in found:
            raise UserError(f"{flag} {name} is given twice")
        try:
            found[name] = value_of(value)
        except Unreadable as error:
            raise UserError(f"{flag} {text!r}: {error}") from error
    return found


def settings_by_method(texts: Iterable[str], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings of each method: METHOD.NAME=VALUE is for that one, NAME=VALUE for all."""
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
