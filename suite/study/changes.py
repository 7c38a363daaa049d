"""Changes of a study on the command line, such as `finetune.epochs=2`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from suite.errors import UserError
from suite.strict import Place
from suite.study.yaml_values import DEEPEST, Unreadable, value_of

LONGEST = 100  # characters of a suffix of a results folder
UNSAFE = re.compile(r"[^\w.=,\[\]-]", re.ASCII)  # characters that not every file system has in names


def parsed(changes: Sequence[str]) -> dict[Place, Any]:
    """Place and value of each change.

    Raises:
        UserError: for one that names no place or no value, or a place twice.
    """
    made: dict[Place, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        place = tuple(int(step) if step.isdecimal() and len(step) < 10 else step for step in key.split("."))
        if not equals or "" in place or len(place) > DEEPEST:
            raise UserError(f"--set {change}: a change names a key and a value, such as finetune.epochs=2")
        if place in made:
            raise UserError(f"--set {change}: {key} is changed twice")
        try:
            made[place] = value_of(text)
        except Unreadable as error:
            raise UserError(f"--set {change}: {error}") from error
    return made


def suffix_of(changes: Sequence[str]) -> str:
    """What is added to the name of a results folder; characters that file names cannot have give way to a digest."""
    text = "".join(f"+{change}" for change in sorted(changes))
    safe = "".join(f"+{UNSAFE.sub('_', change)}" for change in sorted(changes))
    if safe == text and len(text) <= LONGEST:
        return text
    return f"{safe[: LONGEST - 20]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
