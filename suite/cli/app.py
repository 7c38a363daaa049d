"""The command `suite`. Heavy imports stay inside the commands that need them."""

from __future__ import annotations

import codecs
import io
import os
import sys
import traceback
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import typer

from suite.cli.budget import budget
from suite.cli.choose import choose
from suite.cli.ledger import ledger
from suite.cli.models import check_method, evaluate, export, flops, power, race, speed
from suite.cli.options import say
from suite.cli.results import compare, figures, report, table, trace
from suite.cli.studies import list_, pack, plan, run, track, ui, unpack, validate, weights
from suite.errors import UserError, not_installed, refused
from suite.redaction import redacted

app = typer.Typer(
    help="Reproducible multi-seed studies of token reduction in Vision Transformers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Studies": (list_, validate, plan, run, track, weights, pack, unpack, ui),
    "Results": (table, compare, figures, report, trace, ledger),
    "Methods and models": (check_method, evaluate, choose, flops, budget, speed, export, race, power),
}
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(name=command.__name__.rstrip("_").replace("_", "-"), rich_help_panel=panel)(command)


INSTEAD = {"−": "-", "×": "x", "†": "+", "‡": "#", "§": "$", "°": "o", "Δ": "d"}  # in ASCII, marks stay apart


def main() -> None:
    """Run the command line; what the user can mend becomes one message and exit code 2."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by >&-
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="suite.in_ascii")
    try:
        app()
    except UserError as error:
        _refuse(str(error))
    except ModuleNotFoundError as error:
        _refuse(not_installed(error))
    except OSError as error:
        _refuse(refused(error))
    except Exception:
        if redacted(text := traceback.format_exc()) == text:
            raise
        typer.echo(redacted(text), err=True)
        raise SystemExit(1) from None


def _refuse(message: str) -> NoReturn:
    say(redacted(f"error: {message}"), err=True)
    raise SystemExit(2)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What is shown instead of characters that a terminal or a pipe cannot show."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_instead, error.object[error.start : error.end])), error.end


def _instead(character: str) -> str:
    if unicodedata.category(character) == "Pd":  # dashes of all lengths
        return "-"
    plain = "".join(part for part in unicodedata.normalize("NFKD", character) if part.isascii())
    return INSTEAD.get(character) or plain or "?"


codecs.register_error("suite.in_ascii", _in_ascii)
