"""What a page says of a study above its table: one headline, and a list of facts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """Attributes:
    headline: what was found, in one sentence; what stands between backticks is code.
    facts: names and values, in the order they are shown.
    warnings: what must be known to read the table, a sentence each (unfinished, unreliable timings, failed seeds).
    """

    headline: str
    facts: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
