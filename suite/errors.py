"""The one exception a user is meant to read, and words for others."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Found = TypeVar("Found")


class UserError(ValueError):
    """Something the user asked for cannot be done; the message says what, why and what would work.

    The command line prints the message without a traceback and exits with code 2.
    """


def suggest(found: str, valid: Iterable[str]) -> str:
    """Say which of the `valid` names are nearest to `found`, or list them when none is near."""
    names = sorted(valid)
    if not names:
        return "there is none"
    near = difflib.get_close_matches(found, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"valid: {', '.join(names)}" if len(names) <= 30 else f"none of the {len(names)} valid names is near"


def named(name: str, known: Mapping[str, Found], what: str) -> Found:
    """What is called `name`; `what` says what it is, such as "task".

    Raises:
        UserError: if nothing is, with the nearest names.
    """
    if name not in known:
        raise UserError(f"unknown {what} {name!r}; {suggest(name, known)}")
    return known[name]


def describe(error: BaseException) -> str:
    """Type and message of an exception, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
