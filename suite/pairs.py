"""NAME=VALUE, as options of the command line give it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from suite.errors import UserError


def parse_pairs(flag: str, pairs: Iterable[str], example: str) -> dict[str, Any]:
    """Names and values of pairs given to an option `flag`; the values are YAML.

    Raises:
        UserError: for what is not such a pair, or stands twice.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError(f"{flag} {pair!r} is not NAME=VALUE; write for example {flag} {example}")
        if name in found:
            raise UserError(f"{flag} {name} is given twice")
        try:
            found[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(f"{flag} {pair!r}: the value is not readable as YAML") from error
    return found
